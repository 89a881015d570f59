r"""What a window's updates would have been had another optimiser moved the rows.

How low-rank updates are depends on who weights the rows. SGD moves a row by the sum of its
gradients :math:`g_k`, so that the popular ones weigh most; row-wise Adagrad (Naumov et al. 2019)
divides each by the root of the row's accumulator :math:`a_k`, and where those begin empty every
row's first step is equally long. A step of row-wise Adagrad is a scalar times the row's gradient,
so that a scalar a row leads from the updates of a window,
:math:`\Delta W = -\eta \sum_k g_k a_k^{-1/2}`, to those of the other two. With the row's
accumulator :math:`a_0` before the window and :math:`a_n` after it,

.. math::
    \sum_k g_k \approx -\Delta W \, a_n^{1/2} / \eta, \qquad
    \sum_k g_k (a_k - a_0)^{-1/2} \approx
    -\Delta W \, \bigl(a_n / (a_n - a_0)\bigr)^{1/2} / \eta .

Both are exact for a row that takes one step, and the first in the limit of
:math:`a_n - a_0 \ll a_0`, a row with a long past. Otherwise steps count as if all had been taken
with the accumulator of the last: SGD's move comes out too long, by up to 2 where gradients are
alike and there is no past, and that from empty accumulators too short, by up to 2 where there is a
long one. Gradients are those on the way that was trained, not on the way that the other optimiser
would have gone. ``docs/profile.md`` holds both against what they stand for.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

OTHERWISE = {"sgd": "by SGD", "adagrad-emptied": "by Adagrad emptied at each window's start"}
"""Whose updates are derived, in words."""

# What float32 accumulators can tell of a window's share in them.
_LEAST_SHARE = np.float32(2.0**-20)


def moments(update: Floats, before: Floats, after: Floats) -> Mapping[str, NDArray[np.float64]]:
    """Return the second moments of the updates that other optimisers would have made.

    Parameters
    ----------
    update : float32 [N, D]
        What row-wise Adagrad moved the rows by.
    before, after : float32 [N]
        The rows' accumulators.

    Returns
    -------
    mapping of str to float64 [D, D]
        ``sgd``, and ``adagrad-emptied``: row-wise Adagrad whose accumulators are empty before. Each
        but for a factor, which is the same for all tables.
    """
    gained = np.maximum(after - before, after * _LEAST_SHARE)
    # A row whose gradients were all zero was moved by nobody; any scale will do.
    gained[gained == 0] = 1
    scales = {"sgd": np.sqrt(after), "adagrad-emptied": np.sqrt(after / gained)}
    found = {}
    for name, scale in scales.items():
        moved = update * scale[:, None]
        found[name] = (moved.T @ moved).astype(np.float64)
    return found
