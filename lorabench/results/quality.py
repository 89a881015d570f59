"""How good served predictions were: AUC and normalized entropy, computed exactly."""

import math

import numpy as np
from numpy.typing import NDArray


def auc(labels: NDArray[np.int8], scores: NDArray[np.float32]) -> float | None:
    """Area under the ROC curve by ranks (Mann-Whitney), ties counted half.

    Parameters
    ----------
    labels : int8 [N]
        0 or 1.
    scores : float32 [N]
        Higher means more likely 1.

    Returns
    -------
    float or None
        None where one class is absent, or a score is not finite.
    """
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if positives == 0 or negatives == 0 or not np.isfinite(scores).all():
        return None
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_rank = (last - (counts - 1) / 2)[place]
    rank_sum = float(mean_rank[labels == 1].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def auc_standard_error(area: float, positives: int, negatives: int) -> float:
    """Return how far an area may be off by the draw of its rows alone (Hanley and McNeil 1982).

    Parameters
    ----------
    area : float
        The AUC.
    positives, negatives : int
        Rows of each class, at least one.

    Examples
    --------
    Their own table II: an area of 0.893 from 51 abnormal and 58 normal images.

    >>> round(auc_standard_error(0.893, 51, 58), 3)
    0.032
    """
    one = area / (2 - area) - area**2
    other = 2 * area**2 / (1 + area) - area**2
    spread = area * (1 - area) + (positives - 1) * one + (negatives - 1) * other
    return math.sqrt(spread / (positives * negatives))


def normalized_entropy(labels: NDArray[np.int8], scores: NDArray[np.float32]) -> float | None:
    """Log loss over that of always predicting the click rate (He et al. 2014, "Practical Lessons").

    Parameters
    ----------
    labels : int8 [N]
        0 or 1.
    scores : float32 [N]
        Click probabilities.

    Returns
    -------
    float or None
        Below 1 is better than the click rate alone; None where one class is absent, or a
        score is not finite.
    """
    best = mean_entropy(int(labels.sum()), len(labels))
    if not best or not np.isfinite(scores).all():
        return None
    return float(log_losses(labels, scores).mean()) / best


def mean_entropy(positives: int, rows: int) -> float:
    """Return the log loss of always predicting the rate of `positives` among `rows`, in nats."""
    if positives in (0, rows):
        return 0.0
    rate = positives / rows
    return -(rate * math.log(rate) + (1 - rate) * math.log1p(-rate))


def log_losses(labels: NDArray[np.int8], scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the log loss of each prediction, [N]; probabilities are kept 1e-7 from 0 and 1."""
    likely = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
    losses: NDArray[np.float64] = -np.where(labels == 1, np.log(likely), np.log1p(-likely))
    return losses
