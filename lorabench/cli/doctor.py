"""``lorabench doctor``: what a machine offers for isolation and measuring, and how to get more."""

from pathlib import Path
from typing import Annotated

import typer

from lorabench.cli.common import OUTPUT_PANEL, AsJson
from lorabench.errors import InputError, MachineError


def doctor(
    sysroot: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Examine a recorded machine: the folder with its proc and sys."
        ),
    ] = None,
    cleanup: Annotated[
        bool,
        typer.Option("--cleanup", help="Undo what a killed run has left changed, and say what."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Write the result document. Default: no file.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what this machine offers for isolation and measuring, why not, and how to enable it."""
    if cleanup:
        for option, given in (("--sysroot", sysroot), ("--json", as_json), ("-o", output)):
            if given:
                raise InputError(f"{option}: found it beside --cleanup, expected one or the other")
        _clean_up()
        return
    from lorabench.host.processor import ask

    # Before the imports below: its answer is what takes longest.
    asked = ask() if sysroot is None else None
    from lorabench.cli.reporting import Reporter
    from lorabench.experiments.doctor.run import diagnose
    from lorabench.results.files import write_result

    reporter = Reporter(as_json=as_json, quiet=True, verbose=False)
    if output is not None:
        reporter.check_paths(output)
    result = diagnose(sysroot or Path("/"), asked)
    if output is not None:
        write_result(result, output)
    reporter.show(result, output)


def _clean_up() -> None:
    from lorabench.isolation.cleanup import cleanup

    report = cleanup()
    for line in (*report.undone, *report.notes):
        typer.echo(line)
    if report.failed:
        raise MachineError(
            f"could not undo what {report.run} had changed: {'; '.join(report.failed)}; "
            "run lorabench doctor --cleanup as a user who may undo it"
        )
    if report.undone:
        typer.echo(f"undid what {report.run} had changed")
    elif report.notes:
        typer.echo(f"nothing else was left of what {report.run} had changed")
    else:
        typer.echo("there was nothing to undo")
