"""What of a machine's description is left out since it contradicts the rest or does not parse.

Firmware, hypervisors and containers hand out files that cannot be true. As hwloc does, only the
level or the node that contradicts is dropped and the rest is kept; what was dropped, why, and what
stands in its place is listed, so that nobody takes the rest for the whole.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from lorabench.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Dropped:
    """Something that was left out.

    Attributes
    ----------
    what : str
        A level (``L3 caches``), a node, or what one file would have said.
    why : str
        The file, what was found there and what was expected.
    instead : str
        What is taken in its place.
    """

    what: str
    why: str
    instead: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}; {self.instead}"


class Salvage:
    """Collects what is dropped while a machine is read, in the order in which it was met."""

    def __init__(self) -> None:
        self._found: list[Dropped] = []

    @property
    def dropped(self) -> tuple[Dropped, ...]:
        """What has been dropped so far."""
        return tuple(self._found)

    def named(self, root: Path) -> tuple[Dropped, ...]:
        """Return what has been dropped, with files as the machine under `root` calls them."""
        if root == Path("/"):
            return self.dropped
        return tuple(replace(one, why=one.why.replace(f"{root}/", "/")) for one in self._found)

    def drop(self, what: str, why: str, instead: str) -> None:
        """Note that something is left out; the same of several readers once."""
        if (one := Dropped(what, why, instead)) not in self._found:
            self._found.append(one)

    def amend(self, instead: str) -> None:
        """Say otherwise what is taken in the place of what was dropped last."""
        self._found[-1] = replace(self._found[-1], instead=instead)

    def attempt(self, read: Callable[[], T], what: str, instead: str) -> T | None:
        """Read something; None, and a note, where its file cannot be believed."""
        try:
            return read()
        except InputError as error:
            self.drop(what, str(error), instead)
            return None


def several(first: str, count: int) -> str:
    """Return a reason that holds for so many files, of which the first is named."""
    if count < 2:
        return first
    return f"{first} (and {count - 1} more such file{'' if count == 2 else 's'})"
