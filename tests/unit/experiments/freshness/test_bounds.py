"""What holds of all strategies on drift that can be followed: none below them, ideal above."""

import pytest
from interrupting import Interrupting

from lorabench.experiments.freshness.options import FreshnessOptions
from lorabench.experiments.freshness.run import Freshness
from lorabench.results import statistics

BETWEEN = ("full", "delta", "priority-20", "stream", "lora", "memory")
TIMES = """
[seconds_per_sample]
lora = 1e-5
memory = 1e-5
ideal = 1e-5
cluster = 1e-5
[seconds_per_byte]
encode = 1e-10
apply = 1e-10
"""


@pytest.fixture(scope="module")
def areas(slower_spec, tmp_path_factory) -> dict[str, list[float]]:
    """Mean AUC of each strategy by seed; a push every second, over a link that carries it."""
    # A busy machine's own times would decide what is served.
    times = tmp_path_factory.mktemp("bounds") / "times.toml"
    times.write_text(TIMES)
    options = FreshnessOptions(
        preset=str(slower_spec),
        strategies=("none", *BETWEEN, "ideal"),
        windows=5,
        memory_budget=0.2,
        seeds=3,
        emt_bytes=1e9,
        push_interval_s=1.0,
        compute_model=str(times),
    )
    run = Freshness(options)
    run.measure(Interrupting())
    table = run.findings().table
    return {name: table.values("auc", name) for name in options.strategies}


def interval(first: list[float], second: list[float]) -> tuple[float, float]:
    found = statistics.mean([a - b for a, b in zip(first, second, strict=True)])
    assert found is not None
    assert found.interval is not None
    return found.interval


@pytest.mark.parametrize("name", BETWEEN)
def test_a_strategy_lies_between_none_and_ideal(areas, name) -> None:
    _, high = interval(areas[name], areas["none"])
    assert high > 0, "below a model that nothing keeps fresh"
    low, _ = interval(areas[name], areas["ideal"])
    assert low < 0, "above full training that is served at once"


def test_what_the_link_carries_in_time_is_nearly_ideal(areas) -> None:
    """So that an order of strategies is not all noise."""
    low, _ = interval(areas["ideal"], areas["none"])
    assert low > 0
    for name in ("full", "delta", "stream"):
        gap = sum(areas["ideal"]) - sum(areas["none"])
        assert sum(areas[name]) - sum(areas["none"]) > 0.5 * gap
