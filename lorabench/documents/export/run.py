"""``lorabench export``: what documents say, in a format of somebody else's."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lorabench.bench.command import Command, NoOutput
from lorabench.bench.options import check
from lorabench.documents.export.options import ExportOptions
from lorabench.errors import InputError
from lorabench.results.files import (
    check_apart,
    check_writable,
    newest_result,
    put,
    read_result,
)
from lorabench.results.raw import NS, open_raw
from lorabench.results.schema import Result

if TYPE_CHECKING:
    from lorabench.report import hlog

Documents = Sequence[tuple[Path, Result]]

STDOUT = "-"
# One value says nothing of how much it varies: compare_to takes any difference as significant.
_LEAST_VALUES = 2


def run(command: Command, options: ExportOptions, output: NoOutput) -> None:  # noqa: ARG001
    """Write documents in a format.

    Raises
    ------
    InputError
        No format was asked for, a document cannot be read or has nothing of that kind, or the file
        cannot be written.
    """
    check(options)
    target, render = _format(options)
    paths = options.results or (newest_result(),)
    if target != STDOUT:
        check_writable(Path(target))
        check_apart(Path(target), (*paths, *((options.like,) if options.like else ())))
    documents = [(path, read_result(path)) for path in paths]
    _check_each_once(documents)
    data = render(documents)
    put(None if target == STDOUT else Path(target), data)


def _format(options: ExportOptions) -> tuple[str, Callable[[Documents], bytes]]:
    """Return where it goes and what makes it."""
    if options.pyperf is not None:
        return options.pyperf, partial(_pyperf, like=options.like)
    if options.hlog is not None:
        return options.hlog, _hlog
    assert options.openmetrics is not None
    return options.openmetrics, partial(_openmetrics, timestamps=options.timestamps)


def _check_each_once(documents: Documents) -> None:
    seen: dict[str, Path] = {}
    for path, result in documents:
        if result.id in seen:
            raise InputError(
                f"{path}: found run {result.id!r:.60}, as in {seen[result.id]}, expected each once"
            )
        seen[result.id] = path


def _pyperf(documents: Documents, like: Path | None) -> bytes:
    from lorabench.report.pyperf import suite, suite_bytes

    results = [result for _, result in documents]
    other = None if like is None else read_result(like)
    found = suite(results, other, _LEAST_VALUES)
    if found is None:
        also = "" if like is None else f" that {like} has too"
        raise InputError(
            f"{_names(documents)}: found no metric in seconds with {_LEAST_VALUES} values or "
            f"more{also}, expected one for pyperf"
        )
    return suite_bytes(found)


def _openmetrics(documents: Documents, *, timestamps: bool) -> bytes:
    from lorabench.report.openmetrics import render

    return render([result for _, result in documents], timestamps=timestamps)


def _hlog(documents: Documents) -> bytes:
    from lorabench.report import hlog

    start = min(result.created for _, result in documents)
    comments = [
        "lorabench: latencies from scheduled arrival to finished prediction, in ns; Interval_Max "
        "in ms",
        "Queries that count; a histogram of each block and case, blocks one after another by the "
        "case's own clock, from when the document was written",
        *(
            f"{path.name}: lorabench {result.command} {result.lorabench.version}, run {result.id}"
            for path, result in documents
        ),
    ]
    intervals = (
        interval
        for path, result in documents
        for interval in _intervals(path, result, (result.created - start).total_seconds())
    )
    return hlog.render(start, comments, intervals)


def _intervals(path: Path, result: Result, offset_s: float) -> "Iterator[hlog.Interval]":
    """Return the latencies of each case of each block; of each document, some."""
    from lorabench.report import hlog

    raw = open_raw(path, result)
    answered = False
    for case in raw.cases():
        began_s = offset_s
        for block in (block for block, cases in raw.blocks.items() if case in cases):
            latencies = raw.latencies_ns(block, case)
            if len(latencies):
                answered = True
                scheduled, done = raw.columns(block, case, "scheduled_ns", "done_ns")
                length_s = int(done.max() - scheduled.min()) / NS
                yield hlog.Interval(case, began_s, length_s, latencies)
                began_s += length_s
    if not answered:
        raise InputError(
            f"{raw.path}: found no queries that count by block and case, expected some for a log"
        )


def _names(documents: Documents) -> str:
    return ", ".join(str(path) for path, _ in documents)
