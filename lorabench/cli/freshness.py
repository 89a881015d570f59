"""``lorabench freshness``: how a served model ages as the stream drifts."""

from pathlib import Path
from typing import Annotated

import typer

from lorabench.cli.options import OUTPUT_PANEL, AsJson, Quiet, Strict, Verbose

_INPUT = "Workload"
_RUN = "Run"


def freshness(
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|SPEC.toml", help="Generate this workload.", rich_help_panel=_INPUT
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="A folder from generate or ingest, or raw Criteo rows.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    windows: Annotated[
        int,
        typer.Option(
            help="Stretches of rows that are predicted, spread over the stream.",
            rich_help_panel=_RUN,
        ),
    ] = 12,
    window_rows: Annotated[
        int, typer.Option(help="Most rows of each.", rich_help_panel=_RUN)
    ] = 65_536,
    seed: Annotated[
        int, typer.Option(help="Of generated rows and initial weights.", rich_help_panel=_RUN)
    ] = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="The result document. Default: a new file in results/.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    as_json: AsJson = False,
    strict: Strict = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show how the quality of a frozen model falls as the stream drifts."""
    # Here, so that `lorabench --help` need not wait for torch.
    from lorabench.cli.reporting import Reporter
    from lorabench.experiments.freshness import FreshnessConfig, measure
    from lorabench.results.document import write_result
    from lorabench.workload.source import open_source

    reporter = Reporter(as_json=as_json, quiet=quiet, verbose=verbose)
    config = FreshnessConfig(windows=windows, window_rows=window_rows, seed=seed)
    config.validate()
    path = output or reporter.default_path("freshness")
    reporter.check_paths(path)
    source = open_source(preset, data, seed)
    with reporter.progress() as observer:
        result = measure(source, config, observer.stage)
    write_result(result, path)
    reporter.show(result, path)
    if strict:
        reporter.gate(result)
