"""A folder's index has all results, newest first, and the trend of what was measured often."""

import re
import sys

import pytest
from documents import document

from lorabench.report.history import index
from lorabench.report.html.page import page
from lorabench.results.schema import Claim, Program, Result
from lorabench.results.trend import searchable

needs_otava = pytest.mark.skipif(not searchable(), reason="there is no Otava; make install")


def result(number: int, value: float, **other: object) -> Result:
    missed = Claim(
        id="latency.isolated",
        statement="s",
        target=1.1,
        measured=value,
        ci95=None,
        verdict="met" if value < 1.1 else "missed",
        basis="measured-real",
        reason="r",
    )
    made: dict[str, object] = {
        "id": f"{number:04d}",
        "created": f"2026-01-01T{number:02d}:00:00Z",
        "lorabench": Program(version="1", git="abc"),
        "config_hash": "0123456789",
        "environment": {},
        "rounds": [],
        "claims": [missed],
    }
    return document({("latency_p99_ratio", "isolated"): [value]}, config={}, **{**made, **other})


RESULTS = {f"{n}.json": result(n, 1.0 + 0.001 * (n % 3) + 0.5 * (n >= 10)) for n in range(20)}


def test_the_newest_is_first_with_its_verdicts() -> None:
    made = index("results", RESULTS, ["bad.json: found no JSON"])
    first, *_ = made.overview
    assert first.words == ("Left out: bad.json: found no JSON",)
    (table,) = first.tables
    assert [row[3] for row in table.rows] == [f"{n}.json" for n in range(19, -1, -1)]
    assert table.rows[0][2] == "1 missed (latency.isolated)"
    assert table.rows[-1][2] == "1 met"


@needs_otava
def test_a_change_is_marked_and_told() -> None:
    (_, trend) = index("results", RESULTS, []).overview
    assert trend.title == "Trend of colocate, 01234567, machine 1"
    (figure,) = trend.figures
    assert "It changes at result 11: 1.00 before, 1.50 after (+50.0%)." in figure.told
    assert [row[0] for row in figure.table.rows if row[-1]] == ["11"]


def test_without_otava_it_says_how_to_have_change_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "otava.analysis", None)
    (_, trend) = index("results", RESULTS, []).overview
    assert "pip install 'lorabench[trend]'" in trend.words[1]
    assert not any(row[-1] for row in trend.figures[0].table.rows)


def test_what_was_measured_once_has_no_trend() -> None:
    (_, trend) = index("results", {"0.json": RESULTS["0.json"]}, []).overview
    assert trend.words == (
        "Nothing was measured 3 times with the same command, configuration and machine.",
    )


def test_machines_of_one_name_and_runs_in_turns_have_a_trend_each() -> None:
    """Every other result is of another configuration, machine or flags of the processor."""
    unlike = [
        {"config_hash": config, "environment": {"cpu": {"brand_raw": "A", "flags": flags}}}
        for config in ("01234567a", "01234567b")
        for flags in (["avx2"], ["avx2", "avx512f"])
    ]
    results = {f"{n}.json": result(n, 1.0, **unlike[n % 4]) for n in range(16)}
    made = index("results", results, [])
    first, *trends = made.overview
    assert [name for name, _ in first.facts] == ["Machine 1", "Machine 2"]
    assert {row[-1] for row in first.tables[0].rows} == {"1", "2"}
    assert len(trends) == 4
    assert all(len(one.figures) == 1 for one in trends)
    assert len({(one.title, one.words[0]) for one in trends}) == 2  # of each two configurations
    text = page(made)
    identifiers = re.findall(r' id="([^"]*)"', text)
    assert len(identifiers) == len(set(identifiers))
    assert set(re.findall(r'href="#([^"]*)"', text)) <= set(identifiers)


@needs_otava
@pytest.mark.parametrize("count", [3, 5])
def test_too_few_results_to_look_for_a_change_are_told_of(count: int) -> None:
    few = {name: RESULTS[name] for name in list(RESULTS)[:count]}
    (_, trend) = index("results", few, []).overview
    assert "Too few results to look for a change point." in trend.figures[0].told
    assert "No change point" not in trend.figures[0].told
