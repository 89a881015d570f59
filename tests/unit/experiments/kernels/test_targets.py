"""Which figures of a run are held against a target, and against which."""

import pytest

from lorabench.experiments.kernels import labels, targets
from lorabench.experiments.kernels.labels import BEST, GIB, MIB, OURS, Inputs, Point
from lorabench.results.metrics import MetricTable

POINT = Point(64, 20, "uniform", 2 * GIB)
ROUNDS = [1.3, 1.32, 1.35, 1.31, 1.34, 1.33]


def speedups(point: Point, *, pages=(("4k", "4k"), ("2m", "2m"), ("4k", "2m"))) -> MetricTable:
    table = MetricTable()
    for pair in pages:
        for peer in ("torch", BEST):
            table.add("lookup_speedup", labels.against(peer, *pair, point), *ROUNDS)
    return table


def test_lookups_are_judged_where_their_targets_are_set() -> None:
    judged = {claim.id: claim for claim in targets.judge(speedups(POINT), finished=True)}
    assert list(judged) == [
        "lookup.same_pages[D=64]",
        "lookup.as_run[D=64]",
        "lookup.never_slower",
    ]
    same, as_run, everywhere = judged.values()
    assert (same.verdict, same.target) == ("met", 1.15)
    assert same.measured == pytest.approx(1.325)
    assert same.statement.endswith("1.15x as fast as the better peer on the same 2 MiB pages")
    assert same.reason == "measured 1.33 [1.3..1.35]"
    assert (as_run.verdict, as_run.target) == ("missed", 1.6)
    assert everywhere.reason == (
        "the lowest of 2 points is 1.3, at 4k, D=64, pooling 20, uniform, 2 GiB"
    )


@pytest.mark.parametrize(
    "point",
    [
        Point(32, 20, "uniform", 2 * GIB),
        Point(64, 1, "uniform", 2 * GIB),
        Point(64, 20, "zipf", 2 * GIB),
        Point(64, 20, "uniform", 64 * MIB),
    ],
)
def test_other_points_count_only_for_being_never_slower(point: Point) -> None:
    judged = targets.judge(speedups(point), finished=True)
    assert [claim.id for claim in judged] == ["lookup.never_slower"]


def test_nothing_is_said_of_everywhere_by_a_run_that_was_cut_short() -> None:
    judged = targets.judge(speedups(POINT), finished=False)
    assert "lookup.never_slower" not in {claim.id for claim in judged}


def test_the_other_kernels_are_judged_by_their_own_figures() -> None:
    table = MetricTable()
    table.add("lookup_over_limit", labels.limit("4k", POINT), *ROUNDS)
    table.add("lookup_over_limit", labels.limit("2m", POINT), *ROUNDS)
    table.add("lookup_lora_ratio", Inputs("pooled", 8, POINT).case, *ROUNDS)
    table.add("update_speedup", Inputs("all adapted", 8, POINT).against("torch"), *ROUNDS)
    table.add("update_speedup", Inputs("any row", 8, POINT).against("torch"), *ROUNDS)
    setting = {"ranks": 40_000_000, "exponent": 1.05}
    seconds = [value * 1e-8 for value in ROUNDS]
    table.add("zipf_sample_s", labels.single("zipf_sample", OURS, setting), *seconds)
    table.add("zipf_sample_s", labels.single("zipf_sample", "numpy", setting), *seconds)
    judged = [(claim.id, claim.verdict) for claim in targets.judge(table, finished=True)]
    assert judged == [
        ("lookup.limit[2 GiB]", "missed"),
        ("lookup_lora.pooled[D=64]", "missed"),
        ("update.torch[D=64]", "missed"),
        ("zipf.sample", "met"),
    ]
    assert targets.judge(table, finished=True)[-1].reason == "measured 13.3 [13..13.5]"
