"""A result becomes a chapter, several become a report with an overview; a section at a time."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lorabench.report.content import Chapter, Report, Section, Table, Verdict
from lorabench.report.numbers import Scale, with_bounds
from lorabench.report.sections import learning, machine, serving, verdicts
from lorabench.report.sections.cost import cost
from lorabench.report.sections.load_generator import load_generator
from lorabench.report.sections.reader import Reader
from lorabench.report.sections.sweeps import sweeps
from lorabench.results.distribution import Distribution
from lorabench.results.evidence import SOLO
from lorabench.results.schema import Result

_MOST_CLAIMS = 24
_WIDTH = 72
_MS, _PLAIN = Scale(1e-3, "ms"), Scale(1.0, "")
_SYMBOLS = {"met": "✓ met", "missed": "✗ missed"}


@dataclass(frozen=True)
class Source:
    """What a chapter is made of.

    Parameters
    ----------
    name : str
        What the document is called: its file.
    result : Result
        It.
    latencies : sequence of Distribution, str or None
        Of its raw samples; a sentence on why there are none; None where none are expected.
    command : str
        What reproduces it.
    notes : tuple of str
        What must be put into that command's place, a sentence each.
    """

    name: str
    result: Result
    latencies: Sequence[Distribution] | str | None
    command: str
    notes: tuple[str, ...]


def chapter(source: Source, percentiles: Sequence[float], *, whole: bool = True) -> Chapter:
    """Return all that is said of a result; beside others, without what is folded away."""
    result = source.result
    git = f" ({result.lorabench.git})" if result.lorabench.git else ""
    met = verdicts.met(result)
    return Chapter(
        title=f"lorabench {result.command}{f': {met}' if met else ''}",
        about=" · ".join(
            (
                *verdicts.where(Reader(result)),
                f"{result.created:%Y-%m-%d %H:%M} UTC",
                f"version {result.lorabench.version}{git}",
            )
        ),
        sections=tuple(
            section if whole else replace(section, folded=())
            for section in _sections(source, percentiles)
            if whole or section.title != machine.ALL_NUMBERS
        ),
    )


def _sections(source: Source, percentiles: Sequence[float]) -> Iterator[Section]:
    reader = Reader(source.result)
    yield from verdicts.verdicts(source.result)
    yield from verdicts.asked(reader)
    # What it was run for comes before what that was made of.
    yield from machine.headroom(reader)
    yield from serving.latency(reader)
    yield from load_generator(reader)
    yield from serving.distribution(reader, source.latencies, percentiles)
    yield from serving.course(reader)
    yield from serving.training(reader)
    yield from learning.spectra(reader)
    yield from sweeps(reader)
    yield from learning.freshness(reader)
    yield from cost(reader)
    yield from machine.kernels(reader)
    yield from machine.calibration(reader)
    yield from machine.capabilities(reader)
    yield machine.all_numbers(reader)
    yield Section("How to reproduce", words=source.notes, code=_an_option_a_line(source.command))


def _an_option_a_line(command: str) -> str:
    """Write a long command so that no line of a page breaks within an option."""
    words = [shlex.quote(word) for word in shlex.split(command)]
    if len(command) <= _WIDTH:
        return command
    lines: list[list[str]] = [[]]
    for word in words:
        if word.startswith("--"):
            lines.append([])
        lines[-1].append(word)
    return " \\\n  ".join(" ".join(one) for one in lines if one)


def report(sources: Sequence[Source], percentiles: Sequence[float]) -> Report:
    """Return a report on one result, or on several with a comparison at its top."""
    alone = len(sources) == 1
    chapters = [chapter(source, percentiles, whole=alone) for source in sources]
    if alone:
        only = chapters[0]
        return Report(only.title, f"{only.about} · {sources[0].name}", (), (only,))
    named = tuple(
        Chapter(f"{number}. {source.name}", f"{one.title} · {one.about}", one.sections)
        for number, (source, one) in enumerate(zip(sources, chapters, strict=True), 1)
    )
    return Report(
        f"{len(sources)} results of lorabench",
        ", ".join(dict.fromkeys(source.result.command for source in sources)),
        (_overview(sources),),
        named,
    )


def _overview(sources: Sequence[Source]) -> Section:
    """Return what became of each claim in each result."""
    ids = dict.fromkeys(claim.id for source in sources for claim in source.result.claims)
    claims = list(ids)[:_MOST_CLAIMS]
    rows = []
    for number, source in enumerate(sources, 1):
        cells = []
        for claim in claims:
            found = [one for one in source.result.claims if one.id == claim]
            cells.append("; ".join(map(_told, map(verdicts.verdict_of, found))) or "-")
        rows.append((f"{number}", *cells))
    which = [
        (f"{number}", source.result.command, source.name, f"{source.result.created:%Y-%m-%d %H:%M}",
         source.result.lorabench.version, source.result.config_hash[:8])
        for number, source in enumerate(sources, 1)
    ]  # fmt: skip
    about = ("result", "command", "document", "when, UTC", "version", "configuration")
    tables = [Table.of("The results", about, which, words=len(about))]
    if claims:
        head = ("result", *claims)
        tables.append(Table.of("Claims by result", head, rows, words=len(head)))
    if served := [row for n, one in enumerate(sources, 1) for row in _served(n, one.result)]:
        head = ("result", "condition", "p99, ms", "solo's, ms", "p99 / solo [95 %]",
                "trained samples/s")  # fmt: skip
        tables.append(Table.of("p99 and training by result", head, served, words=2))
    return Section("Overview", tables=tuple(tables))


def _served(number_: int, result: Result) -> Iterator[tuple[str, ...]]:
    """Return the p99 of the condition that a run of colocate judges, and what that trained."""
    reader = Reader(result)
    # Only the judged one is held against a core that is as busy; without that, the last asked for.
    trained = [
        one
        for one in reader.metrics("train_samples_per_s")
        if reader.metric("latency_p50", one.condition)
    ]
    against = reader.metrics("latency_p99_sham_ratio") or trained[-1:]
    if result.command != "colocate" or not against:
        return
    judged = against[0].condition
    names = ("latency_p99", "latency_p99_ratio", "train_samples_per_s")
    p99, ratio, rate = (reader.metric(name, judged) for name in names)
    yield (
        f"{number_}",
        judged,
        with_bounds(p99, _MS),
        with_bounds(reader.metric("latency_p99", SOLO), _MS),
        with_bounds(ratio, _PLAIN),
        with_bounds(rate, _PLAIN),
    )


def _told(verdict: Verdict) -> str:
    word = _SYMBOLS.get(verdict.verdict, verdict.verdict)
    return word if verdict.figure == "not measured" else f"{word}: {verdict.figure}"
