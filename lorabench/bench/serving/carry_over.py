"""What a case still feels of the case before it: latency by the time since the switch.

The head of each slice is left out of what is measured. How long it has to be is not assumed: this
shows how long the switch is felt.
"""

import numpy as np
from numpy.typing import NDArray

from lorabench.results import statistics
from lorabench.targets.target import Record
from lorabench.targets.trace import NS

_BIN_S = 0.025

# A bin whose p99 is within this of the p99 of the second half of a slice has settled.
_SETTLED = 1.25


def since_switch(record: Record) -> NDArray[np.float64]:
    """Return of each answered query how long after the switch it came, and its latency.

    Returns
    -------
    float64 [2, n]
        s.
    """
    begin = record.windows_ns[:, 1] - int(record.length_s / len(record.windows_ns) * NS)
    served = record.served
    at = record.scheduled[served] - begin[record.slices[served]]
    return np.stack([at, (record.done - record.scheduled)[served]]) / NS


def curve(samples: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the p99 of the queries that came in each 25 ms after a switch.

    Parameters
    ----------
    samples : float64 [2, n]
        As `since_switch` has them, of all slices.

    Returns
    -------
    float64 [k], float64 [k]
        Middle of the bin and p99, s, of every bin in which a p99 has samples beyond it.
    """
    place = (samples[0] / _BIN_S).astype(np.int64)
    at, p99 = [], []
    for number in np.unique(place):
        value = statistics.quantile(samples[1, place == number], 0.99, 1)
        if value is not None:
            at.append((number + 0.5) * _BIN_S)
            p99.append(value)
    return np.array(at), np.array(p99)


def settled_s(samples: NDArray[np.float64]) -> float | None:
    """Return how long a switch is felt: the end of the last bin from 0 on that has not settled.

    None where too few queries came to tell.
    """
    at, p99 = curve(samples)
    if len(at) < 4:
        return None
    usual = float(np.median(p99[len(p99) // 2 :]))
    felt = p99 > _SETTLED * usual
    if not felt[0]:
        return 0.0
    settled = at[~felt]
    return float((settled[0] if len(settled) else at[-1] + _BIN_S) - _BIN_S / 2)
