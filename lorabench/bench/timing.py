"""The loop that compares: candidates take turns in one process, each time on fresh inputs.

Inputs are drawn anew for every call, outside the clock: a candidate that meets the same indices
twice measures the cache. In a round every candidate has its turn, in an order that is shuffled, so
that the machine's weather falls on all alike, and a ratio is taken within a round.

Candidates on the same memory follow each other, and calls that are not counted come first. A
2 GiB table on 2 MiB pages needs a thousand address translations, which another table pushes out;
it takes some calls to bring them back (tried: 12 ns a row in the first two calls, 7 from then on),
and they would be charged to whoever came first.
"""

import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Long enough for the clock, short enough that a round's weather is one weather.
_TURN_UNITS = 40_000

# Calls, of all candidates on a memory in turn, before one is counted.
_WARM_CALLS = 4


@dataclass(frozen=True)
class Candidate:
    """Somebody who does the work of a case.

    Parameters
    ----------
    name : str
        Unique among those that it is held against.
    prepare : callable
        Draw inputs from a generator and bring them to the form that `stages` take; not timed.
    stages : mapping of str to callable
        What is timed, in order, each stage by itself; all get what `prepare` gave.
    memory : str
        Names what it reads; candidates on the same memory follow each other.
    """

    name: str
    prepare: Callable[[np.random.Generator], Any]
    stages: Mapping[str, Callable[[Any], object]]
    memory: str = ""


@dataclass(frozen=True)
class Times:
    """Seconds a unit of work of one candidate, by stage, float64 [rounds]."""

    stages: Mapping[str, Floats]

    @property
    def total(self) -> Floats:
        """All stages together."""
        return np.asarray(np.sum(list(self.stages.values()), axis=0))


def time_interleaved(
    candidates: Sequence[Candidate],
    *,
    units: int,
    rounds: int,
    seed: Sequence[int],
    begin: Callable[[int], None] = lambda _: None,
) -> dict[str, Times]:
    """Let candidates take turns.

    Parameters
    ----------
    candidates : sequence of Candidate
        At least one.
    units : int
        Units of work, such as looked-up rows, of one call.
    rounds : int
        Turns of each; one more that is not counted comes first.
    seed : sequence of int
        Of inputs and orders.
    begin : callable
        Told of each round before it begins, from 0; the one that is not counted is -1.

    Returns
    -------
    dict of str to Times
        By name.
    """
    rng = np.random.default_rng(seed)
    calls = max(1, math.ceil(_TURN_UNITS / units))
    times = {c.name: {stage: np.zeros(rounds) for stage in c.stages} for c in candidates}
    groups: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault(candidate.memory, []).append(candidate)
    memories = list(groups)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for turn in range(-1, rounds):
            begin(turn)
            for memory in rng.permutation(memories):
                group = groups[memory]
                for call in range(max(_WARM_CALLS, len(group))):
                    _turn(group[call % len(group)], 1, rng)
                for place in rng.permutation(len(group)):
                    spent = _turn(group[place], calls, rng)
                    if turn >= 0:
                        for stage, seconds in spent.items():
                            times[group[place].name][stage][turn] = seconds / (calls * units)
    finally:
        if collecting:
            gc.enable()
    return {name: Times(stages) for name, stages in times.items()}


def _turn(candidate: Candidate, calls: int, rng: np.random.Generator) -> dict[str, float]:
    """Call `calls` times; seconds of each stage."""
    spent = dict.fromkeys(candidate.stages, 0)
    for _ in range(calls):
        inputs = candidate.prepare(rng)
        for stage, work in candidate.stages.items():
            begun = time.perf_counter_ns()
            work(inputs)
            spent[stage] += time.perf_counter_ns() - begun
    return {stage: nanoseconds * 1e-9 for stage, nanoseconds in spent.items()}


def best(times: Sequence[Floats]) -> Floats:
    """Round by round, the fastest of several."""
    return np.asarray(np.min(times, axis=0))
