"""A run of a version as a process: how it ended, what it said last, how it is ended."""

import contextlib
import io
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from lorabench.bench.pair.version import Version, last_line
from lorabench.errors import InputError, LorabenchError, MachineError

CLOSING_S = 60.0
"""How long a run may take to put its document together once it was interrupted."""


class SideError(LorabenchError):
    """A run of a pair ended before its time or fell silent (exit 2, or what the run said).

    Never 1 or 4, which are of gates: where a version cannot be run, none was held.
    """

    def __init__(self, text: str, exit_code: int = InputError.exit_code) -> None:
        super().__init__(text)
        kept = (InputError.exit_code, MachineError.exit_code)
        self.exit_code = exit_code if exit_code in kept else InputError.exit_code


class RunProcess:
    """A run of a version; leaving the context ends it.

    Parameters
    ----------
    name : str
        For messages: ``base`` or ``head``.
    version : Version
        Whose.
    arguments : sequence of str
        Of the command; where its document goes is added.
    output : Path
        That document.
    told : mapping, optional
        What its environment says beside what this one's does.
    passed : sequence of int
        Descriptors that it gets.
    """

    def __init__(
        self,
        name: str,
        version: Version,
        arguments: Sequence[str],
        output: Path,
        *,
        told: Mapping[str, str] | None = None,
        passed: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.output = output
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process runs
        self._pid = b""
        telling, theirs = os.pipe()
        os.set_blocking(telling, False)
        self._telling = io.FileIO(telling)
        words = [*arguments, "-o", str(output), "--quiet"]
        try:
            self.process = version.start(words, self._stderr, theirs, told=told, passed=passed)
        finally:
            os.close(theirs)

    def finish(self, timeout_s: float) -> None:
        """Wait for its end; it is to have ended well and to have left a document.

        Raises
        ------
        SideError
            It has not, or runs on after `timeout_s`; then it is killed.
        """
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise self.silent(timeout_s) from None
        if code < 0:
            raise SideError(f"{self.name}: ended by {signal.Signals(-code).name}{self._said()}")
        if code:
            raise SideError(f"{self.name}: exit code {code}{self._said()}", code)
        if not self.output.is_file():
            raise SideError(f"{self.name}: ended and left no document, expected {self.output}")

    def silent(self, timeout_s: float) -> SideError:
        """Kill it, since it gave no sign for so long; return the error."""
        self.process.kill()
        return SideError(f"{self.name}: no sign within {timeout_s:.0f} s{self._said()}")

    def _said(self) -> str:
        self._stderr.seek(0)
        said = last_line(self._stderr.read().decode(errors="replace"))
        return f": {said.removeprefix('lorabench: ')}" if said else ""

    def interrupt(self) -> None:
        """Ask it to end as by Ctrl-C; a run that has ended does not mind.

        By SIGTERM, which the command takes for the same: in the background of a script, as in CI,
        processes ignore SIGINT and hand that down. Its own process gets it, and not a wrapper that
        stands before it: with that one it would die, and keep nothing.
        """
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._interpreter(), signal.SIGTERM)

    def _interpreter(self) -> int:
        """Return the process that runs the command; what was started where it told of none yet."""
        self._pid = self._pid or self._telling.read() or b""
        try:
            told = int(self._pid)
            # In a container the number is another process's here, which has another group.
            return told if os.getpgid(told) == self.process.pid else self.process.pid
        except (ValueError, OSError):
            return self.process.pid

    def collect(self) -> None:
        """Wait until it has ended, once it was interrupted; kill it if it does not."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(CLOSING_S)
        self.close()

    def close(self) -> None:
        """End it now."""
        self.process.kill()
        self.process.wait()
        self._stderr.close()
        self._telling.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def end(runs: Sequence[RunProcess]) -> None:
    """Have runs end and keep what they have finished, all at once."""
    for run in runs:
        run.interrupt()
    for run in runs:
        run.collect()
