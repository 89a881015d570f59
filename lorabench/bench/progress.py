"""Progress on stderr, drawn only now and then by the run itself, between two waits.

A thread that redraws ten times a second would be a neighbour that the experiment did not ask for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class ProgressObserver:
    """Draws the progress of a run, if there is anybody to see it.

    Parameters
    ----------
    bar : Progress or None
        What is drawn.
    log : Console or None
        Where a line a step goes.
    """

    def __init__(self, bar: Progress | None, log: Console | None) -> None:
        self._progress = bar
        self._log = log
        self._task = None if bar is None else bar.add_task("preparing", total=None)

    def stage(self, text: str, done: float) -> None:
        """Show a stage whose share `done` is known."""
        if self._log is not None and done in (0.0, 1.0):
            self._log.print(f"{text}{' …' if done == 0.0 else ': done'}", highlight=False)
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=text, total=1.0, completed=done)
            self._progress.refresh()

    def case(self, number: int, total: int, text: str) -> None:
        """Show that case `number` of `total` begins."""
        if self._log is not None:
            self._log.print(f"{number}/{total} {text}", highlight=False)
        if self._progress is not None and self._task is not None:
            if number == 1:
                self._progress.reset(self._task)
            self._progress.update(
                self._task, description=text, total=float(total), completed=float(number - 1)
            )
            self._progress.refresh()


@contextmanager
def progress(console: Console, *, quiet: bool, verbose: bool) -> Iterator[ProgressObserver]:
    """Show progress while the context lasts: a bar on a terminal, lines where they are wanted."""
    if verbose and not quiet:
        yield ProgressObserver(None, console)
    elif quiet or not console.is_terminal:
        yield ProgressObserver(None, None)
    else:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        with Progress(*columns, console=console, auto_refresh=False, transient=True) as bar:
            yield ProgressObserver(bar, None)


class RowsProgress:
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
        """Take in that an earlier run made so many."""
        self._last = rows

    @property
    def rate(self) -> float:
        """Rows a second of this run."""
        return (self._last - (self._first or 0)) / max(perf_counter() - self._begun, 1e-9)


@contextmanager
def rows_progress(total: int | None, *, quiet: bool) -> Iterator[RowsProgress]:
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
        yield RowsProgress(progress, total)
