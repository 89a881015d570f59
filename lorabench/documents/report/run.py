"""``lorabench report``: documents are read, what they say is put together, a file is written."""

from collections.abc import Sequence
from pathlib import Path

from lorabench.bench.command import Command
from lorabench.bench.options import check
from lorabench.documents.report.options import ReportOptions, ReportOutput
from lorabench.documents.report.reproduce import command_line
from lorabench.errors import InputError
from lorabench.report.chapter import Source, report
from lorabench.report.content import Report
from lorabench.report.history import index
from lorabench.results.distribution import Distribution, read_distributions
from lorabench.results.files import (
    check_apart,
    check_writable,
    documents_in,
    newest_result,
    put,
    read_result,
    utf8,
    write_bytes,
)
from lorabench.results.schema import Result

MOST_RESULTS = 20
"""Chapters of one page."""

LARGE_PAGE = 3_000_000
"""Bytes that no page has more of: mail may not take it, nor a browser show it at once."""

MOST_IN_FOLDER = 2000


def run(command: Command, options: ReportOptions, output: ReportOutput) -> None:  # noqa: ARG001
    """Write a report.

    Raises
    ------
    InputError
        A document cannot be read, or the report not be written.
    """
    check(options)
    check(output)
    paths = options.results or (newest_result(),)
    folders = [path for path in paths if path.is_dir()]
    if folders and len(paths) > 1:
        raise InputError(
            f"{folders[0]}: found a folder beside other results, expected it alone, or documents"
        )
    if len(paths) > MOST_RESULTS:
        raise InputError(f"found {len(paths)} results, expected at most {MOST_RESULTS}")
    target = _target(paths[0], output)
    if target is not None and output.format != "png":
        check_writable(target)
        check_apart(target, paths)
    if folders:
        results, unreadable = _folder(folders[0])
        _write(target, output, list(results.items()), index(f"{folders[0]}", results, unreadable))
        return
    found = [(path, read_result(path)) for path in paths]
    if output.format == "csv":  # needs no plots
        _write(target, output, [(path.name, one) for path, one in found], None)
        return
    sources = [_source(path, result, options.percentiles) for path, result in found]
    _write(target, output, [], report(sources, options.percentiles))


def _target(first: Path, output: ReportOutput) -> Path | None:
    """Return where the report goes; None for stdout."""
    if output.output is not None or output.format in ("md", "csv"):
        return output.output
    return first / "index.html" if first.is_dir() else first.with_suffix(".html")


def _folder(folder: Path) -> tuple[dict[str, Result], list[str]]:
    """Return the results in a folder by name, and a line for each document that is none.

    Raises
    ------
    InputError
        There is no result, or too many documents.
    """
    paths = documents_in(folder)
    if len(paths) > MOST_IN_FOLDER:
        raise InputError(f"{folder}: found {len(paths)} documents, expected {MOST_IN_FOLDER}")
    results: dict[str, Result] = {}
    unreadable = []
    for path in paths:
        try:
            results[path.name] = read_result(path)
        except InputError as error:
            unreadable.append(str(error))
    if not results:
        why = f"; {unreadable[0]}" if unreadable else ""
        raise InputError(f"{folder}: found no result documents, expected some{why}")
    return results, unreadable


def _source(path: Path, result: Result, percentiles: Sequence[float]) -> Source:
    latencies: Sequence[Distribution] | str | None = None
    if result.raw is not None or result.command == "colocate":
        try:
            latencies = read_distributions(path, result, percentiles)
        except InputError as error:
            # The page goes elsewhere, where this folder says nothing.
            latencies = str(error).replace(f"{path.parent}/", "")
    line, notes = command_line(result)
    return Source(path.name, result, latencies, line, notes)


def _write(
    target: Path | None,
    output: ReportOutput,
    named: Sequence[tuple[str, Result]],
    made: Report | None,
) -> None:
    """Write a report, or the numbers of results, in a format."""
    if output.format == "csv":
        from lorabench.report.table_csv import as_csv

        _put(target, as_csv(named))
    elif made is not None and output.format == "md":
        from lorabench.report.markdown import markdown

        _put(target, markdown(made))
    elif made is not None and target is not None and output.format == "png":
        _images(target, made)
    elif made is not None and target is not None:
        from lorabench.report.html.page import page

        text = page(made, interactive=output.interactive, most=LARGE_PAGE)
        if (size := len(utf8(text))) > LARGE_PAGE:
            raise InputError(
                f"found results whose page has {size / 1e6:.1f} MB without a plot, expected at "
                f"most {LARGE_PAGE / 1e6:.0f} MB; name fewer results"
            )
        _put(target, text)


def _images(folder: Path, made: Report) -> None:
    from lorabench.report.html.svg import image

    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: found a file, expected a folder for the images")
    figures = dict(made.figures())
    if not figures:
        raise InputError("found nothing to plot in these results, expected some series or metrics")
    drawn = {name: image(figure.chart) for name, figure in figures.items()}
    for name, data in drawn.items():
        write_bytes(folder / f"{name}.png", data)
    print(f"{folder}: {len(drawn)} images")  # noqa: T201


def _put(target: Path | None, text: str) -> None:
    put(target, text)
    if target is not None:
        print(target)  # noqa: T201
