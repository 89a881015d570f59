"""When each slice of a case begins and ends, by the case's own clock, and how many there are.

A quantile takes samples beyond it, and how many come in a second follows from the rate; so how long
a block is follows from what was calibrated. A case's clock stands still between its slices: labels
are as long on their way as they always are, and what a case has learned is what it had learned when
its last slice ended.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lorabench.bench.rounds import Shape, Turn
from lorabench.results.sequential import MOST_BLOCKS, MOST_LOOKS, Looks, plan_looks
from lorabench.results.statistics import MIN_BEYOND

# Queries of a case in a block: those that a p99 takes, and a margin for the law of arrivals and for
# those that a stall touched.
_QUANTILE = 0.99
_MARGIN = {"poisson": 1.2}
_WILD_MARGIN = 1.5

LEAST_BLOCK_S = 2.0
"""A block shorter than this would consist of switches."""

# A block is made longer where there is time for more than the last look takes, but not beyond this.
_MOST_BLOCK_S = 5.0

# Between two slices: messages, and the lead before the clock starts.
_SWITCH_S = 0.05


@dataclass(frozen=True)
class Slice:
    """A slice of a case, s of its clock.

    Parameters
    ----------
    begin_s, end_s : float
        When queries come.
    window_s : tuple of float
        What is measured of it.
    """

    begin_s: float
    end_s: float
    window_s: tuple[float, float]


@dataclass(frozen=True)
class Slicing:
    """How a case's time in a round is cut.

    Parameters
    ----------
    warmup_s : float
        What a case that learns runs for at first, unmeasured.
    head_s : float
        What is left out of each slice: what still comes from the case before.
    slice_s : float
        What is measured of each.
    turns : int
        Slices of a block.
    label_delay_s : float
        Of the warm-up, what passes before anything can be learned.
    """

    warmup_s: float
    head_s: float
    slice_s: float
    turns: int
    label_delay_s: float = 0.0

    @property
    def measured_s(self) -> float:
        """What is measured of a case in a block."""
        return self.slice_s * self.turns

    @property
    def block_s(self) -> float:
        """Length of a case's block by its clock."""
        return (self.head_s + self.slice_s) * self.turns

    @property
    def warmup(self) -> Slice:
        """Before the first block; what is measured of it only tells how busy a trainer is."""
        return Slice(0.0, self.warmup_s, (min(self.label_delay_s, self.warmup_s), self.warmup_s))

    def slice(self, turn: Turn) -> Slice:
        """Return the slice of a turn."""
        length = self.head_s + self.slice_s
        begin = self.warmup_s + turn.block * self.block_s + turn.number * length
        return Slice(begin, begin + length, (begin + self.head_s, begin + length))


def needed_queries(arrivals: str) -> int:
    """Return how many queries of a case a block should have for its p99."""
    beyond = math.ceil(MIN_BEYOND / (1 - _QUANTILE))
    return math.ceil(beyond * _MARGIN.get(arrivals, _WILD_MARGIN))


def slicing(
    *,
    rate_qps: float,
    arrivals: str,
    duration_s: float | None,
    slice_s: float,
    head_s: float,
    warmup_s: float,
    label_delay_s: float = 0.0,
) -> Slicing:
    """Cut a case's time so that each block holds what its p99 takes.

    Parameters
    ----------
    rate_qps : float
        Mean arrivals a second.
    arrivals : str
        Their law.
    duration_s : float or None
        What to measure of a case in a block; None for what it takes.
    slice_s, head_s, warmup_s, label_delay_s : float
        As of `Slicing`; slices come out a little shorter, so that they are all as long.
    """
    needed_s = needed_queries(arrivals) / max(rate_qps, 1e-9)
    if duration_s is None:
        duration_s = max(LEAST_BLOCK_S, needed_s)
        if arrivals == "spike":
            # It must not begin before what is measured does (Traffic.spike_s).
            duration_s = max(duration_s, 2 * warmup_s)
    if arrivals == "spike":
        # One spike in one stretch: cut up, it would be several small ones.
        return Slicing(0.0, warmup_s, duration_s, 1)
    turns = max(1, math.ceil(duration_s / slice_s - 1e-9))
    return Slicing(warmup_s, head_s, duration_s / turns, turns, label_delay_s)


@dataclass(frozen=True)
class Course:
    """How long a run is at most, and when its verdicts are looked at.

    Parameters
    ----------
    shape : Shape
        Rounds, blocks and turns.
    slicing : Slicing
        Of each case.
    looks : Looks or None
        After which blocks; None for a run of so many rounds, which is looked at when it is over.
    """

    shape: Shape
    slicing: Slicing
    looks: Looks | None = None

    def queries(self, rate_qps: float, cases: int) -> tuple[int, int]:
        """Return how many queries all cases have at the first look, and at most."""
        first = self.shape.total if self.looks is None else self.looks.blocks[0]
        of_block = rate_qps * self.slicing.block_s * cases
        return int(first * of_block), int(self.shape.total * of_block)

    def as_document(self) -> dict[str, Any]:
        """Return what a result document says of it."""
        cut = self.slicing
        return {
            "blocks_of_rounds": list(self.shape.blocks),
            "turns": cut.turns,
            "slice_s": cut.slice_s,
            "head_s": cut.head_s,
            "warmup_s": cut.warmup_s,
        }

    def as_agreed(self) -> dict[str, Any]:
        """Return what another run takes to run as this one (`agreed`)."""
        looks = None if self.looks is None else [list(self.looks.blocks), self.looks.level]
        return self.as_document() | {"looks": looks}


def agreed(kept: Mapping[str, Any], label_delay_s: float) -> Course:
    """Return the course of another run (`Course.as_agreed`), for one that is compared with it."""
    cut = Slicing(kept["warmup_s"], kept["head_s"], kept["slice_s"], kept["turns"], label_delay_s)
    looks = None if kept["looks"] is None else Looks(tuple(kept["looks"][0]), kept["looks"][1])
    return Course(Shape(tuple(kept["blocks_of_rounds"]), cut.turns), cut, looks)


def rounds_of(slicing: Slicing, rounds: int) -> Course:
    """Plan a run of so many rounds, of a block each."""
    return Course(Shape((1,) * rounds, slicing.turns), slicing)


def deciding(
    slicing: Slicing,
    *,
    cases: int,
    learning: int,
    left_s: float,
    start_s: float,
    fixed: bool,
    unbroken_s: float = math.inf,
) -> Course:
    """Plan a run that ends when its verdicts are known.

    Parameters
    ----------
    slicing : Slicing
        With the least that a block takes.
    cases, learning : int
        How many there are, and how many of them have a warm-up.
    left_s : float
        For all rounds.
    start_s : float
        What starting a round's processes takes.
    fixed : bool
        Blocks have the length that they have, because that was asked for.
    unbroken_s : float
        How long a round can be, by a case's clock, before the rows end and begin anew.
    """
    opening_s = start_s + learning * slicing.warmup_s

    def block_s(turns: int) -> float:
        return cases * turns * (slicing.head_s + slicing.slice_s + _SWITCH_S)

    def shape(blocks: int, turns: int) -> Shape:
        room = (unbroken_s - slicing.warmup_s) / replace(slicing, turns=turns).block_s
        return Shape(_split(_ends(plan_looks(blocks)), room), turns)

    def fitting(turns: int) -> int:
        """Return how many blocks fit, with the openings that their rounds take; 0 for none."""
        most = min(MOST_BLOCKS, int(left_s / block_s(turns)))
        while most and most * block_s(turns) + len(shape(most, turns).blocks) * opening_s > left_s:
            most -= 1
        return most

    turns = slicing.turns
    if not fixed:
        # Longer blocks, where there is time, but no longer than that a round has rows for a look's.
        room_s = min(_MOST_BLOCK_S, (unbroken_s - slicing.warmup_s) / (MOST_BLOCKS // MOST_LOOKS))
        longest = int(room_s / (slicing.head_s + slicing.slice_s))
        while turns < longest and fitting(turns + 1) == MOST_BLOCKS:
            turns += 1
    most = fitting(turns)
    if most == 0:
        # Not even one is within the time: as many turns of it as are.
        turns, most = max(1, int((left_s - opening_s) / block_s(1))), 1
    return Course(shape(most, turns), replace(slicing, turns=turns), plan_looks(most))


def _ends(looks: Looks) -> list[int]:
    """Return after which blocks a round ends at the latest.

    Each look is at processes that the one before has not seen, and the first at two sets of them:
    nobody knows from one what another would do.
    """
    first = looks.blocks[0]
    return [*([(first + 1) // 2] if first > 1 else []), *looks.blocks]


def _split(ends: Sequence[int], room: float) -> tuple[int, ...]:
    """Return the blocks of each round, from those after which a round ends at the latest.

    After a wrap rows are of long ago: a trainer that meets it begins on fresh processes. So no
    round has more blocks than there are rows for, `room`, but one at least.
    """
    blocks: list[int] = []
    for begin, end in zip([0, *ends], ends, strict=False):
        count = end - begin
        rounds = 1 if room >= count else math.ceil(count / max(1, int(room)))
        blocks += [len(part) for part in np.array_split(np.arange(count), rounds)]
    return tuple(blocks)
