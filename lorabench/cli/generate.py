"""``lorabench generate``: write a generated workload to a folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lorabench.workload.block import Block


def generate(
    workload: Annotated[
        str, typer.Argument(metavar="PRESET|SPEC.toml", help="Name of a preset, or a spec file.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="New folder to write.")
    ],
    rows: Annotated[
        int | None, typer.Option(metavar="N", help="Rows to generate, instead of the spec's.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Same seed, same rows.")] = 0,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress, no summary.")] = False,
) -> None:
    """Generate a Criteo-style workload into a folder, for --data."""
    # Here, so that `lorabench --help` need not wait for numpy and pyarrow.
    from time import perf_counter

    from lorabench.errors import InputError
    from lorabench.workload.generator import generate_blocks
    from lorabench.workload.spec import load_spec, with_rows
    from lorabench.workload.store import check_target, row_bytes, write_store

    if seed < 0:
        raise InputError(f"--seed: found {seed}, expected an integer >= 0")
    if rows is not None and rows < 1:
        raise InputError(f"--rows: found {rows}, expected an integer >= 1")
    spec = load_spec(workload)
    if rows is not None:
        spec = with_rows(spec, rows)
    check_target(output)
    _check_disk(output, spec.rows * row_bytes(spec))

    begun = perf_counter()
    blocks = _with_progress(generate_blocks(spec, seed), spec.rows, quiet)
    info = write_store(output, blocks, spec, seed=seed, kind="generated")
    if not quiet:
        rate = info.rows / (perf_counter() - begun)
        typer.echo(f"{info.rows} rows, {rate:.0f} rows/s, {info.size_bytes} bytes: {output}")


def _check_disk(folder: Path, needed: int) -> None:
    import shutil

    from lorabench.errors import InputError

    place = folder.absolute().parent
    free = shutil.disk_usage(place).free
    if needed > free:
        raise InputError(
            f"{place}: found {free} bytes free, expected at least {needed} for the workload"
        )


def _with_progress(blocks: "Iterable[Block]", rows: int, quiet: bool) -> "Iterator[Block]":
    """Pass blocks on, and show how far they are: on stderr, if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(
        BarColumn(),
        MofNCompleteColumn(),
        "rows",
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    ) as progress:
        task = progress.add_task("rows", total=rows)
        for block in blocks:
            yield block
            progress.advance(task, len(block))
