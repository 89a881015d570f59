"""What the subcommands that write a workload have in common: threads, progress, the last words."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import psutil
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lorabench.errors import InputError

if TYPE_CHECKING:
    from lorabench.workload.spec import WorkloadSpec
    from lorabench.workload.store import Format, Manifest


def usable_threads(jobs: int | None) -> int:
    """Return how many threads to use: `jobs`, or one for each CPU that this process may use.

    Raises
    ------
    InputError
        `jobs` below 1.
    """
    if jobs is None:
        return len(os.sched_getaffinity(0))
    if jobs < 1:
        raise InputError(f"--jobs: found {jobs}, expected an integer >= 1")
    return jobs


class Rows:
    """Counts the rows that this run made, and draws how far it is."""

    def __init__(self, progress: Progress, total: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=total)
        self._begun = perf_counter()
        self._first: int | None = None
        self._last = 0

    def done(self, rows: int) -> None:
        """Show that so many rows are done, those of an earlier run included."""
        if self._first is None:
            self._first = self._last
        self._last = rows
        self._progress.update(self._task, completed=rows, description=f"{rows:,} rows")

    def start_at(self, rows: int) -> None:
        """Tell that an earlier run made so many."""
        self._last = rows

    @property
    def rate(self) -> float:
        """Rows a second of this run."""
        return (self._last - (self._first or 0)) / max(perf_counter() - self._begun, 1e-9)


@contextmanager
def rows_progress(total: int | None, *, quiet: bool) -> Iterator[Rows]:
    """Show progress on stderr, if that is a terminal; `total` is None where nobody knows it."""
    console = Console(stderr=True)
    ending = (TimeElapsedColumn(),) if total is None else (TimeRemainingColumn(),)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *ending,
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    ) as progress:
        yield Rows(progress, total)


def check_disk(folder: Path, spec: "WorkloadSpec", form: "Format", *, quiet: bool) -> None:
    """Say what a workload will take, and refuse it if the disk has no room.

    Raises
    ------
    InputError
        Naming both numbers.
    """
    from lorabench.workload.store import row_bytes

    needed = spec.rows * row_bytes(spec, form)
    place = folder.absolute().parent
    written = sum(entry.stat().st_size for entry in folder.glob("part-*"))
    free = shutil.disk_usage(place).free + written
    memory = psutil.virtual_memory().total
    if not quiet:
        at_most = "up to " if form == "parquet" else ""
        tables = f"tables of {decimal(spec.table_bytes)} in memory"
        beyond = f", more than the {decimal(memory)} here" if spec.table_bytes > memory else ""
        say(
            f"{spec.name}: {spec.rows:,} rows, {at_most}{decimal(needed)} on disk "
            f"({decimal(free)} free); to serve it: {tables}{beyond}"
        )
    if needed > free:
        raise InputError(
            f"{place}: found {free:,} bytes free, expected at least {needed:,} for the workload; "
            "fewer --rows or a smaller --scale would fit"
        )


def say(text: str) -> None:
    """Print a line for the user on stderr: stdout is for documents."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(text, markup=False)


def show(folder: Path, manifest: "Manifest", rate: float, *, as_json: bool, quiet: bool) -> None:
    """Say what was written."""
    if as_json:
        print(manifest.as_text(), end="")  # noqa: T201
    if quiet:
        return
    size = sum(part.size_bytes for part in manifest.parts)
    skipped = f", {manifest.skipped} bad lines left out" if manifest.skipped else ""
    say(
        f"{folder}: {manifest.rows:,} rows in {len(manifest.parts)} parts, "
        f"{decimal(size)}{skipped}; {rate:,.0f} rows/s"
    )
    ceiling = manifest.ceiling
    if ceiling is not None and ceiling.auc is not None:
        say(
            f"click rate {ceiling.click_rate:.3f}; the best possible AUC on these rows is "
            f"{ceiling.auc:.4f}"
        )
