"""One of two runs that take turns, as who gives the turns sees it: a process and a socket to it."""

import contextlib
import json
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from lorabench.bench.pair.version import Version, last_line
from lorabench.bench.turns import VARIABLE, Ended, Planned
from lorabench.errors import LorabenchError
from lorabench.results.schema import Metric

# How long a run may give no sign, beside three times what it said a step takes.
SILENCE_S = 600.0

# How long a run may take to put its document together once it was interrupted.
_CLOSING_S = 60.0

# Metrics of 10,000 cases; a line that is longer is none of ours.
_MOST_LINE = 1 << 26

_PLANNED = TypeAdapter(Planned)
_METRICS = TypeAdapter(list[Metric])


class SideError(LorabenchError):
    """A run of a pair ended before its time or fell silent; exits as that run did."""

    def __init__(self, text: str, exit_code: int = 1) -> None:
        super().__init__(text)
        self.exit_code = exit_code


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


class Side:
    """A run of a version; leaving the context ends it.

    Parameters
    ----------
    name : str
        ``base`` or ``head``.
    version : Version
        Whose.
    arguments : sequence of str
        Of the command, ``-o`` and its document among them.
    output : Path
        That document.
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
    metrics : list of Metric
        What it had measured when it was last asked.
    """

    def __init__(
        self,
        name: str,
        version: Version,
        arguments: Sequence[str],
        output: Path,
        *,
        tell: Callable[[str, float], None],
        silence_s: float = SILENCE_S,
    ) -> None:
        self.name = name
        self.output = output
        self.step: Step | None = None
        self.planned: Planned | None = None
        self.metrics: list[Metric] = []
        self._tell = tell
        self._silence_s = silence_s
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
        self._link, theirs = socket.socketpair()
        with theirs:
            self._process = version.start(
                [*arguments, "--quiet"],
                self._stderr,
                told={VARIABLE: str(theirs.fileno())},
                passed=[theirs.fileno()],
            )
        self._lines = self._link.makefile("rb")

    def open(self, kept: dict[str, Any] | None = None) -> None:
        """Let it do what comes before its first step; the second run keeps to what is planned.

        Raises
        ------
        SideError
            It ended by an error, fell silent, or speaks otherwise.
        """
        self._give({"side": self.name, "kept": kept})

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
                self._ended()
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
            self._process.kill()
            raise SideError(
                f"{self.name}: no sign within {silence_s:.0f} s{self._last_words()}"
            ) from None
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
                self.metrics = _METRICS.validate_python(told["metrics"])
        except (KeyError, TypeError, ValueError, ValidationError) as error:
            what = " ".join(str(error).split())
            raise SideError(
                f"{self.name}: found a message that does not fit ({what:.200}), expected a version "
                "that takes turns as this one does"
            ) from None
        self.step = step

    def _ended(self) -> None:
        """Collect it; it is to have ended well and to have left a document."""
        try:
            code = self._process.wait(_CLOSING_S)
        except subprocess.TimeoutExpired:
            raise SideError(
                f"{self.name}: found it running on without its turns, expected it to end"
            ) from None
        if code < 0:
            raise SideError(
                f"{self.name}: ended by {signal.Signals(-code).name}{self._last_words()}"
            )
        if code:
            raise SideError(f"{self.name}: exit code {code}{self._last_words()}", code)
        if not self.output.is_file():
            raise SideError(f"{self.name}: ended and left no document, expected {self.output}")

    def _last_words(self) -> str:
        self._stderr.seek(0)
        said = last_line(self._stderr.read().decode(errors="replace"))
        return f": {said.removeprefix('lorabench: ')}" if said else ""

    def interrupt(self) -> None:
        """Ask it to end as by Ctrl-C; a run that has ended does not mind."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)

    def collect(self) -> None:
        """Wait until it has ended, if it was interrupted; kill it if it does not."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_CLOSING_S)
        self.close()

    def close(self) -> None:
        """End it now."""
        self._process.kill()
        self._process.wait()
        self._lines.close()
        self._link.close()
        self._stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
