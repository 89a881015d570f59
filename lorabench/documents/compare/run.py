"""``lorabench compare``: read both sides, compare, show, gate."""

import json
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

from lorabench.bench.command import Command
from lorabench.bench.options import check
from lorabench.documents.compare.options import CompareOptions, CompareOutput
from lorabench.documents.compare.pairing import pair_up, read_side
from lorabench.errors import GateError, InputError, UndecidedError
from lorabench.report.comparison import Chosen, markdown, render
from lorabench.report.gates import benchmark, junit
from lorabench.report.terminal import terminal
from lorabench.results.compare import compare
from lorabench.results.comparison import Comparison, as_document
from lorabench.results.files import check_apart, check_writable, put

# Differences that a refusal names; --allow-different lists all.
_NAMED = 3


def run(command: Command, options: CompareOptions, output: CompareOutput) -> None:  # noqa: ARG001
    """Compare, print or write what came of it, and end as the gates say.

    Raises
    ------
    InputError
        A side cannot be read, or what differs makes it no comparison.
    GateError
        A gate failed.
    UndecidedError
        A gate could not tell.
    """
    check(options)
    check(output)
    if output.form == "junit" and not options.gate:
        raise InputError("--format junit: found no --gate, expected one or more: it reports gates")
    if output.output is not None:
        check_writable(Path(output.output))
        if not options.run:
            check_apart(Path(output.output), (Path(options.base), Path(options.head)))
    if options.run:
        from lorabench.documents.compare.versions import run_versions

        found, interrupted = run_versions(options, quiet=output.quiet)
        show(found, options, output)
        if interrupted:
            raise KeyboardInterrupt
    else:
        found = _documents(options)
        if found.differences and not options.allow_different:
            raise InputError(_refusal(found))
        show(found, options, output)
    gate(found, options)


def _documents(options: CompareOptions) -> Comparison:
    found = pair_up(read_side(Path(options.base)), read_side(Path(options.head)))
    made = compare(
        found.base,
        found.head,
        gates=options.gates,
        paired=found.paired,
        level=found.level,
        size=options.size,
    )
    return replace(made, notes=(*found.notes, *made.notes))


def _refusal(found: Comparison) -> str:
    listed = found.differences
    more = f"; and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return (
        f"found runs that differ in more than their version ({'; '.join(map(str, listed[:_NAMED]))}"
        f"{more}), expected runs that are alike; --allow-different compares them all the same"
    )


def show(found: Comparison, options: CompareOptions, output: CompareOutput) -> None:
    """Print a comparison in the format that is asked for, or write it.

    Raises
    ------
    InputError
        It cannot be written.
    """
    chosen = Chosen(output.metric, output.everything)
    _known(found, output.metric)
    if output.form == "text" and output.output is None:
        render(found, terminal(), chosen)
        return
    text = _text(found, options, output, chosen)
    put(None if output.output is None else Path(output.output), text)


def _known(found: Comparison, metrics: Sequence[str]) -> None:
    known = {row.metric for row in found.rows}
    for name in metrics:
        if name not in known:
            listed = ", ".join(sorted(known)) or "none: the sides have no metric in common"
            raise InputError(f"--metric: found {name!r:.60}, expected one of {listed}")


def _text(found: Comparison, options: CompareOptions, output: CompareOutput, chosen: Chosen) -> str:
    if output.form == "markdown":
        return markdown(found, chosen)
    if output.form == "junit":
        return junit(found, unknown_fails=options.on_unknown == "fail")
    if output.form == "json":
        return json.dumps(as_document(found), indent=1, allow_nan=False) + "\n"
    if output.form == "benchmark":
        return json.dumps(benchmark(found, chosen), indent=1, allow_nan=False) + "\n"
    written = StringIO()
    render(found, terminal(file=written, width=100), chosen)
    return written.getvalue()


def gate(found: Comparison, options: CompareOptions) -> None:
    """End as the gates say.

    Raises
    ------
    GateError
        One failed.
    UndecidedError
        None failed, one could not tell, and that fails.
    """
    outcome = found.outcome()
    if outcome == "pass" or (outcome == "unknown" and options.on_unknown == "pass"):
        return
    said = "; ".join(
        f"{one.name} {one.outcome}: {one.reason}" for one in found.gates if one.outcome == outcome
    )
    raise (GateError if outcome == "fail" else UndecidedError)(said)
