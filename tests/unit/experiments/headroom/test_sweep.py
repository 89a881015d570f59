"""The sweep of training duties: what is refused, and what its values come to."""

import math
from dataclasses import replace

import numpy as np
import pytest

from lorabench.bench.options import check
from lorabench.bench.serving.cases import case_of
from lorabench.bench.serving.options import conditions
from lorabench.errors import InputError
from lorabench.experiments.headroom.options import DEFAULT_CONDITIONS, DutySweepOptions
from lorabench.experiments.headroom.sweep import DutySweep, sweep_data
from lorabench.isolation.conditions import parse_condition
from lorabench.results.headroom import Slo, headroom
from lorabench.results.metrics import MetricTable

CONFIG = DutySweepOptions()


def test_the_defaults_can_be_run_at_six_duties_in_two_places() -> None:
    check(CONFIG)
    assert len(CONFIG.duties) == 6
    assert CONFIG.asked == conditions(DEFAULT_CONDITIONS)
    assert CONFIG.slo == Slo(ratio=1.10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"duties": (0.0, 0.5, 1.0)}, "--duties: found 0,0.5,1, expected 6 or more different ones"),
        ({"duties": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)}, "expected 6 or more different ones, 0 among"),
        ({"duties": (0.0, 0.1, 0.1, 0.2, 0.3, 1.0)}, "expected 6 or more different ones"),
        ({"duties": (0.0, 0.1, 0.2, 0.3, 0.4, 1.5)}, "found 0,0.1,0.2,0.3,0.4,1.5, expected share"),
        ({"duties": (0.0, 0.1, 0.2, 0.3, 0.4, math.nan)}, "expected shares of the time, 0 to 1"),
        ({"slo_ratio": 1.0}, "--slo-ratio: found 1.0, expected above 1"),
        ({"slo_ratio": 1.1, "slo_s": 0.01}, "--slo-ms: found --slo-ratio beside it, expected one"),
        ({"slo_s": 0.0}, "--slo-ms: found 0.0"),
        ({"rounds": 0}, "--rounds: found 0, expected at least 1"),
    ],
)
def test_what_cannot_be_run_is_refused_by_option(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        check(replace(CONFIG, **change))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_what_is_to_be_kept_and_swept_follows_from_the_options() -> None:
    changed = replace(CONFIG, slo_s=0.005, duties=(1.0, 0.0, 0.5, 0.2, 0.3, 0.4))
    assert changed.slo == Slo(limit_s=0.005)
    assert changed.worked == (0.2, 0.3, 0.4, 0.5, 1.0)


@pytest.mark.parametrize(("stopped", "said"), [(0.0, False), (3.0, True)])
def test_whose_headroom_it_is_is_said_where_a_quota_stopped_the_servers(
    stopped: float, said: bool
) -> None:
    table = MetricTable()
    table.add("throttled_periods", case_of(parse_condition("pinned"), 0.5), 0.0, stopped)
    notes = " ".join(DutySweep(CONFIG)._notes(table))
    assert ("the usable headroom is what that leaves, and not what the machine would" in notes) == (
        said
    )


SHARED = parse_condition("shared")


def sheet() -> MetricTable:
    """Two rounds of `shared` at four duties, 5 s each: p99 doubles by every 10,000 samples/s."""
    found = MetricTable()
    for weather in (1.0, 1.5):
        found.add("latency_p99", "solo", 0.010 * weather * 1.1)
        found.add("latency_p99", "solo_repeat", 0.010 * weather / 1.1)
        for duty in (0.25, 0.5, 0.75, 1.0):
            case = case_of(SHARED, duty)
            found.add("latency_p99", case, 0.010 * weather * 2**duty)
            found.add("train_samples_per_s", case, 10_000 * duty)
            found.add("trainer_cores", case, duty * 0.9)
    return found


def test_the_ladder_is_read_from_the_sheet_round_by_round() -> None:
    found = sweep_data(sheet(), SHARED, (0.25, 0.5, 0.75, 1.0))
    np.testing.assert_allclose(found.duty, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(found.p99_s[0], 0.010 * 2**found.duty)
    np.testing.assert_allclose(found.p99_s[1], 0.015 * 2**found.duty)
    np.testing.assert_allclose(found.samples_per_s, np.tile(10_000 * found.duty, (2, 1)))
    np.testing.assert_allclose(found.cores, np.tile(0.9 * found.duty, (2, 1)))


def test_the_headroom_of_a_known_curve_is_found() -> None:
    found = headroom(
        sweep_data(sheet(), SHARED, (0.25, 0.5, 0.75, 1.0)), Slo(ratio=math.sqrt(2)), seed=0
    )
    assert found is not None
    assert found.usable.samples_per_s == pytest.approx(5000)
    assert found.usable.cores == pytest.approx(0.45)
    # Weather that all duties of a round share does not widen it.
    assert found.samples_interval == pytest.approx((5000, 5000))


def test_a_round_without_a_p99_is_left_out_and_not_guessed() -> None:
    gappy = sheet()
    gappy.rows["latency_p99", case_of(SHARED, 0.5)][1] = None
    found = sweep_data(gappy, SHARED, (0.25, 0.5, 0.75, 1.0))
    assert found.whole().rounds == 1
