"""How well the best possible classifier does: the one that knows the planted probabilities.

Log odds are counted into 16,384 bins of 1/512 from -16 to 16, clicks and others apart, so that the
ceiling of a stream of any length takes constant memory, and streams add up. Within a bin scores
count as equal, which moves both figures by less than 1e-5.
"""

import base64
import math
import zlib

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

_BINS = 16_384
_PER_UNIT = 512


class Ceiling(BaseModel):
    """What no model can beat on these rows, but by luck.

    Parameters
    ----------
    auc : float or None
        Area under the ROC curve of the true probability; None if all labels are equal.
    normalized_entropy : float or None
        Log loss of the true probability over that of the mean click rate (He et al. 2014).
    click_rate : float
        Share of clicks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    auc: float | None
    normalized_entropy: float | None
    click_rate: float


class CeilingCounts:
    """Counts of true log odds, added up over rows."""

    def __init__(self) -> None:
        self._counts: NDArray[np.int64] = np.zeros((2, _BINS), np.int64)

    def add(self, logit: NDArray[np.float64], label: NDArray[np.int8]) -> None:
        """Count rows.

        Parameters
        ----------
        logit : float64 [N]
            True log odds.
        label : int8 [N]
        """
        place = (logit + _BINS / _PER_UNIT / 2) * _PER_UNIT
        bins = np.clip(place, 0, _BINS - 1).astype(np.int64)
        bins += _BINS * label.astype(np.int64)
        self._counts += np.bincount(bins, minlength=2 * _BINS).reshape(2, _BINS)

    def merge(self, other: "CeilingCounts") -> None:
        """Add another stream's counts."""
        self._counts += other._counts

    def ceiling(self) -> Ceiling:
        """Compute the ceiling; at least one row must have been counted."""
        others, clicks = self._counts
        total, hits = int(self._counts.sum()), int(clicks.sum())
        if hits in {0, total}:
            return Ceiling(auc=None, normalized_entropy=None, click_rate=hits / total)
        below = np.cumsum(others) - others
        auc = float((clicks * (below + others / 2)).sum() / hits / (total - hits))
        rate = hits / total
        entropy = -(rate * math.log(rate) + (1 - rate) * math.log(1 - rate))
        middle = (np.arange(_BINS) + 0.5) / _PER_UNIT - _BINS / _PER_UNIT / 2
        # -log p of what happened: log(1 + exp(-x)) for x the log odds of it.
        loss = float(clicks @ np.logaddexp(0, -middle) + others @ np.logaddexp(0, middle))
        return Ceiling(auc=auc, normalized_entropy=loss / total / entropy, click_rate=rate)

    def pack(self) -> str:
        """Text for a journal."""
        return base64.b64encode(zlib.compress(self._counts.astype("<i8").tobytes())).decode()

    @staticmethod
    def unpack(packed: str) -> "CeilingCounts":
        """Undo `pack`."""
        made = CeilingCounts()
        raw = zlib.decompress(base64.b64decode(packed))
        made._counts = np.frombuffer(raw, "<i8").reshape(2, _BINS).copy()
        return made
