"""How latency is distributed, tail and all: from the raw samples beside a document of `colocate`.

The measured queries of all blocks are taken together, so a percentile here is not the mean of
those of the blocks, on which verdicts rest (``docs/methodology.md``).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.results.raw import NS, open_raw
from lorabench.results.schema import Result
from lorabench.results.statistics import MIN_BEYOND, quantile

_TAIL_POINTS = 80
# The fastest tenth is no tail.
_FIRST = 1 / 0.9


@dataclass(frozen=True)
class Distribution:
    """The latencies of one case.

    Parameters
    ----------
    case : str
        Its name.
    queries : int
        How many were measured.
    percentiles : tuple of float or None
        Those asked for, in s; None where fewer than 20 queries lie beyond.
    tail : tuple of (float, float)
        1 / (1 - q), and the q-quantile in s: from q = 0.1 to the last that 20 lie beyond.
    """

    case: str
    queries: int
    percentiles: tuple[float | None, ...]
    tail: tuple[tuple[float, float], ...]


def read_distributions(
    path: Path, result: Result, percentiles: Sequence[float]
) -> list[Distribution]:
    """Return the latencies of every case.

    Parameters
    ----------
    path : Path
        The document; its raw samples lie beside it.
    result : Result
        It.
    percentiles : sequence of float
        Above 0, below 100.

    Raises
    ------
    InputError
        There are no samples, they are those of another run, or no samples at all.
    """
    raw = open_raw(path, result)
    found: dict[str, list[NDArray[np.int64]]] = defaultdict(list)
    for block, cases in raw.blocks.items():
        for case, columns in cases.items():
            if "counted" in columns:
                found[case].append(raw.latencies_ns(block, case))
    if not found:
        raise InputError(f"{raw.path}: found no samples such as block0/solo/counted, expected some")
    return [
        _distribution(case, np.concatenate(one) / NS, percentiles) for case, one in found.items()
    ]


def _distribution(
    case: str, latency_s: NDArray[np.float64], percentiles: Sequence[float]
) -> Distribution:
    n = len(latency_s)
    ordered = np.sort(latency_s)
    tail: list[tuple[float, float]] = []
    if n > MIN_BEYOND:
        most = n / MIN_BEYOND
        for beyond in np.geomspace(min(_FIRST, most), most, _TAIL_POINTS):
            place = min(int(np.ceil(n * (1 - 1 / beyond))), n - 1 - MIN_BEYOND)
            tail.append((float(beyond), float(ordered[max(place, 0)])))
    return Distribution(
        case, n, tuple(quantile(ordered, q / 100) for q in percentiles), tuple(tail)
    )
