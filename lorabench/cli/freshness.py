"""``lorabench freshness``: how a served model ages, and what keeps it fresh."""

from pathlib import Path
from typing import Annotated

import typer

from lorabench.cli.common import OUTPUT_PANEL, AsJson, Quiet, Strict, Verbose

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
    strategies: Annotated[
        str,
        typer.Option(
            metavar="S[,S]...",
            help="none, ideal, lora (rank follows the signal), lora-rN, lora-rN-random.",
            rich_help_panel=_RUN,
        ),
    ] = "none,lora,ideal",
    rows: Annotated[
        int | None,
        typer.Option(help="Rows to replay. Default: the whole stream.", rich_help_panel=_RUN),
    ] = None,
    windows: Annotated[
        int,
        typer.Option(help="Stretches of the stream that get a quality each.", rich_help_panel=_RUN),
    ] = 12,
    window_rows: Annotated[
        int,
        typer.Option(
            help="Where no strategy learns: most rows of each that are predicted.",
            rich_help_panel=_RUN,
        ),
    ] = 65_536,
    dim: Annotated[
        int | None,
        typer.Option(help="Embedding dim. Default: the workload's.", rich_help_panel=_RUN),
    ] = None,
    memory_budget: Annotated[
        float,
        typer.Option(
            help="LoRA state as a share of the table bytes, at most.", rich_help_panel=_RUN
        ),
    ] = 0.02,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            help="Of every strategy that learns. Default: each one's own.", rich_help_panel=_RUN
        ),
    ] = None,
    tune: Annotated[
        bool,
        typer.Option(
            "--tune",
            help="Choose each one's learning rate and decay on a stream of another seed first.",
            rich_help_panel=_RUN,
        ),
    ] = False,
    tune_rows: Annotated[
        int, typer.Option(help="Rows replayed for that.", rich_help_panel=_RUN)
    ] = 400_000,
    adapter: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="LoRA begins with this saved adapter.", rich_help_panel=_RUN
        ),
    ] = None,
    save_adapter: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.safetensors",
            help="Save the LoRA strategy's adapter at the end.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
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
    """Replay a drifting stream: how a frozen model ages, and what LoRA recovers of it."""
    # Here, so that `lorabench --help` need not wait for torch.
    from lorabench.cli.reporting import Reporter
    from lorabench.experiments.freshness.run import FreshnessConfig, measure
    from lorabench.results.files import write_result
    from lorabench.workload.source import open_source

    reporter = Reporter(as_json=as_json, quiet=quiet, verbose=verbose)
    config = FreshnessConfig(
        strategies=tuple(name.strip() for name in strategies.split(",") if name.strip()),
        windows=windows,
        window_rows=window_rows,
        rows=rows,
        dim=dim,
        memory_budget=memory_budget,
        learning_rate=learning_rate,
        tune=tune,
        tune_rows=tune_rows,
        adapter=None if adapter is None else str(adapter),
        save_adapter=None if save_adapter is None else str(save_adapter),
        seed=seed,
    )
    config.validate()
    path = output or reporter.default_path("freshness")
    reporter.check_paths(path, *([] if save_adapter is None else [save_adapter]))
    source = open_source(preset, data, seed)
    with reporter.progress() as observer:
        result = measure(source, config, observer.stage)
    write_result(result, path)
    reporter.show(result, path)
    if strict:
        reporter.gate(result)
