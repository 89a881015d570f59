"""The same seed gives the same numbers as before: documents that were kept against runs of today.

What was measured in seconds differs from run to run and is left out; all else has to agree, but for
what another instruction set rounds otherwise.
"""

from pathlib import Path

import pytest
from command import Run

from lorabench.results.files import read_result
from lorabench.results.schema import Metric, Result

pytestmark = pytest.mark.slow

KEPT = Path(__file__).parents[1] / "data" / "schema1"
# Of time, or shares of it.
TIMED = {"train_samples_per_s", "train_time_share"}

RUNS = {
    "freshness": ("freshness", "--rows", 40_000, "--windows", 4),
    "profile": (
        *("profile", "--dim", "8,32", "--window", 4096, "--windows", 3, "--warmup-windows", 2),
    ),
}


def compared(result: Result) -> dict[tuple[str, tuple[tuple[str, object], ...]], Metric]:
    return {
        (metric.name, tuple(sorted(metric.labels.items()))): metric
        for metric in result.metrics
        if metric.name not in TIMED
    }


@pytest.mark.parametrize("command", sorted(RUNS))
def test_a_run_of_today_says_what_the_document_of_then_says(
    lorabench: Run, command: str, tmp_path: Path
) -> None:
    kept = read_result(KEPT / f"{command}.json")
    path = tmp_path / "out.json"
    ran = lorabench(*RUNS[command], "--preset", "tiny", "-o", path)
    assert ran.returncode == 0, ran.stderr
    today = read_result(path)
    before, after = compared(kept), compared(today)
    assert set(before) <= set(after)
    assert len(before) >= 20
    for key, metric in before.items():
        now = after[key]
        assert (now.condition, now.unit, now.better) == (
            metric.condition,
            metric.unit,
            metric.better,
        )
        assert now.values == pytest.approx(metric.values, rel=0.02, abs=1e-3), key
    asked = today.config["experiment"]
    assert {key: asked[key] for key in kept.config["experiment"] if key in asked} == (
        kept.config["experiment"]
    )
    verdicts = {claim.id: claim.verdict for claim in today.claims}
    assert {claim.id: verdicts[claim.id] for claim in kept.claims} == {
        claim.id: claim.verdict for claim in kept.claims
    }
