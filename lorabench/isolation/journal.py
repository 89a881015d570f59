"""Old names of `lorabench.isolation.cleanup`, until those who use them have moved to it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from lorabench.isolation.cleanup import cleanup, run_lock
from lorabench.isolation.undo import Process

__all__ = ["Journal", "cleanup"]


class Journal:
    """The run lock. What is made bears its owner's name, so that nothing needs to be noted."""

    @classmethod
    @contextmanager
    def open(
        cls,
        command: str,  # noqa: ARG003
        say: Callable[[str], None],
        folder: Path | None = None,  # noqa: ARG003
    ) -> Iterator[Self]:
        """Be the one run of this machine (`run_lock`)."""
        with run_lock(say):
            yield cls()

    @contextmanager
    def scope(self) -> Iterator[Self]:
        """Do nothing: whatever is made is undone by the context that makes it."""
        yield self

    def record(self, change: Process) -> None:
        """Do nothing: a process is found by its environment."""
