"""``lorabench generate``: write a generated workload to a folder."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorabench.cli.common import OUTPUT_PANEL, AsJson, Quiet
from lorabench.errors import InputError

if TYPE_CHECKING:
    from lorabench.workload.spec import WorkloadSpec
    from lorabench.workload.store import Format

_SHAPE = "What to generate"


class FormatName(StrEnum):
    """Formats of a workload's parts."""

    ARROW = "arrow"
    PARQUET = "parquet"
    CRITEO_TSV = "criteo-tsv"


def generate(
    workload: Annotated[
        str, typer.Argument(metavar="PRESET|SPEC.toml", help="Name of a preset, or a spec file.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="New folder to write; after a kill the same command goes on with it.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ],
    rows: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Rows to generate, instead of the spec's.", rich_help_panel=_SHAPE
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            metavar="M",
            help="Minutes of workload time to generate, at the spec's mean rate of rows.",
            rich_help_panel=_SHAPE,
        ),
    ] = None,
    scale: Annotated[
        float,
        typer.Option(
            metavar="F",
            help="Shrink every cardinality to F times itself; features of ten ids keep them.",
            rich_help_panel=_SHAPE,
        ),
    ] = 1.0,
    like: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.tsv",
            help="Fit ids, counts and click rate to raw Criteo rows, and show how well they fit.",
            rich_help_panel=_SHAPE,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Same seed, same bytes.", rich_help_panel=_SHAPE)
    ] = 0,
    form: Annotated[
        FormatName,
        typer.Option(
            "--format",
            help="Of the parts; only arrow and parquet can be given to --data as a folder.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = FormatName.ARROW,
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Threads; no influence on the bytes. Default: one a usable CPU.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Generate a Criteo-style workload into a folder, for --data."""
    # Here, so that `lorabench --help` need not wait for numpy and pyarrow.
    from lorabench.cli.workloads import check_disk, rows_progress, show, usable_threads
    from lorabench.workload.parts import check_target
    from lorabench.workload.store import check_format
    from lorabench.workload.writing import write_generated

    if like is not None and scale != 1:
        raise InputError("--like, --scale: found both, expected one: the sample gives the scale")
    spec = _spec(workload, rows, minutes, scale)
    if seed < 0:
        raise InputError(f"--seed: found {seed}, expected an integer >= 0")
    threads = usable_threads(jobs)
    name: Format = form.value
    check_format(spec, name)
    check_target(output)
    if like is not None:
        spec = _fitted(spec, like, seed, quiet=quiet)
    check_disk(output, spec, name, quiet=quiet)
    with rows_progress(spec.rows, quiet=quiet) as progress:
        manifest = write_generated(output, spec, seed, form=name, jobs=threads, progress=progress)
    show(output, manifest, progress.rate, as_json=as_json, quiet=quiet)


def _spec(workload: str, rows: int | None, minutes: float | None, scale: float) -> "WorkloadSpec":
    from lorabench.workload.spec import load_spec, with_rows, with_scale

    if rows is not None and minutes is not None:
        raise InputError("--rows, --minutes: found both, expected one of them")
    if rows is not None and rows < 1:
        raise InputError(f"--rows: found {rows}, expected an integer >= 1")
    spec = load_spec(workload)
    if minutes is not None:
        if not 0 < minutes * 60 * spec.rows_per_s < 2**62:
            raise InputError(f"--minutes: found {minutes:g}, expected a number above 0")
        rows = max(1, round(minutes * 60 * spec.rows_per_s))
    if rows is not None:
        spec = with_rows(spec, rows)
    return with_scale(spec, scale)


def _fitted(spec: "WorkloadSpec", like: Path, seed: int, *, quiet: bool) -> "WorkloadSpec":
    from rich.console import Console

    from lorabench.cli import like_table
    from lorabench.workload.like import compare, fit_spec, sample_criteo

    sample = sample_criteo(like)
    fitted = fit_spec(sample, spec, f"like {like.name}")
    if not quiet:
        like_table.render(compare(sample, fitted, seed), sample.rows, Console(stderr=True))
    return fitted
