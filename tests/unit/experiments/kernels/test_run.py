"""What `lorabench kernels` refuses, draws and judges."""

from dataclasses import replace

import numpy as np
import pytest

from lorabench.errors import InputError
from lorabench.experiments.kernels.ours import IndexSampler, scatter
from lorabench.experiments.kernels.run import (
    GIB,
    MIB,
    KernelsConfig,
    Target,
    peers,
    quick,
    size_text,
)
from lorabench.results.statistics import Estimate


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": ("lookups",)}, "--kernels: found 'lookups', expected some of lookup"),
        ({"against": ("jax",)}, "--against: found 'jax', expected some of torch, fbgemm"),
        ({"laws": ("gauss",)}, "--indices: found 'gauss', expected some of uniform, zipf"),
        ({"laws": ()}, "--kernels, --indices: found nothing"),
        ({"dims": (0,)}, "--dim: found 0, expected 1 to 4096"),
        ({"dims": ()}, "--dim: found nothing"),
        ({"poolings": (20, -1)}, "--pooling: found -1"),
        ({"sizes": (100,)}, "--table-mib: found 0"),
        ({"rank": 257}, "--rank: found 257, expected 1 to 256"),
        ({"rounds": 0}, "--rounds: found 0"),
        ({"seed": -1}, "--seed: found -1"),
        ({"isa": "sse9"}, "--isa: found 'sse9', expected one of .*plain"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(KernelsConfig(), **change).check()  # type: ignore[arg-type]


def test_the_default_and_the_quick_run_can_be_run() -> None:
    KernelsConfig().check()
    fast = quick(KernelsConfig())
    fast.check()
    assert fast.sizes == (2 * GIB,)
    assert "scaling" not in fast.groups


@pytest.mark.parametrize("rows", [1, 2, 1000, 524_288, 999_983])
def test_scattering_is_one_to_one(rows: int) -> None:
    rows_of = scatter(np.arange(rows), rows)
    assert len(np.unique(rows_of)) == rows
    assert rows_of.min() == 0
    assert rows_of.max() == rows - 1


@pytest.mark.parametrize("law", ["uniform", "zipf"])
def test_bags_are_in_range_and_all_of_one_size(law: str) -> None:
    bags = IndexSampler(rows=77, bags=13, pooling=5, law=law)(np.random.default_rng(0))
    assert bags.indices.dtype == bags.offsets.dtype == np.int32
    np.testing.assert_array_equal(np.diff(bags.offsets), 5)
    assert bags.offsets[0] == 0
    assert bags.offsets[-1] == len(bags.indices)
    assert bags.indices.min() >= 0
    assert bags.indices.max() < 77


def test_a_hit_share_is_drawn_from_the_adapted_rows() -> None:
    rows, adapted = 10_000, 200
    draw = IndexSampler(rows, 2000, 10, "uniform", adapted, 0.05)
    hot = set(scatter(np.arange(adapted), rows).tolist())
    drawn = draw(np.random.default_rng(3)).indices
    share = np.mean([row in hot for row in drawn.tolist()])
    assert share == pytest.approx(0.05, abs=0.01)
    every = replace(draw, hit_share=1.0)(np.random.default_rng(3)).indices
    assert set(every.tolist()) <= hot


@pytest.mark.parametrize(
    ("kind", "interval", "n", "judged"),
    [
        ("least", (1.2, 1.4), 21, "met"),
        ("least", (1.0, 1.1), 21, "missed"),
        ("least", (1.0, 1.4), 21, "inconclusive"),
        ("least", (1.2, 1.4), 5, "inconclusive"),
        ("most", (1.0, 1.15), 21, "met"),
        ("most", (1.2, 1.4), 21, "missed"),
        ("most", (1.0, 1.4), 21, "inconclusive"),
    ],
)
def test_a_target_is_judged_by_the_interval(
    kind, interval: tuple[float, float], n: int, judged: str
) -> None:
    target = Target("t", "s", 1.15, kind)
    assert target.judge(Estimate(sum(interval) / 2, interval, n)) == judged
    assert target.judge(None) == "unavailable"


def test_sizes_are_written_as_a_person_would() -> None:
    assert [size_text(size) for size in (MIB, 64 * MIB, 2 * GIB)] == ["1 MiB", "64 MiB", "2 GiB"]


@pytest.mark.parametrize("peer", ["torch", "fbgemm"])
@pytest.mark.parametrize("dim", [16, 64])
def test_peers_read_and_train_the_very_memory_that_they_are_given(peer: str, dim: int) -> None:
    if (why := peers.unavailable(peer)) is not None:
        pytest.skip(f"{peer}: {why}")
    rng = np.random.default_rng(0)
    table = rng.standard_normal((1000, dim), dtype=np.float32)
    draw = IndexSampler(len(table), 32, 5, "uniform")
    looked_up = peers.lookup(peer, peer, table, draw)
    indices, offsets = looked_up.prepare(rng)
    for _ in range(2):
        found = looked_up.stages["lookup"]((indices, offsets))
        pooled = (found[0] if isinstance(found, tuple) else found).numpy()  # type: ignore[attr-defined]
        np.testing.assert_allclose(
            pooled, table[indices.numpy().reshape(32, 5)].sum(axis=1), rtol=1e-5, atol=1e-5
        )
        table += 1  # seen by the second look
    update = peers.update(peer, peers.trained(peer, table), dim, draw)
    before = table.copy()
    inputs = update.prepare(rng)
    for stage in update.stages.values():
        stage(inputs)
    changed = np.flatnonzero((table != before).any(axis=1))
    assert set(changed.tolist()) == set(inputs[0].numpy().tolist())


def test_a_release_of_fbgemm_for_another_torch_is_not_even_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    versions = {"torch": "2.13.0+cpu", "fbgemm-gpu-cpu": "1.7.0"}
    monkeypatch.setattr(peers.metadata, "version", versions.__getitem__)
    monkeypatch.setattr(peers.util, "find_spec", lambda name: object())
    monkeypatch.setattr(peers, "_load_fbgemm", lambda: pytest.fail("it was loaded"))
    why = peers.unavailable.__wrapped__("fbgemm")
    assert why == "fbgemm-gpu-cpu 1.7.0 goes with torch 2.12, not with 2.13.0+cpu"
