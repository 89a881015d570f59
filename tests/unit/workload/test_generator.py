"""The generated stream: reproducible however it is cut, and true to its spec."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lorabench.workload.block import Block
from lorabench.workload.features import DenseSpec, SparseSpec
from lorabench.workload.generator import CHUNK_ROWS, Generator, generate_blocks, in_order
from lorabench.workload.planted import TICK_ROWS, PlantedModel
from lorabench.workload.spec import LabelSpec, ModelSpec, WorkloadSpec, load_spec

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


def model_of(spec: WorkloadSpec, seed: int) -> PlantedModel:
    return Generator(spec, seed).planted


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
            assert np.array_equal(getattr(joined, name), want, equal_nan=True)


def test_another_seed_gives_other_rows(small: Block) -> None:
    other = next(generate_blocks(SMALL, 6))
    for name in COLUMNS:
        assert not np.array_equal(getattr(other, name), getattr(small, name)[:CHUNK_ROWS])


def test_columns_have_the_blocks_types_and_ids_lie_in_their_tables(small: Block) -> None:
    assert len(small) == SMALL.rows
    kinds = [getattr(small, name).dtype for name in COLUMNS]
    assert kinds == [np.int8, np.int64, np.float32, np.int32]
    assert (small.sparse >= 0).all()
    assert (small.sparse < np.array(SMALL.table_rows)).all()
    assert set(np.unique(small.label)) == {0, 1}


def test_missing_values_come_at_their_rates(small: Block) -> None:
    n = len(small)
    for observed, rate in [
        *zip((small.sparse == 0).sum(axis=0), SMALL.sparse.missing, strict=True),
        *zip(np.isnan(small.dense).sum(axis=0), SMALL.dense.missing, strict=True),
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
    assert np.nanmax(small.dense[:, 1]) == 2**31 - 128
    there = small.dense[~np.isnan(small.dense)]
    assert (there == np.floor(there)).all()


def test_times_never_go_back_and_keep_their_rate(small: Block) -> None:
    gaps = np.diff(small.time_ns)
    assert (gaps >= 0).all()
    assert small.time_ns[-1] == pytest.approx(len(small) / SMALL.rows_per_s * 1e9, rel=1e-3)
    assert stats.kstest(gaps[:5000] * SMALL.rows_per_s / 1e9, "expon").pvalue > 1e-4


def test_labels_are_drawn_from_the_planted_probabilities(tiny: Block) -> None:
    spec = load_spec("tiny")
    p = model_of(spec, 0).probability(tiny, 0)
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
    assert 0.78 < auc(block.label, model_of(spec, seed).probability(block, 0)) < 0.82


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
        p = model_of(spec, 0).probability(block, 10**6 - 10)
    assert np.isfinite(p).all()
    assert (block.time_ns > 0).all()


def test_a_rows_probability_does_not_depend_on_its_company(tiny: Block) -> None:
    """To the bit: else a label would depend on how the stream is cut, or on the machine's BLAS."""
    model = model_of(load_spec("tiny"), 0)
    together = model.probability(tiny.slice(0, 5997), 0)
    for start, stop in ((0, 1), (1, 8), (8, 500), (500, 5997)):
        part = model.probability(tiny.slice(start, stop), start)
        assert part.tobytes() == together[start:stop].tobytes()


def test_without_strength_labels_are_coin_flips_at_the_base_rate(small: Block) -> None:
    labels = SMALL.labels.model_copy(update={"strength": 0.0})
    model = model_of(SMALL.model_copy(update={"labels": labels}), 5)
    p = model.probability(small.slice(0, 1000), 0)
    np.testing.assert_allclose(p, SMALL.labels.base_rate, rtol=1e-9)


def test_interactions_carry_their_share_of_the_logit(small: Block) -> None:
    """Swapping one feature's id moves the logit by an amount that depends on the other ids."""
    model = model_of(SMALL, 5)
    here, there = small.sparse[:500].copy(), small.sparse[:500].copy()
    here[:, 1], there[:, 1] = 1, 2
    first = small.slice(0, 500)
    logit = [model.logit(replace(first, sparse=rows), 0) for rows in (here, there)]
    assert (logit[1] - logit[0]).std() > 0.05

    labels = SMALL.labels.model_copy(update={"rank": 0})
    model = model_of(SMALL.model_copy(update={"labels": labels}), 5)
    logit = [model.logit(replace(first, sparse=rows), 0) for rows in (here, there)]
    np.testing.assert_allclose(logit[1] - logit[0], (logit[1] - logit[0])[0], atol=1e-5)


def test_a_negative_start_or_an_empty_block_is_refused() -> None:
    with pytest.raises(ValueError, match="start=-1"):
        next(generate_blocks(SMALL, 0, start=-1))
    with pytest.raises(ValueError, match="block_rows=0"):
        next(generate_blocks(SMALL, 0, block_rows=0))


def drifting(**speeds: float) -> WorkloadSpec:
    """SMALL with one phase; times go by fast enough that a chunk sees hours."""
    day = {name: speeds.pop(name) for name in ("day_rate", "day_taste") if name in speeds}
    content = SMALL.model_dump()
    content["rows_per_s"] = 10.0
    content["drift"] = {"phase": [{"start_s": 0.0, **speeds}], "day_s": 7200.0, **day}
    return WorkloadSpec.model_validate(content)


STILL = drifting()


def test_threads_do_not_change_the_rows() -> None:
    spec = drifting(trades=1.0, newcomers=1.0, row_taste=1.0, shared_taste=1.0, rank=2)
    one = Block.concat(list(generate_blocks(spec, 5, rows=200_000)))
    three = Block.concat(list(generate_blocks(spec, 5, rows=200_000, jobs=3)))
    for name in COLUMNS:
        assert np.array_equal(getattr(one, name), getattr(three, name), equal_nan=True)


def test_in_order_stops_drawing_when_nobody_asks_any_more() -> None:
    made: list[int] = []

    def make(item: int) -> int:
        made.append(item)
        return item

    taken = in_order(make, range(1000), 2)
    assert [next(taken) for _ in range(3)] == [0, 1, 2]
    taken.close()
    assert len(made) <= 3 + 4


def test_popularity_drift_changes_who_holds_a_rank_but_not_the_law() -> None:
    still, moving = (
        Block.concat(list(generate_blocks(spec, 5, rows=2 * CHUNK_ROWS)))
        for spec in (STILL, drifting(newcomers=4.0))
    )
    c, s = 10_000_000, 1.05
    weight = np.arange(1.0, c + 1) ** -s
    for block, lasting in ((still, True), (moving, False)):
        early, late = (
            Counter(block.sparse[cut, 2].tolist())
            for cut in (slice(0, TICK_ROWS), slice(len(block) - TICK_ROWS, None))
        )
        hottest = early.most_common(1)[0]
        assert stats.binomtest(hottest[1], TICK_ROWS, weight[0] / weight.sum()).pvalue > 1e-4
        assert (late[hottest[0]] > 0.5 * hottest[1]) == lasting


def test_trades_swap_ranks_one_to_one() -> None:
    spec = drifting(trades=3.0)
    late = next(generate_blocks(spec, 5, start=20 * CHUNK_ROWS, rows=TICK_ROWS))
    early = next(generate_blocks(spec, 5, rows=TICK_ROWS))
    present = [block.sparse[:, 1][block.sparse[:, 1] > 0] for block in (early, late)]
    weight = np.arange(1.0, 13) ** -0.5
    for rows in present:
        counts = np.sort(np.bincount(rows, minlength=13)[1:])[::-1]
        assert stats.chisquare(counts, weight / weight.sum() * len(rows)).pvalue > 1e-4
    order = [np.argsort(np.bincount(rows, minlength=13)[1:]) for rows in present]
    assert not np.array_equal(*order)


def moved(spec: WorkloadSpec, rows: np.ndarray, first: int) -> np.ndarray:
    """What the drift adds to the log odds of samples with these rows, from 0 to row `first`."""
    n = len(rows)
    block = Block(np.zeros(n, np.int8), np.zeros(n, np.int64), np.ones((n, 2), np.float32), rows)
    model = model_of(spec, 5)
    return np.asarray(model.logit(block, first) - model.logit(block, 0))


def grid() -> np.ndarray:
    """Every pair of 12 rows of table 2 and 12 rows of table 3."""
    a, b = np.meshgrid(np.arange(1, 13), 1000 + np.arange(1, 13), indexing="ij")
    return np.column_stack([np.ones(144, int), a.ravel(), b.ravel()]).astype(np.int32)


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_shared_drift_moves_as_many_directions_as_the_schedule_says(rank: int) -> None:
    """By table 2's rows and table 3's, what moved is a matrix: without margins, of rank - 1."""
    # One full quarter turn: rows of a direction then stand where nothing of the old is left.
    spec = drifting(shared_taste=1.0, rank=rank)
    change = moved(spec, grid(), 9 * TICK_ROWS).reshape(12, 12)
    centred = change - change.mean(0) - change.mean(1)[:, None] + change.mean()
    values = np.linalg.svd(centred)[1]
    found = int((values > 1e-4).sum())
    # A factor's product before and after: two outer products a direction.
    assert found == 2 * max(rank - 1, 0)
    assert (np.abs(change).max() > 0.01) == (rank > 0)


def test_a_drift_of_its_own_moves_some_rows_and_leaves_the_others() -> None:
    spec = drifting(row_taste=0.5)
    rows = np.column_stack([np.ones(400, int), np.full(400, 3), 1 + np.arange(400)]).astype(
        np.int32
    )
    change = moved(spec, rows, 4 * TICK_ROWS)  # half an hour and a bit: a quarter were born again
    same = np.isclose(change, np.median(change), atol=1e-6)
    assert 0.6 < same.mean() < 0.9
    late = moved(spec, rows, 40 * TICK_ROWS)
    assert np.isclose(late, np.median(late), atol=1e-6).mean() < 0.1


def test_the_drift_stands_where_its_speed_is_zero() -> None:
    content = STILL.model_dump()
    content["drift"]["phase"] = [
        {"start_s": 0.0, "shared_taste": 1.0, "rank": 2, "row_taste": 1.0},
        {"start_s": 2000.0},
    ]
    spec = WorkloadSpec.model_validate(content)
    at_2100, later = (moved(spec, grid(), int(t * 10)) for t in (2500, 9000))
    assert np.abs(at_2100).max() > 0.01
    np.testing.assert_array_equal(at_2100, later)


def test_the_day_swings_rate_and_taste() -> None:
    spec = drifting(day_rate=0.8)
    block = Block.concat(list(generate_blocks(spec, 5, rows=3 * CHUNK_ROWS)))
    t = block.time_ns / 1e9
    assert (np.diff(block.time_ns) >= 0).all()
    phase = np.bincount((t % 7200 * 8 / 7200).astype(int))[:8] / len(t) * 8
    assert phase[1] > 1.5
    assert phase[5] < 0.5
    spec = drifting(day_taste=0.5)
    quarter, half = moved(spec, grid(), 18_000), moved(spec, grid(), 36_000)
    assert quarter.std() > 3 * half.std()


def test_a_multi_hot_feature_has_its_columns_and_no_more_weight_than_others() -> None:
    content = SMALL.model_dump()
    content["sparse"]["hotness"] = (1, 3, 10)
    spec = WorkloadSpec.model_validate(content)
    block = next(generate_blocks(spec, 5))
    assert block.sparse.shape == (CHUNK_ROWS, 14)
    assert (block.sparse[:, 4:] < spec.table_rows[2]).all()
    assert len(np.unique(block.sparse[0, 4:])) > 3
    spread = [
        model_of(s, 5).logit(b, 0).std()
        for s, b in (
            (spec, block),
            (SMALL, next(generate_blocks(SMALL, 5))),
        )
    ]
    assert spread[0] == pytest.approx(spread[1], rel=0.1)


def test_a_head_and_quantiles_are_drawn_as_given() -> None:
    content = SMALL.model_dump()
    content["sparse"]["head"] = ((), (0.4, 0.3), (0.25, 0.2, 0.1))
    content["dense"]["quantiles"] = ((-2, 0, 0, 10), ())
    spec = WorkloadSpec.model_validate(content)
    block = Block.concat(list(generate_blocks(spec, 5)))
    counts = np.sort(np.unique(block.sparse[:, 2], return_counts=True)[1])[::-1][:3]
    for observed, share in zip(counts, (0.25, 0.2, 0.1), strict=True):
        assert stats.binomtest(int(observed), len(block), share).pvalue > 1e-4
    x = block.dense[:, 0]
    assert (x.min(), x.max()) == (-2, 10)
    assert (x <= 0).mean() == pytest.approx(2 / 3 + 0.05 / 3, abs=0.005)
