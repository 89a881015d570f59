"""What the neighbour probe concludes from its ratios."""

import pytest

from lorabench.bench.serving.interference import NEIGHBOURS, Interference
from lorabench.host.quota import Throttled
from lorabench.results.statistics import Estimate


def found(**ratios: tuple[float, float, float]) -> Interference:
    estimates = {
        name: Estimate(value, (low, high), 8) for name, (value, low, high) in ratios.items()
    }
    return Interference(estimates, {name: [] for name in ratios})


@pytest.mark.parametrize(
    ("ratios", "words"),
    [
        ({"streaming": (1.0, 0.98, 1.03)}, "no shared resource contends here"),
        ({"streaming": (1.0, 0.7, 1.4)}, "whether a shared resource contends here is not clear"),
        ({"streaming": (1.3, 1.2, 1.4)}, "streaming on the trainer's cores alone slow"),
        (
            {"streaming": (1.3, 1.2, 1.4), "arithmetic": (1.0, 0.7, 1.4)},
            "streaming on the trainer's cores alone slow",
        ),
    ],
)
def test_contention_is_found_excluded_or_left_open(
    ratios: dict[str, tuple[float, float, float]], words: str
) -> None:
    sentence = found(**ratios).sentence()
    assert sentence.startswith(words)
    assert "streaming 1." in sentence


def test_no_figures_are_no_verdict() -> None:
    assert Interference({}, {}).sentence() == "the neighbour probe gave no figures"


def test_a_probe_that_a_quota_stopped_says_nothing() -> None:
    none = {name: [None] * 3 for name in NEIGHBOURS}
    found = Interference({}, none, Throttled(57, 43, 1.0))
    assert found.sentence() == (
        "the neighbour probe says nothing: the kernel stopped it in 43 of 57 periods of the CPU "
        "quota"
    )
