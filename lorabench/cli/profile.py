"""``lorabench profile``: how low-rank embedding updates are, table by table."""

from pathlib import Path
from typing import Annotated

import typer

from lorabench.cli.options import OUTPUT_PANEL, AsJson, Quiet, Strict, Verbose
from lorabench.errors import InputError

_INPUT = "Workload"
_SNAPSHOTS = "Two snapshots instead of training"
_RUN = "Run"


def profile(
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
    old: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="OLD",
            help="Trained tables: .pt, .npy or .safetensors.",
            rich_help_panel=_SNAPSHOTS,
        ),
    ] = None,
    new: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="NEW",
            help="The same tables, later.",
            rich_help_panel=_SNAPSHOTS,
        ),
    ] = None,
    variance: Annotated[
        float,
        typer.Option(help="Share of the variance to be explained.", rich_help_panel=_RUN),
    ] = 0.8,
    dim: Annotated[
        str | None,
        typer.Option(
            metavar="D[,D]...",
            help="Embedding dims, one model each. Default: the workload's.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            help="Samples of a window. Default: what the stream has room for, at most 262,144.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    windows: Annotated[
        int, typer.Option(help="Windows that are summarised.", rich_help_panel=_RUN)
    ] = 8,
    warmup_windows: Annotated[
        int, typer.Option(help="Windows before those, shown apart.", rich_help_panel=_RUN)
    ] = 2,
    optimizer: Annotated[
        str,
        typer.Option(
            metavar="adagrad|sgd",
            help="Of the tables; adagrad is row-wise.",
            rich_help_panel=_RUN,
        ),
    ] = "adagrad",
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Of the tables. Default: the optimiser's.", rich_help_panel=_RUN),
    ] = None,
    batch: Annotated[int, typer.Option(help="Samples a step.", rich_help_panel=_RUN)] = 2048,
    signal_samples: Annotated[
        int,
        typer.Option(
            help="Samples of a window whose gradients the signal is taken from.",
            rich_help_panel=_RUN,
        ),
    ] = 16_384,
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
    """Measure how low-rank embedding updates are, table by table, and which rank LoRA needs."""
    # Here, so that `lorabench --help` need not wait for torch.
    from lorabench.cli.reporting import Reporter
    from lorabench.experiments.profile.run import ProfileConfig, compare, measure
    from lorabench.results.files import write_result
    from lorabench.workload.source import open_source

    if optimizer not in ("adagrad", "sgd"):
        raise InputError(f"--optimizer: found {optimizer!r}, expected adagrad or sgd")
    if (old is None) != (new is None):
        raise InputError(
            f"{'--to' if old is None else '--from'}: found it alone, expected --from and --to"
        )
    if old is not None and (preset is not None or data is not None):
        raise InputError("--from: found --preset or --data beside it, expected one or the other")
    config = ProfileConfig(
        variance=variance,
        window=window,
        windows=windows,
        warmup_windows=warmup_windows,
        dims=_dims(dim),
        optimizer="sgd" if optimizer == "sgd" else "adagrad",
        learning_rate=learning_rate,
        batch=batch,
        signal_samples=signal_samples,
        seed=seed,
    )
    config.validate()
    reporter = Reporter(as_json=as_json, quiet=quiet, verbose=verbose)
    path = output or reporter.default_path("profile")
    reporter.check_paths(path)
    with reporter.progress() as observer:
        if old is not None and new is not None:
            result = compare(old, new, config, observer.stage)
        else:
            result = measure(open_source(preset, data, seed), config, observer.stage)
    write_result(result, path)
    reporter.show(result, path)
    if strict:
        reporter.gate(result)


def _dims(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    try:
        return tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise InputError(
            f"--dim: found {text!r}, expected integers with commas between, such as 16,64"
        ) from None
