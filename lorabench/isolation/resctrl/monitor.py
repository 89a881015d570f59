"""What groups occupy of the cache and move to and from memory, sampled into series.

The counters are those of ``mon_data``: bytes of the last-level cache held at the moment
(``llc_occupancy``), and bytes moved since the group was made, of which the memory of the same
socket took the local ones (``mbm_total_bytes``, ``mbm_local_bytes``). Reading one interrupts a CPU
of its domain for some microseconds, so it is done once a second and not all the time.
"""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lorabench.host.resctrl import OCCUPANCY, TRAFFIC, read_counters, read_node_counters


@dataclass(frozen=True)
class CounterSeries:
    """One counter of one group in one domain over time.

    Attributes
    ----------
    name : str
        ``llc_occupancy``, ``mbm_total`` or ``mbm_local``.
    group : str
        As `Monitor` was told.
    domain : int
        Id of the cache.
    unit : str
        ``B`` for occupancy, ``B/s`` for traffic.
    times_s : tuple of float
        Seconds since the monitor was made.
    values : tuple of float
        At each of these times; traffic is the mean since the sample before. Samples at which the
        hardware had no value to give are left out.
    node : int or None
        Where sub-NUMA clustering makes several nodes of a domain, which of these; None for the
        whole domain.
    """

    name: str
    group: str
    domain: int
    unit: str
    times_s: tuple[float, ...]
    values: tuple[float, ...]
    node: int | None = None


class Monitor:
    """Samples the counters of some groups.

    Parameters
    ----------
    groups : mapping of str to Path
        What to call each group, and its folder.
    clock : callable
        Seconds; only differences count.
    """

    def __init__(
        self, groups: Mapping[str, Path], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._groups = dict(groups)
        self._clock = clock
        self._origin = clock()
        # By group, domain, node (-1: the whole domain) and feature.
        self._samples: dict[tuple[str, int, int, str], list[tuple[float, int]]] = {}

    def sample(self) -> None:
        """Read every counter once."""
        for name, folder in self._groups.items():
            now = self._clock() - self._origin
            found = {(d, -1, feature): v for (d, feature), v in read_counters(folder).items()}
            for (domain, node, feature), value in (found | read_node_counters(folder)).items():
                if value is not None:
                    samples = self._samples.setdefault((name, domain, node, feature), [])
                    samples.append((now, value))

    @contextlib.contextmanager
    def sampling(self, interval_s: float = 1.0) -> Iterator[Self]:
        """Sample at once, every `interval_s` seconds on a thread, and once more at the end."""
        stop = threading.Event()

        def run() -> None:
            while not stop.wait(interval_s):
                self.sample()

        self.sample()
        thread = threading.Thread(target=run, name="resctrl-monitor", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join()
            self.sample()

    def series(self) -> tuple[CounterSeries, ...]:
        """Return what has been sampled so far as series."""
        found = []
        for (group, domain, node, feature), samples in sorted(self._samples.items()):
            if feature == OCCUPANCY:
                name, unit, points = feature, "B", [(t, float(value)) for t, value in samples]
            else:
                name, unit, points = TRAFFIC[feature], "B/s", _rates(samples)
            if points:
                times, values = zip(*points, strict=True)
                which = None if node < 0 else node
                found.append(CounterSeries(name, group, domain, unit, times, values, which))
        return tuple(found)


def _rates(samples: list[tuple[float, int]]) -> list[tuple[float, float]]:
    """Return the rates between samples; a counter that fell was reset and tells nothing."""
    return [
        (t1, (v1 - v0) / (t1 - t0))
        for (t0, v0), (t1, v1) in itertools.pairwise(samples)
        if t1 > t0 and v1 >= v0
    ]
