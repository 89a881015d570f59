"""One of two runs that take turns, as who gives the turns sees it: a process and a socket to it."""

import contextlib
import json
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lorabench.bench.pair.process import CLOSING_S, RunProcess, SideError
from lorabench.bench.pair.version import Version
from lorabench.bench.turns import VARIABLE, Ended, Planned
from lorabench.results.schema import Metric, Round

SILENCE_S = 600.0
"""How long a run may give no sign, beside three times what it said a step takes."""

# Metrics of 10,000 cases; a line that is longer is none of ours.
_MOST_LINE = 1 << 26

_PLANNED = TypeAdapter(Planned)
_METRICS = TypeAdapter(list[Metric])
_ROUNDS = TypeAdapter(list[Round])


@dataclass(frozen=True)
class Step:
    """What a run waits to do next.

    Parameters
    ----------
    text : str
        The same in both runs.
    done : float
        The share of all steps that is done.
    """

    text: str
    done: float


class PairedRun(RunProcess):
    """A run that takes turns.

    Parameters
    ----------
    name, version, arguments, output
        As of `RunProcess`.
    pair : str
        Names the pair, in both documents.
    tell : callable
        Told of stages, with their share that is done.
    silence_s : float
        How long it may give no sign.

    Attributes
    ----------
    step : Step or None
        What it waits to do; None before it has said so and after it has ended.
    planned : Planned or None
        What it has planned.
    measured : tuple of list of Metric and list of Round
        What it had measured when it was last asked.
    """

    def __init__(
        self,
        name: str,
        version: Version,
        arguments: Sequence[str],
        output: Path,
        *,
        pair: str,
        tell: Callable[[str, float], None],
        silence_s: float = SILENCE_S,
    ) -> None:
        self.pair = pair
        self.step: Step | None = None
        self.planned: Planned | None = None
        self.measured: tuple[list[Metric], list[Round]] = [], []
        self._tell = tell
        self._silence_s = silence_s
        self._link, theirs = socket.socketpair()
        self._lines = self._link.makefile("rb")
        with theirs:
            told, passed = {VARIABLE: str(theirs.fileno())}, [theirs.fileno()]
            super().__init__(name, version, arguments, output, told=told, passed=passed)

    def open(self, kept: dict[str, Any] | None = None) -> None:
        """Let it do what comes before its first step; the second run keeps to what is planned.

        Raises
        ------
        SideError
            It ended by an error, fell silent, or speaks otherwise.
        """
        self._give({"side": self.name, "pair": self.pair, "kept": kept})

    def go(self, *, report: bool) -> None:
        """Let it do its step, and whatever comes before the next.

        Raises
        ------
        SideError
            As of `open`.
        """
        self._give({"go": True, "report": report})

    def stop(self, ended: Ended) -> None:
        """Let it come to its end, since its steps are enough.

        Raises
        ------
        SideError
            As of `open`.
        """
        self._give({"go": False, "ended": ended})
        if self.step is not None:
            raise SideError(f"{self.name}: found it going on, expected it to stop")

    def _give(self, message: dict[str, Any]) -> None:
        self.step = None
        # Who has ended meanwhile says so in the next line.
        with contextlib.suppress(OSError):
            self._link.sendall(json.dumps(message).encode() + b"\n")
        while self.step is None:
            told = self._hear()
            if told is None:
                self.finish(CLOSING_S)
                return
            self._take(told)

    def _hear(self) -> dict[str, Any] | None:
        """Wait for a message; None at the end of all."""
        step_s = 0.0 if self.planned is None else self.planned.step_s
        silence_s = self._silence_s + 3 * step_s
        self._link.settimeout(silence_s)
        try:
            line = self._lines.readline(_MOST_LINE)
        except TimeoutError:
            raise self.silent(silence_s) from None
        except OSError:
            line = b""
        if not line:
            return None
        try:
            told = json.loads(line)
        except (ValueError, RecursionError):
            told = None
        if not isinstance(told, dict):
            raise SideError(f"{self.name}: found {line[:60]!r}, expected a message of its turns")
        return told

    def _take(self, told: dict[str, Any]) -> None:
        try:
            if "stage" in told:
                self._tell(f"{self.name}: {told['stage']}", float(told["done"]))
                return
            step = Step(str(told["wait"]), float(told["done"]))
            if told.get("planned") is not None:
                self.planned = _PLANNED.validate_python(told["planned"])
            if told.get("metrics") is not None:
                rounds = _ROUNDS.validate_python(told.get("rounds", []))
                self.measured = _METRICS.validate_python(told["metrics"]), rounds
        except (KeyError, TypeError, ValueError, ValidationError) as error:
            what = " ".join(str(error).split())
            raise SideError(
                f"{self.name}: found a message that does not fit ({what:.200}), expected a version "
                "that takes turns as this one does"
            ) from None
        self.step = step

    def close(self) -> None:
        """End it now."""
        super().close()
        self._lines.close()
        self._link.close()
