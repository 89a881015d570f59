r"""The clocks of a drifting workload: how far each drift has come at a moment of workload time.

The planted model keeps no state. Each of its drifts is a function of a clock, and the clock is the
integral of the speed that the schedule gives it, so any moment can be looked at alone:

.. math::
    T(t) = \int_0^t speed(\tau) \, d\tau, \qquad speed \text{ constant within a phase}

A speed of 0 stops a clock, and the drift stands; nothing ever jumps when a phase begins. Rows come
faster and slower within a day of length P, at :math:`\lambda (1 + a \sin(2 \pi t / P))`, which is a
Poisson process of constant rate on the warped time scale
:math:`s(t) = t + a P / (2 \pi) \, (1 - \cos(2 \pi t / P))`.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lorabench.workload.spec import DriftSpec, PhaseSpec

_HOUR_S = 3600.0


class Drift:
    """The clocks of one drift schedule.

    Parameters
    ----------
    spec : DriftSpec
        The schedule.
    """

    def __init__(self, spec: DriftSpec) -> None:
        self._spec = spec
        self._phases = spec.phase or (PhaseSpec(start_s=0.0),)
        self._starts = np.array([phase.start_s for phase in self._phases])

    @property
    def has_newcomers(self) -> bool:
        """Whether newcomers ever appear."""
        return any(phase.newcomers for phase in self._phases)

    def popularity_swaps(self, time_s: ArrayLike) -> NDArray[np.float64]:
        """Clock of the swaps of places between ranks, at each time."""
        return self._clock([phase.trades for phase in self._phases], time_s)

    def newcomers(self, time_s: ArrayLike) -> NDArray[np.float64]:
        """Clock of the newcomers, at each time."""
        return self._clock([phase.newcomers for phase in self._phases], time_s)

    def row_taste(self, time_s: ArrayLike) -> NDArray[np.float64]:
        """Clock of the rows' own drift, at each time."""
        return self._clock([phase.row_taste for phase in self._phases], time_s)

    def shared_taste(self, time_s: ArrayLike, direction: int) -> NDArray[np.float64]:
        """Quarter turns of the shared drift in one direction, at each time."""
        speeds = [phase.shared_taste if direction < phase.rank else 0.0 for phase in self._phases]
        return self._clock(speeds, time_s)

    def day(self, time_s: ArrayLike) -> NDArray[np.float64]:
        """How much of the daily preference counts, in units of the logit's standard deviation."""
        # The daily preference has unit variance; the sine's is one half.
        phase = np.sin(2 * np.pi * np.asarray(time_s) / self._spec.day_s)
        return np.asarray(self._spec.day_taste * np.sqrt(2.0) * phase)

    def time_s(self, warped_s: ArrayLike) -> NDArray[np.float64]:
        """Invert the warped time scale, on which rows come at a constant rate."""
        warped = np.asarray(warped_s, np.float64)
        swing = self._spec.day_rate
        if swing == 0:
            return warped
        period = self._spec.day_s
        low, high = warped - swing * period / np.pi, warped.copy()
        for _ in range(60):  # s(t) rises, so bisection finds it, to the last bit
            middle = (low + high) / 2
            turn = 1 - np.cos(2 * np.pi * middle / period)
            early = middle + swing * period / (2 * np.pi) * turn < warped
            low, high = np.where(early, middle, low), np.where(early, high, middle)
        return np.maximum(high, 0.0)

    def _clock(self, speeds: list[float], time_s: ArrayLike) -> NDArray[np.float64]:
        time = np.asarray(time_s, np.float64)
        speed = np.array(speeds) / _HOUR_S
        at_start = np.concatenate([[0.0], np.cumsum(speed[:-1] * np.diff(self._starts))])
        phase = np.searchsorted(self._starts, time, side="right") - 1
        return np.asarray(at_start[phase] + speed[phase] * (time - self._starts[phase]))
