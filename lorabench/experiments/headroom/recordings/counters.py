"""From counters of CPU seconds to busy shares, whatever scrapes do to them.

A counter that is missing for a while still knows the mean of that while: its next value has it. A
sample that cannot be, since the counter falls and rises again, stands still and catches up, or
grows by more than the time that passed, was taken late or was old; it is left out, and the span
over it takes its place. A counter that falls for good began anew: what was before is not known.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
        if self._plain():
            self._close(list(range(len(self._at_s))), found)
            return found
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

    def _plain(self) -> bool:
        """Whether all samples are as they should be, which is usual."""
        grown, elapsed = np.diff(self._values, axis=1), np.diff(self._at_s)
        total = grown.sum(axis=0)
        stands = self._whole and bool((total <= 0.0).any())
        known = not self._whole and self._cpus is not None
        fast = known and bool((total > self._most(elapsed)).any())
        return not (bool((grown < -_TICK_S).any()) or stands or fast)

    def _close(self, kept: list[int], found: Busy) -> None:
        """Add the spans between samples that are kept."""
        at, values = self._at_s[kept], self._values[:, kept]
        grown = np.maximum(0.0, np.diff(values, axis=1))
        if self._whole:
            share = 1.0 - grown[self._idle].sum(axis=0) / grown.sum(axis=0)
        else:
            share = grown.sum(axis=0) / (np.diff(at) * (self._cpus or 1.0))
            share = share if self._in_use else 1.0 - share
        found.begin_s += at[:-1].tolist()
        found.end_s += at[1:].tolist()
        found.value += np.clip(share, 0.0, 1.0).tolist()

    def _grown(self, before: int, after: int) -> Floats:
        grown: Floats = self._values[:, after] - self._values[:, before]
        return grown

    def _elapsed(self, before: int, after: int) -> float:
        return float(self._at_s[after] - self._at_s[before])

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
        most = self._most(self._elapsed(before, after))
        return bool(float(self._grown(before, after).sum()) > most)

    def _most(self, elapsed_s: Any) -> Any:
        """Return how much can be counted within a time, or within each of several."""
        return (self._cpus or 1.0) * (elapsed_s * (1.0 + _FAST) + _FAST_S)
