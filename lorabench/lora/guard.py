"""The quality guard: an adapter that predicts worse than the base tables is switched off.

Base and adapted predictions are scored on the same labelled samples before those are learned from
(prequential evaluation), so the difference of the two log losses is a paired comparison. It is
judged over windows of a fixed number of scored samples: the adapter trips the guard when its mean
loss exceeds the base's by more than `z` standard errors of the paired differences. With z = 3 an
adapter that changes nothing trips about once in 700 windows.
"""

import math

import numpy as np
from numpy.typing import NDArray


class QualityGuard:
    """Paired comparison over consecutive windows.

    Parameters
    ----------
    window : int
        Scored samples a window.
    z : float
        Standard errors by which the adapter must be worse.
    """

    def __init__(self, window: int, z: float = 3.0) -> None:
        self._window = window
        self._z = z
        self._restart()

    def _restart(self) -> None:
        self._count, self._sum, self._squares = 0, 0.0, 0.0

    def observe(self, base: NDArray[np.float32], adapted: NDArray[np.float32]) -> bool:
        """Score samples by both; return whether this ends a window in which the adapter was worse.

        Parameters
        ----------
        base, adapted : float32 [n]
            Log losses of the same n samples.
        """
        difference = adapted.astype(np.float64) - base
        self._count += len(difference)
        self._sum += float(difference.sum())
        self._squares += float(difference @ difference)
        if self._count < self._window:
            return False
        mean = self._sum / self._count
        variance = max(self._squares / self._count - mean * mean, 0.0)
        worse = mean > self._z * math.sqrt(variance / self._count)
        self._restart()
        return worse and mean > 0.0


def log_loss(logits: NDArray[np.float32], labels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Binary cross entropy [n] of logits [n] against labels 0 or 1, without overflow."""
    loss: NDArray[np.float32] = np.logaddexp(0.0, logits) - labels * logits
    return loss
