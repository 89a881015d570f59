"""What readers of recorded CPU use have in common: what comes out, how a bad line is told."""

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from lorabench.errors import InputError
from lorabench.results.headroom import Track

FORMATS = (
    "an export of sysstat (sadf -d FILE -- -u ALL) or CSV from Prometheus (a column of times, and "
    "busy shares or node_cpu_seconds_total)"
)


@dataclass(frozen=True)
class Trace:
    """What a file tells.

    Attributes
    ----------
    kind : str
        ``sysstat`` or ``prometheus``.
    hosts : dict of str to Track
        Busy share of all CPUs of each host, 0 to 1.
    cpus : dict of (str, str) to Track
        Of each single CPU, by host and number, where the file has them.
    notes : list of str
        How it was read, where that is not plain from the file.
    """

    kind: str
    hosts: dict[str, Track] = field(default_factory=dict)
    cpus: dict[tuple[str, str], Track] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def bad(name: str, line: int, column: str, found: object, expected: str) -> NoReturn:
    """Tell a bad line.

    Raises
    ------
    InputError
        Naming file, line and column, what was found and what was expected.
    """
    raise InputError(f"{name}, line {line}, {column}: found {found!r:.60}, expected {expected}")


class Spans:
    """Spans of one track as they come, in time's order."""

    def __init__(self) -> None:
        self.begin: list[float] = []
        self.end: list[float] = []
        self.busy: list[float] = []

    def add(self, begin_s: float, end_s: float, busy: float) -> None:
        """Take one more."""
        # Times are written in whole seconds, so that neighbours may seem to overlap by one.
        if self.end:
            begin_s = max(begin_s, self.end[-1])
        self.begin.append(begin_s)
        self.end.append(end_s)
        self.busy.append(min(1.0, max(0.0, busy)))

    def track(self) -> Track:
        """Return all of them."""
        return Track(np.array(self.begin), np.array(self.end), np.array(self.busy))


def parse_number(text: str) -> float | None:
    """Read a plain decimal number."""
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.ASCII) is None:
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def mean_of(tracks: Sequence[Track]) -> Track:
    """Average CPUs over those that are there at each time."""
    sums: dict[tuple[float, float], list[float]] = defaultdict(list)
    for track in tracks:
        for begin, end, value in zip(track.begin_s, track.end_s, track.value, strict=True):
            sums[float(begin), float(end)].append(float(value))
    spans = Spans()
    for (begin, end), values in sorted(sums.items(), key=lambda item: item[0][1]):
        if not spans.end or end > spans.end[-1]:
            spans.add(begin, end, sum(values) / len(values))
    return spans.track()
