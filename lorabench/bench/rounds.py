"""Rounds, blocks and slices: in what order cases are measured, so that weather falls on all alike.

A round has processes of its own. In it come blocks, in each of which every case runs for as long as
every other, cut into slices: in a turn each case has one slice, and each turn has an order of its
own. A stretch of bad weather so meets all cases of a block or none, and the block is the unit of
replication (``docs/methodology.md``). What a case is and how it is measured is not known here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TypeVar

import numpy as np

from lorabench.bench.experiment import Observer
from lorabench.bench.turns import Turns
from lorabench.isolation.undoing import signals_held
from lorabench.results.case import Case

C = TypeVar("C", bound=Case)
R = TypeVar("R")


@dataclass(frozen=True)
class Turn:
    """Where in a run a slice lies.

    Parameters
    ----------
    round, block, number : int
        Of the round in the run, of the block in the round, of the turn in the block.
    """

    round: int
    block: int
    number: int


@dataclass(frozen=True)
class Shape:
    """How long a run is at most.

    Parameters
    ----------
    blocks : tuple of int
        Blocks of each round.
    turns : int
        Turns of a block: slices of each case.
    """

    blocks: tuple[int, ...]
    turns: int

    @property
    def total(self) -> int:
        """Blocks of all rounds."""
        return sum(self.blocks)


def run_blocks(
    cases: Sequence[C],
    shape: Shape,
    *,
    seed: int,
    open_round: Callable[[int], AbstractContextManager[Callable[[C, Turn], R]]],
    record: Callable[[int, int, Sequence[C], Mapping[C, Sequence[R]]], None],
    decided: Callable[[int], bool],
    observer: Observer,
    afterwards: int = 0,
    first: Mapping[C, C] | None = None,
    turns: Turns | None = None,
) -> None:
    """Measure all cases, block by block.

    Parameters
    ----------
    cases : sequence of Case
        All of a block.
    shape : Shape
        How many blocks, of how many turns.
    seed : int
        Of the orders.
    open_round : callable
        From a round's number to a context that gives what measures a slice of a case in it.
    record : callable
        Takes the numbers of a block and of its round, its cases in the order of their slices, and
        what was measured of each. Called only once a block is whole.
    decided, observer
        Told of each block; the former, how many there are, and whether they are enough.
    afterwards : int
        Steps that come after the blocks, for the observer's count.
    first : mapping of Case to Case, optional
        Which other case one has to come after at first.
    turns : Turns, optional
        Of two runs: a turn of all cases each; the opening of a round belongs to its first one.
    """
    done = 0
    turns = turns or Turns()
    for round_, blocks in enumerate(shape.blocks):
        if not _next(turns, done, shape, 0):
            return
        with open_round(round_) as measure:
            for block in range(blocks):
                if block and not _next(turns, done, shape, 0):
                    return
                total = shape.total + afterwards
                observer.case(done + 1, total, f"block {done + 1} of at most {shape.total}")
                orders = _orders(cases, shape.turns, (seed, 2, done), None if done else first)
                found: dict[C, list[R]] = {case: [] for case in cases}
                for number, case in _in_order(orders, partial(_next, turns, done, shape)):
                    found[case].append(measure(case, Turn(round_, block, number)))
                if min(map(len, found.values())) < shape.turns:
                    return  # it was told to stop within the block
                with signals_held():
                    record(done, round_, list(chain(*orders)), found)
                done += 1
                if decided(done):
                    return


def _in_order(
    orders: Sequence[Sequence[C]], go_on: Callable[[int], bool]
) -> Iterator[tuple[int, C]]:
    """Return the cases of a block with the number of their turn, as far as it is to go on."""
    for number, order in enumerate(orders):
        if number and not go_on(number):
            return
        yield from ((number, case) for case in order)


def _next(turns: Turns, done: int, shape: Shape, number: int) -> bool:
    passed = (done + number / shape.turns) / shape.total
    return turns.next(f"block {done + 1}, turn {number + 1}", passed)


def _orders(
    cases: Sequence[C], turns: int, seed: Sequence[int], first: Mapping[C, C] | None
) -> list[list[C]]:
    """Return the cases of each turn of a block, each in an order of its own."""
    rng = np.random.default_rng(seed)
    orders = []
    for _ in range(turns):
        order = list(cases)
        rng.shuffle(order)
        orders.append(order)
    _put_first(orders[0], first or {})
    return orders


def _put_first(turn: list[C], first: Mapping[C, C]) -> None:
    """Let cases change places where one comes before another that it needs to know."""
    for case, needed in first.items():
        here, there = turn.index(case), turn.index(needed)
        if here < there:
            turn[here], turn[there] = needed, case
