"""Progress on stderr, drawn only now and then by the run itself, between two waits.

A thread that redraws ten times a second would be a neighbour that the experiment did not ask for.
On a terminal there is a bar; elsewhere, as in the log of a CI job, lines that say what is going on
and how long the rest of it takes at the pace so far.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import monotonic, perf_counter

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lorabench.report.terminal import terminal

# How long there is no other line of the same stage, or of another case, after one. A stage can last
# for a day, so that its lines come further and further apart.
_QUIET_S = 5.0
_QUIET_SHARE = 0.05
_MOST_QUIET_S = 60.0


@dataclass(frozen=True)
class _Pace:
    """How something gets on: the share of it that was done at first, and the one that is now."""

    begun_s: float
    first: float
    done: float

    @classmethod
    def of(cls, before: "_Pace | None", done: float, now_s: float) -> "_Pace":
        """Go on from before, or begin: with the first share, or where it begins again."""
        if before is None or done < before.done:
            return cls(now_s, done, done)
        return replace(before, done=done)

    def left_s(self, now_s: float) -> float | None:
        """Return what the rest takes; None as long as nothing was done."""
        if self.done <= self.first:
            return None
        return (now_s - self.begun_s) * (1.0 - self.done) / (self.done - self.first)


class PacedLines:
    """Says in a line what a run is at, and what is left of it once there is a pace to go by.

    Parameters
    ----------
    console : Console
        Where lines go.
    clock : callable
        Now, in s.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = monotonic) -> None:
        self._console = console
        self._clock = clock
        self._stage = ""
        self._stage_pace: _Pace | None = None
        self._case_pace: _Pace | None = None
        # What the last line was of, a stage or (None) cases, and when that was.
        self._told: tuple[str | None, float] = "", 0.0

    def stage(self, text: str, done: float) -> None:
        """Tell of a stage as it begins, and again now and then until it ends."""
        now_s = self._clock()
        known = text == self._stage
        pace = _Pace.of(self._stage_pace if known else None, done, now_s)
        self._stage, self._stage_pace = text, pace
        if not known or done < 1.0:
            quiet_s = min(max(_QUIET_S, _QUIET_SHARE * (now_s - pace.begun_s)), _MOST_QUIET_S)
            self._tell(text, text, pace, now_s, quiet_s)

    def case(self, number: int, total: int, text: str) -> None:
        """Tell that a case begins, unless another one has just begun."""
        now_s = self._clock()
        self._case_pace = _Pace.of(self._case_pace, (number - 1) / total, now_s)
        self._tell(None, text, self._case_pace, now_s, _QUIET_S)

    def _tell(self, of: str | None, text: str, pace: _Pace, now_s: float, quiet_s: float) -> None:
        told, at_s = self._told
        if of == told and now_s - at_s < quiet_s:
            return
        left_s = pace.left_s(now_s)
        left = "" if left_s is None else f", {time_left(left_s)}"
        _print(self._console, f"lorabench: {text}{left}")
        self._told = of, now_s


def time_left(seconds: float) -> str:
    """Say how long something takes yet, no more precisely than a pace can tell."""
    if seconds < 10.0:
        return "less than 10 s left"
    if seconds < 55.0:
        return f"about {round(seconds, -1):.0f} s left"
    minutes = seconds / 60.0
    if minutes < 90.0:
        return f"about {max(1.0, minutes):.0f} min left"
    return f"about {minutes / 60.0:.1f} h left"


class ProgressObserver:
    """Shows the progress of a run, if there is anybody to see it.

    Parameters
    ----------
    bar : Progress or None
        What is drawn.
    log : Console or None
        Where a line a step goes.
    lines : PacedLines or None
        Who tells in a line now and then.
    """

    def __init__(
        self, bar: Progress | None, log: Console | None, lines: PacedLines | None = None
    ) -> None:
        self._progress = bar
        self._log = log
        self._lines = lines
        self._task = None if bar is None else bar.add_task("preparing", total=None)

    def stage(self, text: str, done: float) -> None:
        """Show a stage whose share `done` is known."""
        if self._log is not None and done in (0.0, 1.0):
            _print(self._log, f"{text}{' …' if done == 0.0 else ': done'}")
        if self._lines is not None:
            self._lines.stage(text, done)
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=text, total=1.0, completed=done)
            self._progress.refresh()

    def case(self, number: int, total: int, text: str) -> None:
        """Show that case `number` of `total` begins."""
        if self._log is not None:
            _print(self._log, f"{number}/{total} {text}")
        if self._lines is not None:
            self._lines.case(number, total, text)
        if self._progress is not None and self._task is not None:
            if number == 1:
                self._progress.reset(self._task)
            self._progress.update(
                self._task, description=text, total=float(total), completed=float(number - 1)
            )
            self._progress.refresh()


class Relayed:
    """Tells somebody else of stages, beside who shows them.

    Parameters
    ----------
    shown : ProgressObserver
        Shows the progress.
    tell : callable
        Told of each stage and of the share of it that is done.
    """

    def __init__(self, shown: ProgressObserver, tell: Callable[[str, float], None]) -> None:
        self._tell = tell
        self._shown = shown
        self.case = shown.case

    def stage(self, text: str, done: float) -> None:
        """Show a stage and tell of it."""
        self._shown.stage(text, done)
        self._tell(text, done)


def _print(console: Console, line: str) -> None:
    """Print a line as it is: whole, and without colours wherever it goes."""
    console.out(line, highlight=False)


@contextmanager
def progress(
    console: Console,
    *,
    quiet: bool,
    verbose: bool,
    clock: Callable[[], float] = monotonic,
) -> Iterator[ProgressObserver]:
    """Show progress while the context lasts.

    Parameters
    ----------
    console : Console
        Where: a bar on a terminal, lines now and then elsewhere.
    quiet : bool
        Show nothing.
    verbose : bool
        Show a line a step instead.
    clock : callable
        Now, in s.
    """
    if quiet:
        yield ProgressObserver(None, None)
    elif verbose:
        yield ProgressObserver(None, console)
    elif not (console.is_interactive and console.file.isatty()):
        # Colours can be forced on what is no terminal; a bar would only litter it.
        yield ProgressObserver(None, None, PacedLines(console, clock))
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
    console = terminal(stderr=True)
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
