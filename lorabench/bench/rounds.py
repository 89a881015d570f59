"""Rounds, blocks and slices: in what order cases are measured, so that weather falls on all alike.

A round has processes of its own. In it come blocks, in each of which every case runs for as long as
every other, cut into slices: in a turn each case has one slice, and each turn has an order of its
own. A stretch of bad weather so meets all cases of a block or none, and the block is the unit of
replication (``docs/methodology.md``). What a case is and how it is measured is not known here.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
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
        Takes the numbers of a block in the run and of its round, its cases in the order in which
        they had their slices, and of each case what was measured in order. Called only once a block
        is whole, so that an interrupted one leaves no half of itself.
    decided : callable
        Told after each block how many there are; whether they are enough.
    observer : Observer
        Told of each block.
    afterwards : int
        Steps that come after the blocks, for the observer's count.
    first : mapping of Case to Case, optional
        What has to be known of another case before one has its first slice.
    turns : Turns, optional
        Of two runs; the opening of a round belongs to the turn of its first block.
    """
    done = 0
    turns = turns or Turns()
    for round_, blocks in enumerate(shape.blocks):
        if not _next(turns, done, shape):
            return
        with open_round(round_) as measure:
            for block in range(blocks):
                if block and not _next(turns, done, shape):
                    return
                total = shape.total + afterwards
                observer.case(done + 1, total, f"block {done + 1} of at most {shape.total}")
                order = _order(cases, shape.turns, (seed, 2, done), None if done else first)
                found: dict[C, list[R]] = {case: [] for case in cases}
                for place, case in enumerate(order):
                    found[case].append(measure(case, Turn(round_, block, place // len(cases))))
                with signals_held():
                    record(done, round_, order, found)
                done += 1
                if decided(done):
                    return


def _next(turns: Turns, done: int, shape: Shape) -> bool:
    return turns.next(f"block {done + 1}", done / shape.total)


def _order(
    cases: Sequence[C], turns: int, seed: Sequence[int], first: Mapping[C, C] | None
) -> list[C]:
    """Return the cases of a block, turn after turn, each turn in an order of its own."""
    rng = np.random.default_rng(seed)
    order: list[C] = []
    for number in range(turns):
        turn = list(cases)
        rng.shuffle(turn)
        if number == 0:
            _put_first(turn, first or {})
        order += turn
    return order


def _put_first(turn: list[C], first: Mapping[C, C]) -> None:
    """Let cases change places where one comes before another that it needs to know."""
    for case, needed in first.items():
        here, there = turn.index(case), turn.index(needed)
        if here < there:
            turn[here], turn[there] = needed, case
