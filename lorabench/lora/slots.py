r"""Where the slots go when tables compete: to where a byte buys the most signal energy.

A further slot of table f costs :math:`b_f` bytes (A in both sides, index, bookkeeping: it depends
on the table's rank) and catches the lookups of the table's next most popular row. Slots are given
out so that every table's last one is worth the same,

.. math:: \frac{E_f \, p_f(S_f)}{b_f} = \theta

with :math:`E_f` the signal energy of the table's window within its rank and :math:`p_f(s)` the
share of its lookups that the s-th most popular row gets. The counts of the slots in use give p;
beyond them it goes on as 1/s, the tail of a Zipf law. Energies are drawn half way to their mean:
that no signal was seen above the noise in one window is no proof that there is none, and a table
that is starved of slots has no way to show any. No table gets fewer than a few slots, unless it has
fewer: so ranks that do not grow always fit.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lorabench.lora.layout import AdapterPlan, adapted_bytes

_LEAST_SLOTS = 16
_PROBE = 1024  # slots whose bytes are averaged
_PRICE_RANGE = 30.0  # of its logarithm
_BISECTIONS = 40
_FACTORS = np.linspace(2.0, 0.0, 201)


def allocate_slots(
    plan: AdapterPlan,
    ranks: Sequence[int],
    energy: Sequence[float],
    lookup_counts: Sequence[NDArray[np.uint16]],
) -> AdapterPlan | None:
    """Lay a plan's memory out anew.

    Parameters
    ----------
    plan : AdapterPlan
        Its room and budget hold.
    ranks : sequence of int, length F
        Of each table; 0 where it is not adapted or has a plain delta, which stays as it is.
    energy : sequence of float, length F
        Signal of each table within its rank.
    lookup_counts : sequence of uint16 arrays, length F
        Lookups of late of each table's slots in use.

    Returns
    -------
    AdapterPlan or None
        None where there is no signal to go by, or where not even the least fits.
    """
    adapted = [f for f, rank in enumerate(ranks) if rank > 0]
    if not any(energy[f] > 0 and len(lookup_counts[f]) for f in adapted):
        return _in_proportion(plan, ranks)
    # Only their proportions count, and those of the smallest numbers would be lost on the way.
    most = max(energy[f] for f in adapted)
    share = {f: energy[f] / most for f in adapted}
    bytes_of = {f: adapted_bytes(_PROBE, ranks[f], plan.layout.dim) / _PROBE for f in adapted}
    curves = {f: _Curve(lookup_counts[f]) for f in adapted}
    mean = sum(share.values()) / len(adapted)
    worth = {f: (share[f] + mean) / 2 / bytes_of[f] for f in adapted}

    def at(price: float) -> AdapterPlan:
        slots = [0 if rank else count for rank, count in zip(ranks, plan.slots, strict=True)]
        for f in adapted:
            rows = plan.layout.rows[f]
            wanted = curves[f].slots(price / worth[f])
            slots[f] = min(max(wanted, _least_slots(plan, f)), rows)
        return replace(plan, ranks=tuple(ranks), slots=tuple(slots))

    # Bisection on the logarithm of the price.
    dear = math.log(max(worth.values()))
    cheap = dear - _PRICE_RANGE
    if not at(math.exp(dear)).fits:
        return None
    for _ in range(_BISECTIONS):
        middle = (cheap + dear) / 2
        if at(math.exp(middle)).fits:
            dear = middle
        else:
            cheap = middle
    return at(math.exp(dear))


def _in_proportion(plan: AdapterPlan, ranks: Sequence[int]) -> AdapterPlan | None:
    """As many slots a table as now, or more, or fewer, by one factor: what just fits."""
    for factor in _FACTORS:
        slots = [
            max(_least_slots(plan, f), min(int(count * factor), plan.layout.rows[f]))
            if rank
            else count
            for f, (count, rank) in enumerate(zip(plan.slots, ranks, strict=True))
        ]
        found = replace(plan, ranks=tuple(ranks), slots=tuple(slots))
        if found.fits:
            return found
    return None


def _least_slots(plan: AdapterPlan, table: int) -> int:
    return min(_LEAST_SLOTS, plan.slots[table])


class _Curve:
    """Share of a table's lookups by popularity rank."""

    def __init__(self, lookup_count: NDArray[np.uint16]) -> None:
        # A row that has just come counts for something.
        count = np.maximum(np.sort(lookup_count.astype(np.float64))[::-1], 0.5)
        total = count.sum()
        self._share = count / total if total > 0 else count

    def slots(self, share: float) -> int:
        """How many rows get at least `share` of the lookups."""
        known = len(self._share)
        if known == 0:
            return _LEAST_SLOTS
        inside = int(np.searchsorted(-self._share, -share, side="right"))
        if inside < known:
            return inside
        return int(min(known * self._share[-1] / share, 2**31 - 1))
