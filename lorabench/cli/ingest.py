"""``lorabench ingest``: take in real rows as a workload."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorabench.cli.common import OUTPUT_PANEL, AsJson, Quiet
from lorabench.errors import InputError

if TYPE_CHECKING:
    from lorabench.workload.ingest import Ids
    from lorabench.workload.store import Format

_INPUT = "Input"


class IdsName(StrEnum):
    """How ids become table rows."""

    HASH = "hash"
    EXACT = "exact"


class FormatName(StrEnum):
    """Formats of a workload's parts."""

    ARROW = "arrow"
    PARQUET = "parquet"


def ingest(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Raw Criteo lines, plain or gzipped, in order of time; - is stdin. "
            "With --columns, Parquet or CSV.",
        ),
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
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME|SPEC.toml",
            help="Gives the model, the rate of the rows and, for hashing, the cardinalities.",
            rich_help_panel=_INPUT,
        ),
    ] = "criteo-kaggle",
    columns: Annotated[
        Path | None,
        typer.Option(
            metavar="MAP.toml",
            help="The files are Parquet or CSV; this says which columns are label, time, dense "
            "and sparse.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    table_rows: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="With --columns, if the preset has another number of features: rows to hash "
            "each one's ids to.",
            rich_help_panel=_INPUT,
        ),
    ] = 1_000_000,
    ids: Annotated[
        IdsName,
        typer.Option(
            help="hash: into the preset's tables, in constant memory. "
            "exact: numbered as they first appear; memory grows with the distinct ids.",
            rich_help_panel=_INPUT,
        ),
    ] = IdsName.HASH,
    skip_bad: Annotated[
        int,
        typer.Option(
            metavar="N", help="Leave out, and name, up to N bad lines.", rich_help_panel=_INPUT
        ),
    ] = 0,
    form: Annotated[
        FormatName, typer.Option("--format", help="Of the parts.", rich_help_panel=OUTPUT_PANEL)
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
    """Take in real rows as a workload folder, for --data."""
    # Here, so that `lorabench --help` need not wait for numpy and pyarrow.
    from lorabench.cli.workloads import rows_progress, say, show, usable_threads
    from lorabench.workload.ingest import CriteoInput, Input, base_for
    from lorabench.workload.ingest import ingest as take_in
    from lorabench.workload.parts import check_target
    from lorabench.workload.spec import load_spec

    if skip_bad < 0:
        raise InputError(f"--skip-bad: found {skip_bad}, expected an integer >= 0")
    threads = usable_threads(jobs)
    spec = load_spec(preset)
    way: Ids = ids.value
    name: Format = form.value
    check_target(output)
    source: Input = CriteoInput(files)
    if columns is not None:
        from lorabench.workload.columns import ColumnsInput, load_columns

        if not 1 <= table_rows < 2**31 - 2:
            raise InputError(f"--table-rows: found {table_rows}, expected 1 to 2^31 - 3")
        source = ColumnsInput(files, load_columns(columns))
        spec = base_for(spec, source, table_rows)
    with rows_progress(None, quiet=quiet) as progress:
        manifest = take_in(
            output,
            source,
            spec,
            ids=way,
            form=name,
            skip_bad=skip_bad,
            jobs=threads,
            progress=progress,
            on_bad=lambda error: say(f"left out: {error}"),
        )
    show(output, manifest, progress.rate, as_json=as_json, quiet=quiet)
