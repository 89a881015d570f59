"""What is said of how columns were read, and of what was left out."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

KUBECTL_RANGE_S = 60.0
"""metrics-server looks that far back, at most, as it is installed."""


@dataclass
class Told:
    """What is said of how columns were read, and of what was left out.

    Attributes
    ----------
    reading : Counter of str
        Columns by how they were read: words with ``{hosts}``, ``{busy}`` and ``{idle}`` in them.
    hosts : dict of str to set of str
        Whose these columns are.
    outside, of : int
        Values that are no share, of so many.
    odd, samples : int
        Samples of counters that cannot be, of so many.
    restarts : int
        How often counters began anew.
    still : int
        Idle counters that never change.
    without_range, of_window : bool
        A range was assumed: the step, or metrics-server's window.
    tiny : list of str
        Columns that an option says are in per cent, and that never exceed 1.
    """

    reading: Counter[str] = field(default_factory=Counter)
    hosts: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    outside: int = 0
    of: int = 0
    odd: int = 0
    samples: int = 0
    restarts: int = 0
    still: int = 0
    without_range: bool = False
    of_window: bool = False
    tiny: list[str] = field(default_factory=list)

    def read(self, how: str, host: str, columns: int) -> None:
        """Say how some columns of a host were read."""
        self.reading[how] += columns
        self.hosts[how].add(host)

    def lines(self) -> list[str]:
        """Return a line for each way of reading, without names."""
        found = []
        for how, columns in self.reading.items():
            hosts = len(self.hosts[how])
            whose = "one host" if hosts == 1 else f"{hosts} hosts"
            if columns == 1:
                what = how.format(hosts=whose, busy="a busy share", idle="the idle share")
                found.append(f"1 column is {what}")
            else:
                what = how.format(hosts=whose, busy="busy shares", idle="the idle shares")
                found.append(f"{columns} columns are {what}")
        return found

    def notes(self) -> list[str]:
        """Return what was left out or assumed."""
        notes = []
        if self.outside:
            notes.append(
                f"{self.outside} of {self.of} values lie outside 0 to 1 as shares and were left "
                "out; late scrapes make such"
            )
        if self.odd:
            notes.append(
                f"{self.odd} of {self.samples} samples of counters stand still, go back or rise "
                "faster than time and were left out; the mean over the span around each stands"
            )
        if self.restarts:
            many = "a restart" if self.restarts == 1 else f"{self.restarts} restarts"
            notes.append(f"counters began anew ({many}): the time between is unknown")
        if self.still:
            notes.append(
                f"{self.still} idle counter(s) never change: read as CPUs that are always busy; of "
                "an exporter that stands still they would look the same"
            )
        if self.tiny:
            notes.append(
                f"{', '.join(self.tiny)}: no value exceeds 1 %; of a column that has shares of 1, "
                "--unit with its number says it (2=share)"
            )
        if self.of_window:
            notes.append(
                f"each value was taken for the mean over {KUBECTL_RANGE_S:.0f} s, metrics-server's "
                "longest usual window; --range says otherwise"
            )
        if self.without_range:
            notes.append(
                "each value was taken for the mean since the one before, since no name says its "
                "range: --range says otherwise (5m for rate(...[5m]))"
            )
        return notes
