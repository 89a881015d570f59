"""Taking back what was done to the machine, whatever ends the run, and saying what came of it."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType

from lorabench.errors import MachineError

INTERRUPTING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that ask a run to end: they come to its whole process group, and the parent of that
decides what becomes of it."""


def leave_to_parent() -> None:
    """Take no notice of signals that a parent acts on; its death ends the process all the same."""
    for number in INTERRUPTING:
        signal.signal(number, signal.SIG_IGN)


@dataclass
class Report:
    """What was undone; its text is one line.

    Attributes
    ----------
    undone : list of str
        What is now as it was before.
    notes : list of str
        What was left as found, since somebody else uses it by now.
    failed : list of str
        What could not be undone, and why.
    pids : set of int
        The runs whose changes they were.
    """

    undone: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    pids: set[int] = field(default_factory=set)

    @property
    def run(self) -> str:
        """Whose changes they were, in words."""
        shown = ", ".join(map(str, sorted(self.pids)))
        return f"the run{'s' if len(self.pids) > 1 else ''} of pid {shown}"

    def attempt(self, what: str, undo: Callable[[], None]) -> bool:
        """Undo something; whether that went well."""
        try:
            undo()
        except (OSError, MachineError) as error:
            self.failed.append(f"{what} ({error})")
            return False
        self.undone.append(what)
        return True

    def __str__(self) -> str:
        parts = []
        if self.undone:
            parts.append(f"undid what {self.run} had changed: {', '.join(self.undone)}")
        parts += self.notes
        if self.failed:
            parts.append(f"could not undo what {self.run} had changed: {', '.join(self.failed)}")
        return "; ".join(parts) or "nothing had been left behind"


@contextmanager
def undoing(undo: Callable[[], None]) -> Iterator[None]:
    """Undo something when the context ends, however it ends, without being cut short by a signal.

    Raises
    ------
    MachineError, OSError
        What `undo` raises; not where another error is under way, which it must not replace. What
        it leaves then is swept up at the end of the run (`lorabench.isolation.cleanup`).
    """
    try:
        yield
    except BaseException:
        with signals_held(), suppress(OSError, MachineError):
            undo()
        raise
    with signals_held():
        undo()


@contextmanager
def signals_held() -> Iterator[None]:
    """Let `INTERRUPTING` signals wait, so that a second Ctrl-C does not cut the undoing short."""
    if threading.current_thread() is not threading.main_thread():  # Python interrupts only that one
        yield
        return
    waiting = []

    def hold(signum: int, _: FrameType | None) -> None:
        waiting.append(signum)

    old = {number: signal.getsignal(number) for number in INTERRUPTING}
    try:
        for number, handler in old.items():
            if handler is not None:  # None is one that Python did not set and cannot set again
                signal.signal(number, hold)
        yield
    finally:
        for number, handler in old.items():
            if handler is not None:
                signal.signal(number, handler)
        for signum in waiting[:1]:
            signal.raise_signal(signum)
