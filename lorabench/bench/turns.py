"""Turns at one machine: two runs that are compared hold it one after the other, step by step.

A run that is handed a socket (``LORABENCH_TURNS``, the number of a descriptor) is one of two whose
steps are interleaved (`lorabench.bench.pair`). It holds the machine from when it is given a turn
until it asks for the next one, or ends; between the two it waits in a read, and takes nothing.
What comes before the first step belongs to its first turn, what comes after the last one to its
last. A step is a turn of all cases of a block of `colocate`, a round of a case of `kernels`, a
window of `profile`: as little as can be, so that what goes on beside falls on both runs alike.

Messages are lines of JSON, since two versions speak: to the run a ``side`` once, then ``go``;
from it ``stage`` as often as it likes, and ``wait``, which asks for the next turn.
"""

import json
import os
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast, get_args

from lorabench.errors import LorabenchError
from lorabench.results.schema import Metric, Round

VARIABLE = "LORABENCH_TURNS"
"""What tells a run in its environment that it takes turns: the descriptor of its socket."""

PROTOCOL = 1
"""Which messages a version knows; both sides of a pair know the same."""

Measured = tuple[Sequence[Metric], Sequence[Round]]
"""Metrics, and the blocks that they are of."""

Decided = Callable[[Sequence[Measured], Sequence[Measured], float], bool]
"""From what the runs of base and of head have measured, and the one-sided level of intervals at
this look, to whether that is enough."""

Ended = Literal["known", "blocks", "time", "interrupted"]
"""What has ended a run (`lorabench.results.schema.Sequential`)."""

# Stages are told no oftener: the parent wakes up for each.
_STAGE_S = 0.5


class TurnsError(LorabenchError):
    """The parent of two runs ended, or said something that this version does not know."""

    exit_code = 1


@dataclass(frozen=True)
class Planned:
    """What the first of two runs has planned for both.

    Parameters
    ----------
    kept : dict
        What the other run keeps to; the experiment's own to write and to read.
    step_s : float
        How long a step takes, about: how long a run may be silent.
    steps : int
        Steps of a block, which is what values of both runs are paired by.
    looks : tuple of int
        After how many blocks the verdicts may be looked at; empty for a run of a fixed length.
    level : float or None
        One-sided level of the intervals at each look.
    most_s : float or None
        How long both together may take.
    later_s : float
        What a run takes after its last step.
    """

    kept: dict[str, Any] = field(default_factory=dict)
    step_s: float = 0.0
    steps: int = 1
    looks: tuple[int, ...] = ()
    level: float | None = None
    most_s: float | None = None
    later_s: float = 0.0


class Turns:
    """The turns of a run that has the machine to itself: it never waits.

    Attributes
    ----------
    sides : int
        How many runs share the time.
    to_open : int
        How many have yet to take the memory that they hold, this one included.
    giver : int or None
        Process that gives the turns.
    kept : mapping or None
        What the first of two runs has planned for this one, the second.
    ended : str or None
        What has ended both runs (`Ended`), once this one was told to stop.
    pair : str or None
        Names the pair that it is one of: its blocks are compared with those of the same pair alone.
    """

    sides = 1
    to_open = 1
    giver: int | None = None
    kept: Mapping[str, Any] | None = None
    ended: Ended | None = None
    pair: str | None = None

    def plan(self, planned: Planned) -> None:
        """Say what is planned for both; whoever keeps to a plan need not, and is not heard."""

    def next(self, step: str, done: float) -> bool:  # noqa: ARG002
        """Give the machine back and wait for the next turn; whether to go on.

        Parameters
        ----------
        step : str
            What comes: the same in both runs.
        done : float
            The share of all steps that is done.
        """
        return True

    def stage(self, text: str, done: float) -> None:
        """Tell who gives the turns that something is going on; `done` is the share of it."""


class SharedTurns(Turns):
    """The turns of a run that is one of two.

    Parameters
    ----------
    link : socket
        To who gives the turns.
    measured : callable
        What the run has measured so far, and in which blocks.

    Raises
    ------
    TurnsError
        It says something else than which side this is.
    """

    sides = 2

    def __init__(self, link: socket.socket, measured: Callable[[], Measured]) -> None:
        self._link = link
        self._lines = link.makefile("rb")
        self._measured = measured
        self._report = False
        self._planned: Planned | None = None
        self._staged: tuple[str, float] = "", 0.0
        peer = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        self.giver = struct.unpack("3i", peer)[0]
        told = self._hear("side")
        self.to_open = 2 if told["side"] == "base" else 1
        self.kept = told.get("kept")
        self.pair = told.get("pair")

    def plan(self, planned: Planned) -> None:
        """As of `Turns`; it goes with the next wait."""
        self._planned = planned

    def next(self, step: str, done: float) -> bool:
        """As of `Turns`.

        Raises
        ------
        TurnsError
            Nobody gives turns any more.
        """
        asked: dict[str, Any] = {"wait": step, "done": done}
        if self._planned is not None:
            asked["planned"] = asdict(self._planned)
        if self._report:
            for part, listed in zip(("metrics", "rounds"), self._measured(), strict=True):
                asked[part] = [one.model_dump(mode="json") for one in listed]
        self._planned = None
        self._say(asked)
        told = self._hear("go")
        self._report = bool(told.get("report"))
        if not told["go"]:
            why = told.get("ended")
            self.ended = cast(Ended, why) if why in get_args(Ended) else "interrupted"
        return bool(told["go"])

    def stage(self, text: str, done: float) -> None:
        """As of `Turns`, and now and then only.

        Raises
        ------
        TurnsError
            Nobody gives turns any more.
        """
        before, at_s = self._staged
        now_s = time.monotonic()
        if text != before or now_s - at_s >= _STAGE_S:
            self._staged = text, now_s
            self._say({"stage": text, "done": done})

    def _say(self, message: Mapping[str, Any]) -> None:
        try:
            self._link.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            raise TurnsError("who gave the turns has ended before this run") from None

    def _hear(self, kind: str) -> dict[str, Any]:
        try:
            line = self._lines.readline()
        except OSError:
            line = b""
        if not line:
            raise TurnsError("who gave the turns has ended before this run")
        try:
            told = json.loads(line)
        except ValueError:
            told = None
        if not isinstance(told, dict) or kind not in told:
            raise TurnsError(f"who gives the turns: found {line[:60]!r}, expected {kind!r}")
        return told


def open_turns(measured: Callable[[], Measured]) -> Turns:
    """Return the turns of this run: its own, or those that the environment tells of.

    Processes that the run starts are told of none.

    Parameters
    ----------
    measured : callable
        What the run has measured so far, and in which blocks.

    Raises
    ------
    TurnsError
        The environment names no such socket.
    """
    told = os.environ.pop(VARIABLE, None)
    if told is None:
        return Turns()
    try:
        link = socket.socket(fileno=int(told))
        link.set_inheritable(False)
    except (ValueError, OSError):
        raise TurnsError(f"{VARIABLE}: found {told!r}, expected a socket's descriptor") from None
    return SharedTurns(link, measured)
