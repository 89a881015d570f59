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
    """Remembers of each case what its trainer took in its last slices, from round to round."""

    def __init__(self) -> None:
        self._of: dict[ServingCase, deque[tuple[float, float, float]]] = {}

    def take(self, case: ServingCase, record: Record) -> None:
        """Take in a slice: the trainer's CPU time in what is measured of it, and its steps."""
        train = record.train
        if train is not None and record.measured_s > 0:
            burst_s = train.cpu_s / train.steps if train.steps else 0.0
            taken = self._of.setdefault(case, deque(maxlen=_SLICES))
            taken.append((record.trainer_cpu_s, record.measured_s, burst_s))

    def sham(self, case: ServingCase) -> Sham:
        """Return what a sham does: the mean of the case that it is the control of."""
        for other, taken in self._of.items():
            if other.condition == case.condition and other.duty == case.duty:
                cpu_s, passed_s, bursts_s = map(sum, zip(*taken, strict=True))
                if cpu_s > 0 and bursts_s > 0:
                    return Sham(bursts_s / len(taken), cpu_s / passed_s)
        return _IDLE
