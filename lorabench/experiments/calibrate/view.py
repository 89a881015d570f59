"""A `calibrate` result as text for the terminal: how often runs err, what they see, in how long."""

import math
from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lorabench.experiments.calibrate.questions import (
    MET,
    MOST_CASES,
    PROOF,
    RAW,
    SEEN,
    TOO_FAST,
    TOO_SLOW,
    UNSTALLED,
    labels_of,
)
from lorabench.experiments.calibrate.versions import SLOWDOWN
from lorabench.report.terminal import plain_table, render_claims
from lorabench.results.case import Label
from lorabench.results.limit import MIN_ROUNDS
from lorabench.results.schema import Metric, Result
from lorabench.results.simulation import Question

_MEASURES = (RAW, UNSTALLED)


def render(result: Result, console: Console) -> None:
    """Print the table, what it comes to in a sentence, and the verdict."""
    told, runs = result.config["result"], result.config["experiment"]["runs"]
    title = (
        f"{runs:,} runs of at most {result.config['looks']['blocks'][-1]} blocks, made up from "
        f"{told['blocks']} blocks with {told['slices']} slices of solo and solo_repeat"
    )
    if told["blocks_left_out"]:
        title += f"; left out for having too few: {told['blocks_left_out']}"
    console.print(title, highlight=False)
    console.print()
    console.print(_table(result))
    console.print()
    for sentence in filter(None, (_sentence(result), _undisturbed(result))):
        console.print(Text(sentence, "bold"), highlight=False)
    console.print()
    # A document of before there were comparisons has none.
    if "pairs" in result.config:
        _render_comparisons(result, console)
    render_claims(result, console)


def _table(result: Result) -> Table:
    table = plain_table(padding=(0, 1, 0, 0))
    table.add_column("share of runs [95 %]", no_wrap=True)
    for heading in ("p99", "blocks", "unstalled", "blocks"):
        table.add_column(heading, justify="right", no_wrap=True)
    name = "false_verdict_share"
    _add(table, result, "false: missed, or above 1", name, labels_of(TOO_SLOW[0]))
    _add(table, result, "false: met, or below 1", name, labels_of(TOO_FAST[0]))
    for question in (*SEEN, PROOF):
        said = "seen" if question.bound == 1 else f"above {question.bound:.2f}"
        _add(
            table,
            result,
            f"{_slower(question)}: {said}",
            "slowdown_seen_share",
            labels_of(question),
        )
    _add(table, result, "nothing slower: met", "met_share", labels_of(MET))
    return table


def _render_comparisons(result: Result, console: Console) -> None:
    """Print what comparisons of two versions say, as a table and in a sentence."""
    pairs, told = result.config["pairs"], result.config["experiment"]
    if pairs >= MIN_ROUNDS:
        title = (
            f"{told['runs']:,} comparisons of two versions of at most {pairs} pairs of blocks, a "
            f"gate of {told['tolerance'] * 100:g} % on p99 of {told.get('case') or 'solo'}"
        )
        console.print(title, highlight=False)
        console.print()
        console.print(_comparisons_table(result))
        console.print()
    for sentence in _gate_sentences(result):
        console.print(Text(sentence, "bold"), highlight=False)
    console.print()


def _comparisons_table(result: Result) -> Table:
    table = plain_table(padding=(0, 1, 0, 0))
    table.add_column("share of comparisons [95 %]", no_wrap=True)
    for heading in ("p99", "pairs", "unstalled", "pairs"):
        table.add_column(heading, justify="right", no_wrap=True)
    slower = 1 + SLOWDOWN
    for ratio, said, name in (
        (1.0, "the same: gate fails", "gate_false_alarm_share"),
        (1.0, "the same: gate unknown", "gate_unknown_share"),
        (1.0, "the same: shown worse", "worse_false_share"),
        (slower, f"{SLOWDOWN * 100:.0f} % slower: gate fails", "gate_found_share"),
        (slower, f"{SLOWDOWN * 100:.0f} % slower: gate unknown", "gate_unknown_share"),
        (slower, f"{SLOWDOWN * 100:.0f} % slower: shown worse", "worse_found_share"),
    ):
        counted = "pairs_needed" if name == "gate_found_share" else None
        _add(table, result, said, name, {"ratio": ratio}, counted=counted)
    return table


def _gate_sentences(result: Result) -> Iterator[str]:
    """Say what a comparison of that many minutes finds, and which tolerance suits it."""
    pairs, told = result.config["pairs"], result.config["experiment"]
    length = told.get("compare_minutes", told["minutes"])
    minutes = f"{length:g} minute{'' if length == 1 else 's'}"
    begin = f"A comparison of {minutes} ({pairs} pair{'' if pairs == 1 else 's'} of blocks)"
    if pairs < MIN_ROUNDS:
        yield f"{begin} is too short for a gate, which takes {MIN_ROUNDS} pairs."
        return
    found = next(result.select("least_slowdown_found", measure=RAW), None)
    gate, cases = (
        f"a gate of {told['tolerance'] * 100:g} %",
        f"in {MOST_CASES * 10:.0f} of 10 cases",
    )
    if found is None or found.estimate is None:
        yield f"{begin} fails {gate} at no slowdown {cases}, however large."
    else:
        yield f"{begin} fails {gate} {cases} where p99 is {_size(found)} up."
    passed = next(result.select("least_tolerance_passed", measure=RAW), None)
    if passed is not None and passed.estimate is not None:
        yield f"Of equal versions, 9 of 10 comparisons pass a gate of {_size(passed)}."


def _slower(question: Question) -> str:
    return f"{(question.ratio - 1) * 100:.0f} % slower"


def _add(
    table: Table,
    result: Result,
    label: str,
    name: str,
    of: Mapping[str, Label],
    *,
    counted: str | None = "blocks_needed",
) -> None:
    """Add a row: a share of runs, and after how many blocks or pairs they decide."""
    cells = []
    for measure in _MEASURES:
        cells.append(_share(next(result.select(name, measure=measure, **of), None)))
        blocks = next(result.select(counted, measure=measure, **of), None) if counted else None
        cells.append("" if blocks is None else _blocks(blocks))
    table.add_row(label, *cells)


def _share(metric: Metric | None) -> str:
    if metric is None or metric.estimate is None or metric.ci95 is None:
        return "-"
    low, high = map(_percent, metric.ci95)
    return f"{_percent(metric.estimate)} % [{low}..{high}]"


def _percent(value: float) -> str:
    return f"{value * 100:.{1 if value < 0.0995 else 0}f}"


def _blocks(metric: Metric) -> str:
    return "-" if metric.estimate is None else f"{metric.estimate:.0f}"


def _sentence(result: Result) -> str:
    """Say what a run of that many minutes sees."""
    minutes = result.config["experiment"]["minutes"]
    (length,) = result.select("block_s")
    (least,) = result.select("least_slowdown_seen", measure=RAW)
    assert length.estimate is not None
    most = result.config["looks"]["blocks"][-1]
    blocks = min(most, int(minutes * 60 / length.estimate))
    of = f"{blocks} block{'' if blocks == 1 else 's'} of {length.estimate:.1f} s"
    begin = f"A run of {minutes:g} minute{'' if minutes == 1 else 's'} on this machine"
    if blocks < MIN_ROUNDS:
        return f"{begin} holds {of}: too few for a verdict, which takes {MIN_ROUNDS}."
    cases = f"in {MOST_CASES * 10:.0f} of 10 cases"
    if least.estimate is None:
        return f"{begin} ({of}) sees no slowdown {cases}, however large."
    return f"{begin} ({of}) sees a slowdown of {_size(least)} {cases}."


def _undisturbed(result: Result) -> str:
    """Say how often a run ends well where nothing is slower."""
    found = next(result.select("met_share", measure=RAW), None)
    if found is None or found.estimate is None:
        return ""
    return (
        f"Where nothing is slower, {found.estimate * 100:.0f} % of runs of up to "
        f"{result.config['looks']['blocks'][-1]} blocks end with met at {MET.bound:.2f}."
    )


def _size(least: Metric) -> str:
    """Write a slowdown with its interval; one that nothing bounds above is at least what it is."""
    assert least.estimate is not None
    if least.ci95 is None:
        return f"{_rounded_up(least.estimate)} % or more"
    low, high = map(_rounded_up, least.ci95)
    return f"{_rounded_up(least.estimate)} % ({low} to {high})"


def _rounded_up(share: float) -> str:
    """Write a share in percent with two digits at most, never as less than it is."""
    places = 1 if share < 0.0995 else 0
    return f"{math.ceil(round(share * 100 * 10**places, 6)) / 10**places:g}"
