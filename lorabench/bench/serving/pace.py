"""How busy a case's trainer was, so that its sham can be as busy."""

from collections import deque

from lorabench.bench.serving.cases import ServingCase
from lorabench.targets.node.settings import Sham
from lorabench.targets.target import Record

# Slices that a share is taken over: enough to smooth it, few enough to follow a throttle.
_SLICES = 8

# Where a trainer has done nothing yet.
_IDLE = Sham(burst_s=0.001, share=0.0)


class Pace:
    """Remembers, of each case of a round, what its trainer took in its last slices."""

    def __init__(self) -> None:
        self._of: dict[ServingCase, deque[tuple[int, float, float]]] = {}

    def take(self, case: ServingCase, record: Record) -> None:
        """Take in a slice."""
        if record.train is not None:
            taken = self._of.setdefault(case, deque(maxlen=_SLICES))
            taken.append((record.train.steps, record.train.cpu_s, record.train.passed_s))

    def sham(self, case: ServingCase) -> Sham:
        """Return what a sham does: the mean of the case that it is the control of."""
        for other, taken in self._of.items():
            if other.condition == case.condition and other.duty == case.duty:
                steps, cpu_s, passed_s = map(sum, zip(*taken, strict=True))
                if steps and passed_s > 0:
                    return Sham(cpu_s / steps, cpu_s / passed_s)
        return _IDLE
