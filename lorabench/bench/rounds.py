"""Rounds: every case once in each, in an order that is drawn anew, so that weather falls on all.

The round is the unit of replication (``docs/methodology.md``); what a case is and how it is
measured is not known here.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

import numpy as np

from lorabench.bench.experiment import Observer
from lorabench.results.case import Case

C = TypeVar("C", bound=Case)
R = TypeVar("R")


def run_rounds(
    cases: Sequence[C],
    rounds: int,
    *,
    seed: int,
    open_round: Callable[[int], AbstractContextManager[Callable[[C], R]]],
    record: Callable[[int, Sequence[C], Sequence[R]], None],
    observer: Observer,
    afterwards: int = 0,
) -> None:
    """Measure all cases in every round.

    Parameters
    ----------
    cases : sequence of Case
        All of a round.
    rounds : int
        How many.
    seed : int
        Of the orders.
    open_round : callable
        From a round's number to a context that gives what measures a case in it.
    record : callable
        Takes a round's number, its cases in order and what was measured of each. Called only once
        a round is whole, so that an interrupted one leaves no half of itself.
    observer : Observer
        Told of each case.
    afterwards : int
        Cases that come after the rounds, for the observer's count.
    """
    total = rounds * len(cases) + afterwards
    number = 0
    for index in range(rounds):
        order = list(cases)
        np.random.default_rng((seed, 2, index)).shuffle(order)
        found: list[R] = []
        with open_round(index) as measure:
            for case in order:
                number += 1
                observer.case(number, total, f"round {index + 1} of {rounds}: {case}")
                found.append(measure(case))
        record(index, order, found)
