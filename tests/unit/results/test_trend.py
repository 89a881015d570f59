"""Histories are of what can be compared, and change where the numbers do."""

import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from documents import document

from lorabench.results.schema import Result
from lorabench.results.trend import changes, histories, searchable

needs_otava = pytest.mark.skipif(not searchable(), reason="there is no Otava; make install")
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


def result(number: int, value: float, **other: object) -> Result:
    made: dict[str, object] = {
        "id": f"{number:04d}",
        "created": FIRST + timedelta(hours=number),
        "config_hash": "a",
        "environment": {"cpu": {"brand_raw": "A Processor"}},
        "rounds": [],
    }
    return document({("latency_p99_ratio", "isolated"): [value]}, config={}, **{**made, **other})


def noisy(*levels: float) -> list[Result]:
    rng = np.random.default_rng(0)
    return [result(n, level + rng.normal(0, 0.01)) for n, level in enumerate(levels)]


def test_a_history_goes_from_the_oldest_to_the_newest() -> None:
    (history,) = histories([result(2, 1.2), result(0, 1.0), result(1, 1.1)])
    assert [point.value for point in history.points] == [1.0, 1.1, 1.2]
    assert (history.metric, history.case.text) == ("latency_p99_ratio", "isolated")


@pytest.mark.parametrize(
    "other",
    [
        {"config_hash": "b"},
        {"environment": {"cpu": {"brand_raw": "Another"}}},
        {"command": "kernels"},
        {"partial": True},
    ],
    ids=["configuration", "machine", "command", "interrupted"],
)
def test_what_differs_is_in_no_common_history(other: dict[str, object]) -> None:
    assert histories([result(0, 1.0), result(1, 1.0, **other)]) == []


@needs_otava
def test_a_step_is_a_change_and_noise_is_none() -> None:
    (history,) = histories(noisy(*[1.0] * 12, *[1.3] * 12))
    (change,) = changes(history)
    assert change.place == 12
    assert change.before == pytest.approx(1.0, abs=0.02)
    assert change.after == pytest.approx(1.3, abs=0.02)
    (flat,) = histories(noisy(*[1.0] * 24))
    assert changes(flat) == []


@needs_otava
def test_few_results_are_not_searched() -> None:
    (history,) = histories(noisy(1.0, 1.0, 2.0, 2.0, 2.0))
    assert changes(history) == []


@needs_otava
def test_otava_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert searchable()
    monkeypatch.setitem(sys.modules, "otava.analysis", None)
    assert not searchable()


def test_what_a_run_is_held_against_is_not_followed() -> None:
    listed = [result(n, 1.0) for n in range(2)]
    for one in listed:
        mine = one.metrics[0]
        driven = {"condition": "isolated@mlperf", "labels": {"load_generator": "mlperf"}}
        more = [{"condition": "sham"}, {"condition": "solo_all"}, driven]
        one.metrics.extend(mine.model_copy(update=change) for change in more)
    assert [one.case.text for one in histories(listed)] == ["isolated"]
