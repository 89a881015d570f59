"""What a report says of a result: in its order, and only what the document has."""

import shlex
from pathlib import Path

import pytest
from documents import document

from lorabench.report.chapter import Source, chapter, report
from lorabench.report.content import Chapter, Section
from lorabench.results.case import Case
from lorabench.results.distribution import Distribution
from lorabench.results.files import read_result
from lorabench.results.schema import Claim, Result

DOCUMENTS = Path(__file__).parents[2] / "data/schema1"
ASKED, ALL, AGAIN = "What was asked, and of which machine", "All numbers", "How to reproduce"

SECTIONS = {
    "colocate": [
        *("Claims", ASKED, "p99 by condition", "Latency distribution"),
        *("Training, throttle, epochs", ALL, AGAIN),
    ],
    "doctor": [ASKED, "What this machine offers", ALL, AGAIN],
    "freshness": [ASKED, "Freshness: quality over time, and its bytes", ALL, AGAIN],
    "headroom-observe": ["Claims", ASKED, "Headroom", ALL, AGAIN],
    "kernels": ["Claims", ASKED, "Kernels against their peers", ALL, AGAIN],
    "profile": ["Claims", ASKED, "Spectrum and rank over time", ALL, AGAIN],
}

SOME = [Distribution("solo", 9000, (0.001, 0.004), ((1.1, 0.001), (10.0, 0.002), (450.0, 0.005)))]


def made(name: str, **changes: object) -> Chapter:
    result = read_result(DOCUMENTS / f"{name}.json").model_copy(update=changes)
    latencies = SOME if name == "colocate" else None
    return chapter(Source(f"{name}.json", result, latencies, "lorabench x", ()), (50.0, 99.0))


def section(found: Chapter, title: str) -> Section:
    return next(one for one in found.sections if one.title == title)


@pytest.mark.parametrize("name", SECTIONS)
def test_sections_are_those_that_a_document_has_in_order(name: str) -> None:
    assert [one.title for one in made(name).sections] == SECTIONS[name]


def test_of_headroom_what_was_asked_comes_before_what_that_was_made_of() -> None:
    values: dict[tuple[str, str | Case], list[float | None]] = {
        ("latency_p50", "solo"): [0.001, 0.001],
        ("stalls_per_s", "solo"): [0.0, 1.0],
        ("headroom_samples_per_s", "shared"): [900.0, 910.0],
    }
    sweep = document(values).model_copy(update={"command": "headroom"})
    found = chapter(Source("a.json", sweep, None, "lorabench x", ()), (50.0,))
    titles = [one.title for one in found.sections]
    assert titles.index("Headroom") == titles.index("p99 by condition") - 1


def test_every_plot_has_its_numbers_and_says_what_it_shows() -> None:
    found = made("profile")
    figures = [figure for one in found.sections for figure in one.figures]
    assert len(figures) > 4
    for figure in figures:
        assert figure.table.rows
        assert figure.told.endswith(".")
        assert {len(row) for row in figure.table.rows} == {len(figure.table.head)}


def test_a_claim_has_its_figure_in_the_unit_of_its_limit() -> None:
    claim = Claim(
        id="latency.impact",
        statement="s",
        target=0.02,
        measured=0.0000410,
        ci95=(0.0000145, 0.0000675),
        verdict="met",
        basis="measured-real",
        reason="because",
        why=["and so"],
    )
    (shown,) = section(made("colocate", claims=[claim]), "Claims").verdicts
    assert shown.figure == "0.0410 ms [0.0145..0.0675]"
    assert shown.limit == "20 ms"
    assert shown.reasons == ("Because.", "And so.")


def test_a_budget_that_is_all_but_used_up_is_not_rounded_to_its_limit() -> None:
    budget = section(made("colocate"), "Claims").verdicts[0]
    assert (budget.claim, budget.figure, budget.limit) == ("memory.budget", "just under 2 %", "2 %")


def test_percentiles_that_too_few_queries_lie_beyond_are_a_dash() -> None:
    found = section(made("colocate"), "Latency distribution").figures[0]
    assert found.table.head == ("condition", "queries", "p50, ms", "p99, ms")
    assert found.table.rows == (("solo", "9,000", "1", "4"),)


def test_a_page_begins_with_what_came_out_of_what_where_and_when() -> None:
    found = made("colocate")
    assert found.title == "lorabench colocate: 1 of 3 claims met"
    assert found.about.startswith("tiny rows · ")
    assert made("doctor").title == "lorabench doctor"


def test_a_long_command_has_an_option_a_line_and_is_the_same_command() -> None:
    command = "lorabench colocate --preset tiny --load 0.5 --data 'a --b' --conditions naive,pinned"
    source = Source("a.json", read_result(DOCUMENTS / "doctor.json"), None, command, ())
    code = section(chapter(source, (50.0,)), AGAIN).code
    assert code.splitlines()[:2] == ["lorabench colocate \\", "  --preset tiny \\"]
    assert shlex.split(code.replace("\\\n", "")) == shlex.split(command)


def test_the_auc_of_trained_conditions_stands_beside_that_of_serving_alone() -> None:
    values: dict[tuple[str, str | Case], list[float | None]] = {
        ("latency_p50", case): [0.001, 0.001] for case in ("solo", "naive")
    }
    values |= {("auc", "solo"): [0.67641, 0.67641], ("auc", "naive"): [0.73492, 0.73492]}
    values["epochs", "naive"] = [3.0, 3.0]
    found = chapter(Source("a.json", document(values), None, "lorabench x", ()), (50.0,))
    (table,) = section(found, "Training, throttle, epochs").tables
    assert table.head == ("", "solo", "naive")
    assert table.rows == (
        ("epochs (LoRA states published)", "-", "3"),
        ("AUC of what was served", "0.6764", "0.7349"),
    )


def test_an_interrupted_run_says_so_first() -> None:
    assert (
        section(made("colocate", partial=True), "Claims")
        .words[0]
        .startswith("The run was interrupted")
    )


def test_a_condition_that_no_block_ran_is_no_error() -> None:
    result = read_result(DOCUMENTS / "colocate.json")
    blocks = [one.model_copy(update={"saturated": ["nobody"]}) for one in result.rounds]
    assert section(made("colocate", rounds=blocks), "p99 by condition").tables[0].rows


def test_a_saturated_condition_has_no_ratio() -> None:
    result = read_result(DOCUMENTS / "colocate.json")
    blocks = [one.model_copy(update={"saturated": ["naive"]}) for one in result.rounds]
    table = section(made("colocate", rounds=blocks), "p99 by condition").tables[0]
    assert [row[0] for row in table.rows if "saturated" in row] == ["naive"]


def of_loadgen() -> Result:
    """Return a document in which LoadGen drives what the rounds have measured before."""
    pinned, solo, own = (
        Case(f"{of}@{by}", {"condition": of, "load_generator": by})
        for of, by in (("pinned", "mlperf"), ("solo", "mlperf"), ("solo", "own"))
    )
    served = [pinned, solo, own, "solo_all", "pinned", "solo"]
    values: dict[tuple[str, str | Case], list[float | None]] = {
        ("latency_p50", case): [0.001, 0.001] for case in served
    }
    values |= {("latency_p99", case): [0.004, 0.004] for case in served if case != pinned}
    for case, p99_s in (pinned, 0.005), (solo, 0.004):
        values["loadgen_latency_p99", case] = [p99_s, 2 * p99_s]
        values["loadgen_p99_ratio", case] = [0.8, None]
        values["loadgen_valid", case] = [1.0, 0.0]
    values["loadgen_own_p99_ratio", solo] = [1.5, 1.5]
    said = {"name": "mlperf", "version": "6.0.17", "tests": [{"target_latency_s": 0.06}]}
    experiment = {"conditions": ["pinned"]}
    return document(values, config={"experiment": experiment}, environment={"load_generator": said})


def test_loadgens_p99_stands_beside_ours_and_what_it_drives_comes_last() -> None:
    found = chapter(Source("out.json", of_loadgen(), None, "lorabench x", ()), (50.0,))
    conditions = [row[0] for row in section(found, "p99 by condition").tables[0].rows]
    driven = ["solo@own", "solo@mlperf", "pinned@mlperf"]
    assert conditions == ["solo", "pinned", "solo_all", *driven]
    told = section(found, "LoadGen's p99 beside ours")
    assert [name for name, _ in told.facts] == ["LoadGen version", "VALID", *driven]
    assert told.figures[0].table.rows == (
        ("solo@mlperf", "ours / LoadGen's", "0.800", "-", "1"),
        ("solo@mlperf", "LoadGen's / ours as a schedule", "1.50", "[1.50..1.50]", "2"),
        ("pinned@mlperf", "ours / LoadGen's", "0.800", "-", "1"),
    )
    rows = [(row[0], row[2], row[3]) for row in told.tables[0].rows]
    assert rows == [
        ("solo@own", "4.00", "-"),
        ("solo@mlperf", "4.00", "1 of 2"),
        ("pinned@mlperf", "-", "1 of 2"),
    ]
    assert told.folded[0].rows == (
        ("solo@mlperf", "1", "4", "3.20", "0.800"),
        ("solo@mlperf", "2", "8", "-", "-"),
        ("pinned@mlperf", "1", "5", "4", "0.800"),
        ("pinned@mlperf", "2", "10", "-", "-"),
    )


def test_what_came_after_the_rounds_is_not_drawn_over_their_blocks() -> None:
    found = chapter(Source("out.json", of_loadgen(), None, "lorabench x", ()), (50.0,))
    table = section(found, "p99 and host stalls over time").figures[0].table
    assert table.head == ("block", "solo", "pinned", "solo_all")


def test_several_results_are_compared_at_the_top_and_have_nothing_folded() -> None:
    sources = [
        Source(f"{name}.json", read_result(DOCUMENTS / f"{name}.json"), None, "lorabench x", ())
        for name in ("colocate", "kernels")
    ]
    found = report(sources, (50.0,))
    (overview,) = found.overview
    which, claims, served = overview.tables
    assert [row[2] for row in which.rows] == ["colocate.json", "kernels.json"]
    place = claims.head.index("memory.budget")
    assert [row[place] for row in claims.rows] == ["✓ met: just under 2 %", "-"]
    assert served.head[1:3] == ("condition", "p99, ms")
    assert [row[:2] for row in served.rows] == [("1", "pinned+rank-change")]
    assert [one.title for one in found.chapters] == [
        "1. colocate.json",
        "2. kernels.json",
    ]
    assert not [one for part in found.chapters for one in part.sections if one.folded]
