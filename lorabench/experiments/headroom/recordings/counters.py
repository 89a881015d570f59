"""From counters of CPU seconds to busy shares, whatever scrapes do to them.

A counter that is missing for a while still knows the mean of that while: its next value has it. A
sample that cannot be, since the counter falls and rises again, stands still and catches up, or
grows by more than the time that passed, was taken late or was old; it is left out, and the span
over it takes its place. A counter that falls for good began anew: what was before is not known.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lorabench.experiments.headroom.recordings.units import BUSY, IDLE, WHOLE

Floats = NDArray[np.float64]

# A counter that is put together of several may fall by a tick.
_TICK_S = 0.05
# How much more than the time that passed it may have grown: clocks of two machines, a tick.
_FAST = 0.02
_FAST_S = 0.15
# A fall is none where the counter is back within so many samples.
_SOON = 3


@dataclass
class Busy:
    """Busy shares over spans, and what was left out.

    Attributes
    ----------
    begin_s, end_s, value : list of float
        Of each span.
    odd : list of int
        Samples that cannot be, by index, that were left out.
    restarts : int
        How often a counter began anew.
    """

    begin_s: list[float] = field(default_factory=list)
    end_s: list[float] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    odd: list[int] = field(default_factory=list)
    restarts: int = 0

    def add(self, begin_s: float, end_s: float, value: float) -> None:
        """Take one more span."""
        self.begin_s.append(begin_s)
        self.end_s.append(end_s)
        self.value.append(min(1.0, max(0.0, value)))


class Counters:
    """Counters of the modes of a CPU or of a host, at times that all of them have.

    Parameters
    ----------
    at_s : float64 [N]
        Times.
    modes : mapping of str to float64 [N]
        Seconds, by mode. With ``busy`` alone they are of CPU time in use.
    cpus : float or None
        How many CPUs they are of; None where that is not known, which takes all modes.
    """

    def __init__(self, at_s: Floats, modes: Mapping[str, Floats], cpus: float | None) -> None:
        self._at_s = at_s
        self._cpus = cpus
        self._whole = set(modes) >= WHOLE
        self._in_use = set(modes) == {"busy"} or (
            "idle" not in modes and set(modes) - {"iowait"} >= BUSY
        )
        if not self._whole:
            kept = [m for m in modes if (m not in IDLE if self._in_use else m in IDLE)]
            modes = {mode: modes[mode] for mode in kept}
        self._values = np.stack(list(modes.values()))
        self._idle = np.array([mode in IDLE for mode in modes])

    def busy(self) -> Busy:
        """Return how busy the CPUs were between the samples that can be."""
        found = Busy()
        kept = [0]
        following = 1
        while following < len(self._at_s):
            if self._falls(kept[-1], following):
                if self._is_back(kept[-1], following):
                    found.odd.append(following)
                else:
                    found.restarts += 1
                    self._close(kept, found)
                    kept = [following]
            elif self._stands(kept[-1], following) or self._ahead(kept[-1], following):
                found.odd.append(following)
            else:
                # What came too fast for its time had been held back in the samples before.
                while kept and self._too_fast(kept[-1], following):
                    found.odd.append(kept.pop())
                kept.append(following)
            following += 1
        self._close(kept, found)
        return found

    def _close(self, kept: list[int], found: Busy) -> None:
        for before, after in pairwise(kept):
            found.add(
                float(self._at_s[before]), float(self._at_s[after]), self._share(before, after)
            )

    def _grown(self, before: int, after: int) -> Floats:
        grown: Floats = self._values[:, after] - self._values[:, before]
        return grown

    def _elapsed(self, before: int, after: int) -> float:
        return float(self._at_s[after] - self._at_s[before])

    def _share(self, before: int, after: int) -> float:
        grown = np.maximum(0.0, self._grown(before, after))
        if self._whole:
            return 1.0 - float(grown[self._idle].sum() / grown.sum())
        share = float(grown.sum()) / (self._elapsed(before, after) * (self._cpus or 1.0))
        return share if self._in_use else 1.0 - share

    def _falls(self, before: int, after: int) -> bool:
        return bool(self._grown(before, after).min() < -_TICK_S)

    def _is_back(self, before: int, fallen: int) -> bool:
        """Whether the counters are soon where they would be without the fall."""
        for later in range(fallen + 1, min(fallen + 1 + _SOON, len(self._at_s))):
            if not self._falls(before, later) and not self._too_fast(before, later):
                return True
        return False

    def _stands(self, before: int, after: int) -> bool:
        """Whether nothing was counted, though time is always counted under some mode."""
        return self._whole and float(self._grown(before, after).sum()) <= 0.0

    def _ahead(self, before: int, after: int) -> bool:
        """Whether it counts too much for its time, and the one behind it does not."""
        behind = after + 1
        return (
            self._too_fast(before, after)
            and behind < len(self._at_s)
            and not self._falls(before, behind)
            and not self._too_fast(before, behind)
        )

    def _too_fast(self, before: int, after: int) -> bool:
        """Whether more was counted than can be; all modes together have their own time."""
        if self._whole or self._cpus is None:
            return False
        elapsed = self._elapsed(before, after)
        most = self._cpus * (elapsed * (1.0 + _FAST) + _FAST_S)
        return float(self._grown(before, after).sum()) > most
