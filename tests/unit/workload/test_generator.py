"""The generated stream: reproducible however it is cut, and true to its spec."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lorabench.workload.block import MISSING_DENSE, Block
from lorabench.workload.generator import CHUNK_ROWS, PlantedModel, generate_blocks
from lorabench.workload.spec import (
    DenseSpec,
    LabelSpec,
    ModelSpec,
    SparseSpec,
    WorkloadSpec,
    load_spec,
)

SMALL = WorkloadSpec(
    name="small",
    rows=3 * CHUNK_ROWS,
    pretrain_rows=0,
    rows_per_s=1e5,
    sparse=SparseSpec(
        cardinality=(1, 12, 10_000_000), zipf=(1.0, 0.5, 1.05), missing=(0.0, 0.3, 0.0)
    ),
    dense=DenseSpec(count=2, missing=(0.0, 0.4), location=(1.0, 20.0), scale=(1.5, 3.0)),
    labels=LabelSpec(base_rate=0.2, strength=1.0, rank=2),
    model=ModelSpec(dim=4, bottom=(), top=()),
)
COLUMNS = ("label", "time_ns", "dense", "sparse")


def whole(spec: WorkloadSpec, seed: int, rows: int | None = None) -> Block:
    return Block.concat(list(generate_blocks(spec, seed, rows=rows)))


def auc(label: np.ndarray, score: np.ndarray) -> float:
    rank = stats.rankdata(score)
    clicks = int(label.sum())
    above = rank[label == 1].sum() - clicks * (clicks + 1) / 2
    return float(above / (clicks * (len(label) - clicks)))


@pytest.fixture(scope="module")
def small() -> Block:
    return whole(SMALL, 5)


@pytest.fixture(scope="module")
def tiny() -> Block:
    return whole(load_spec("tiny"), 0, 2 * CHUNK_ROWS)


@settings(max_examples=12, deadline=None)
@given(
    start=st.integers(0, 3 * CHUNK_ROWS),
    rows=st.integers(0, 2 * CHUNK_ROWS),
    block_rows=st.integers(5_000, 2 * CHUNK_ROWS),
)
def test_any_start_and_partition_gives_the_same_rows(
    small: Block, start: int, rows: int, block_rows: int
) -> None:
    rows = min(rows, len(small) - start)
    blocks = list(generate_blocks(SMALL, 5, start, rows, block_rows))
    assert [len(block) for block in blocks[:-1]] == [block_rows] * (len(blocks) - 1)
    assert sum(map(len, blocks)) == rows
    if blocks:
        joined = Block.concat(blocks)
        for name in COLUMNS:
            want = getattr(small.slice(start, start + rows), name)
            assert getattr(joined, name).tobytes() == np.ascontiguousarray(want).tobytes()


def test_another_seed_gives_other_rows(small: Block) -> None:
    other = next(generate_blocks(SMALL, 6))
    for name in COLUMNS:
        assert not np.array_equal(getattr(other, name), getattr(small, name)[:CHUNK_ROWS])


def test_columns_have_the_blocks_types_and_ids_lie_in_their_tables(small: Block) -> None:
    assert len(small) == SMALL.rows
    kinds = [getattr(small, name).dtype for name in COLUMNS]
    assert kinds == [np.int8, np.int64, np.int32, np.int32]
    assert (small.sparse >= 0).all()
    assert (small.sparse < np.array(SMALL.table_rows)).all()
    assert set(np.unique(small.label)) == {0, 1}


def test_missing_values_come_at_their_rates(small: Block) -> None:
    n = len(small)
    for observed, rate in [
        *zip((small.sparse == 0).sum(axis=0), SMALL.sparse.missing, strict=True),
        *zip((small.dense == MISSING_DENSE).sum(axis=0), SMALL.dense.missing, strict=True),
    ]:
        assert stats.binomtest(int(observed), n, rate).pvalue > 1e-4


def test_popularity_is_zipf_and_hot_rows_lie_scattered(small: Block) -> None:
    rows, counts = np.unique(small.sparse[:, 2], return_counts=True)
    hot = rows[np.argsort(-counts)]
    c, s = 10_000_000, 1.05
    weight = np.arange(1.0, c + 1) ** -s
    share = weight[:20] / weight.sum()
    top = np.sort(counts)[::-1][:20]
    rest = np.append(top, len(small) - top.sum())
    assert stats.chisquare(rest, np.append(share, 1 - share.sum()) * len(small)).pvalue > 1e-4
    assert len(np.unique(hot[:20] // (c // 20))) > 5


def test_ranks_map_to_rows_one_to_one(small: Block) -> None:
    present = small.sparse[:, 1][small.sparse[:, 1] > 0]
    counts = np.sort(np.bincount(present, minlength=13)[1:])[::-1]
    weight = np.arange(1.0, 13) ** -0.5
    assert stats.chisquare(counts, weight / weight.sum() * len(present)).pvalue > 1e-4


def test_dense_values_are_floored_log_normal_counts_cut_to_int32(small: Block) -> None:
    x = small.dense[:, 0]
    assert x.min() == 0
    for edge in (1, 3, 10, 50):
        below = stats.norm.cdf((np.log(edge) - 1.0) / 1.5)
        assert stats.binomtest(int((x < edge).sum()), len(x), below).pvalue > 1e-4
    assert small.dense[:, 1].max() == 2**31 - 128


def test_times_never_go_back_and_keep_their_rate(small: Block) -> None:
    gaps = np.diff(small.time_ns)
    assert (gaps >= 0).all()
    assert small.time_ns[-1] == pytest.approx(len(small) / SMALL.rows_per_s * 1e9, rel=1e-3)
    assert stats.kstest(gaps[:5000] * SMALL.rows_per_s / 1e9, "expon").pvalue > 1e-4


def test_labels_are_drawn_from_the_planted_probabilities(tiny: Block) -> None:
    spec = load_spec("tiny")
    p = PlantedModel(spec, 0).probability(tiny.dense, tiny.sparse)
    assert p.mean() == pytest.approx(spec.labels.base_rate, abs=0.01)
    decile = np.argsort(np.argsort(p)) * 10 // len(p)
    n, want = np.bincount(decile), np.bincount(decile, p)
    variance = np.bincount(decile, p * (1 - p))
    have = np.bincount(decile, tiny.label)
    assert len(n) == 10
    assert float(stats.chi2.sf(((have - want) ** 2 / variance).sum(), 10)) > 1e-4


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_best_possible_auc_is_about_080(seed: int) -> None:
    spec = load_spec("tiny")
    block = next(generate_blocks(spec, seed))
    assert (
        0.78
        < auc(block.label, PlantedModel(spec, seed).probability(block.dense, block.sparse))
        < 0.82
    )


@pytest.mark.parametrize(
    ("location", "scale"),
    [(100.0, 100.0), (-100.0, 100.0), (100.0, 0.0), (1.5, 1e-39), (-100.0, 1e-300)],
)
def test_the_extremes_of_a_spec_still_make_probabilities(location: float, scale: float) -> None:
    content = SMALL.model_dump()
    content["dense"].update(location=location, scale=scale)
    content["labels"]["strength"] = 100.0
    content["sparse"]["zipf"] = 100.0
    content.update(rows=10**6, rows_per_s=1e-3)
    spec = WorkloadSpec.model_validate(content)
    with np.errstate(all="raise", under="ignore"):
        block = next(generate_blocks(spec, 0, start=10**6 - 10))
        p = PlantedModel(spec, 0).probability(block.dense, block.sparse)
    assert np.isfinite(p).all()
    assert (block.time_ns > 0).all()


def test_a_rows_probability_does_not_depend_on_its_company(tiny: Block) -> None:
    """To the bit: else a label would depend on how the stream is cut, or on the machine's BLAS."""
    model = PlantedModel(load_spec("tiny"), 0)
    together = model.probability(tiny.dense[:997], tiny.sparse[:997])
    for start, stop in ((0, 1), (1, 8), (8, 500), (500, 997)):
        part = model.probability(tiny.dense[start:stop], tiny.sparse[start:stop])
        assert part.tobytes() == together[start:stop].tobytes()


def test_without_strength_labels_are_coin_flips_at_the_base_rate(small: Block) -> None:
    labels = SMALL.labels.model_copy(update={"strength": 0.0})
    model = PlantedModel(SMALL.model_copy(update={"labels": labels}), 5)
    p = model.probability(small.dense[:1000], small.sparse[:1000])
    np.testing.assert_allclose(p, SMALL.labels.base_rate, rtol=1e-9)


def test_interactions_carry_their_share_of_the_logit(small: Block) -> None:
    """Swapping one feature's id moves the logit by an amount that depends on the other ids."""
    model = PlantedModel(SMALL, 5)
    here, there = small.sparse[:500].copy(), small.sparse[:500].copy()
    here[:, 1], there[:, 1] = 1, 2
    logit = [
        np.log(p / (1 - p))
        for p in (model.probability(small.dense[:500], s) for s in (here, there))
    ]
    assert (logit[1] - logit[0]).std() > 0.05

    labels = SMALL.labels.model_copy(update={"rank": 0})
    model = PlantedModel(SMALL.model_copy(update={"labels": labels}), 5)
    logit = [
        np.log(p / (1 - p))
        for p in (model.probability(small.dense[:500], s) for s in (here, there))
    ]
    np.testing.assert_allclose(logit[1] - logit[0], (logit[1] - logit[0])[0], atol=1e-5)


def test_a_negative_start_or_an_empty_block_is_refused() -> None:
    with pytest.raises(ValueError, match="start=-1"):
        next(generate_blocks(SMALL, 0, start=-1))
    with pytest.raises(ValueError, match="block_rows=0"):
        next(generate_blocks(SMALL, 0, block_rows=0))
