"""The same seed gives the same numbers, and a document of today has all that one of before had.

What was measured in seconds differs from run to run and is left out. Numbers are compared between
two runs on this machine: another instruction set rounds otherwise, and training carries that on.
"""

from pathlib import Path

import pytest
from command import Run

from lorabench.results.files import read_result
from lorabench.results.schema import Metric, Result

pytestmark = pytest.mark.slow

KEPT = Path(__file__).parents[1] / "data" / "schema1"
# What had a value a window or rebase has one a seed.
BY_SEED = {"freshness"}
# Of time, or shares of it.
TIMED = {"train_samples_per_s", "train_time_share", "learn_cpu_s"}

# What learning takes decides when it is served: the same in both runs.
TIMES = "[seconds_per_sample]\nlora = 2e-5\ncluster = 1e-5\n"

RUNS = {
    "freshness": ("freshness", "--rows", 40_000, "--windows", 4, "--seeds", 2),
    "profile": (
        *("profile", "--dim", "8,32", "--window", 4096, "--windows", 3, "--warmup-windows", 2),
    ),
}


def compared(result: Result) -> dict[tuple[str, tuple[tuple[str, object], ...]], Metric]:
    return {
        (metric.name, tuple(sorted(metric.labels.items()))): metric
        for metric in result.metrics
        # A front of what is timed is, too.
        if metric.name not in TIMED and metric.labels.get("cost") not in TIMED
    }


@pytest.mark.parametrize("command", sorted(RUNS))
def test_the_same_seed_gives_the_same_numbers_and_all_that_a_kept_document_has(
    lorabench: Run, command: str, tmp_path: Path
) -> None:
    found = []
    times: tuple[object, ...] = ()
    if command == "freshness":
        times = ("--compute-model", tmp_path / "times.toml")
        (tmp_path / "times.toml").write_text(TIMES, encoding="utf-8")
    for name in "ab":
        path = tmp_path / f"{name}.json"
        ran = lorabench(*RUNS[command], *times, "--preset", "tiny", "-o", path)
        assert ran.returncode == 0, ran.stderr
        found.append(read_result(path))
    first, second = found
    today, again = compared(first), compared(second)
    assert set(today) == set(again)
    for key, metric in today.items():
        assert again[key].values == metric.values, key
    kept = read_result(KEPT / f"{command}.json")
    before = compared(kept)
    assert set(before) <= set(today)
    assert len(before) >= 20
    for key, metric in before.items():
        now = today[key]
        assert (now.condition, now.unit, now.better) == (
            metric.condition,
            metric.unit,
            metric.better,
        )
        assert len(now.values) == (2 if command in BY_SEED else len(metric.values)), key
    asked = first.config["experiment"]
    assert {key: asked[key] for key in kept.config["experiment"] if key in asked} == (
        kept.config["experiment"]
    )
    assert {claim.id for claim in kept.claims} <= {claim.id for claim in first.claims}
