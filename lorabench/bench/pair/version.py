"""An installed version, as its interpreter tells of it, and how a command of it is started.

It is run by ``PYTHON -m lorabench`` in all but name: nothing of the working folder is imported
(PYTHONSAFEPATH), where a checkout of another version may well lie, and it ends with who started
it, though it may be too old to see to that itself.
"""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Self

from lorabench.bench.turns import PROTOCOL
from lorabench.errors import InputError

# The first import of an editable install may build it.
_PROBE_S = 600.0

_PROBE = """
import importlib.util, json
import lorabench
turns = importlib.util.find_spec("lorabench.bench") and \
    importlib.util.find_spec("lorabench.bench.turns")
if turns:
    from lorabench.bench.turns import PROTOCOL as turns
print(json.dumps({"version": lorabench.__version__, "turns": turns or None}))
"""

# The kernel's parent-death signal, as of lorabench.isolation.lifetime; what is started need not
# have that. A wrapper that is no exec may stand between, so that only a parent that is gone counts.
_ENTRY = """
import ctypes, os, runpy, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
try:
    os.kill(int(sys.argv.pop(1)), 0)
except ProcessLookupError:
    os._exit(1)
except PermissionError:
    pass
telling = int(sys.argv.pop(1))
try:
    os.write(telling, b"%d" % os.getpid())
    os.close(telling)
except OSError:  # a wrapper has closed it
    pass
runpy.run_module("lorabench", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Version:
    """A version that is installed.

    Parameters
    ----------
    python : str
        Its interpreter.
    version : str
        What it calls itself.
    turns : int or None
        Which protocol of turns it knows (`lorabench.bench.turns`); None for none.
    """

    python: str
    version: str
    turns: int | None

    @classmethod
    def ask(cls, python: str) -> Self:
        """Ask an interpreter for its version.

        Raises
        ------
        InputError
            It cannot be started, or has no lorabench.
        """
        expected = "expected a Python that has lorabench installed"
        try:
            ran = subprocess.run(
                [python, "-c", _PROBE],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_PROBE_S,
                env=_environment({}),
                check=False,
            )
        except OSError as error:
            raise InputError(
                f"{python}: cannot be started ({error.strerror}); {expected}"
            ) from None
        except subprocess.TimeoutExpired:
            raise InputError(f"{python}: no answer within {_PROBE_S:.0f} s; {expected}") from None
        try:
            found = json.loads(ran.stdout.splitlines()[-1])
            return cls(python, str(found["version"]), found["turns"])
        except (ValueError, LookupError, TypeError):
            said = last_line(ran.stderr) or last_line(ran.stdout) or "nothing"
            raise InputError(f"{python}: found {said:.200}; {expected}") from None

    @property
    def takes_turns(self) -> bool:
        """Whether it can be interleaved without being started anew for each step."""
        return self.turns == PROTOCOL

    def start(
        self,
        arguments: Sequence[str],
        stderr: IO[bytes],
        telling: int,
        *,
        told: Mapping[str, str] | None = None,
        passed: Sequence[int] = (),
    ) -> "subprocess.Popen[bytes]":
        """Start its command; it ends with the process that calls this from its main thread.

        In a process group of its own, so that a Ctrl-C on the terminal is this process's to pass
        on.

        Parameters
        ----------
        arguments : sequence of str
            Of the command.
        stderr : file
            Where its messages go.
        telling : int
            Descriptor that it writes its process id to: a wrapper may stand between.
        told : mapping, optional
            What its environment says beside what this one's does.
        passed : sequence of int
            Descriptors that it gets.
        """
        return subprocess.Popen(
            [self.python, "-c", _ENTRY, str(os.getpid()), str(telling), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env=_environment(told or {}),
            pass_fds=(telling, *passed),
            process_group=0,
        )


def _environment(told: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, "PYTHONSAFEPATH": "1", **told}


def last_line(text: str) -> str:
    """Return the last line that says something, as one that can be printed."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "".join(c for c in lines[-1] if c.isprintable()) if lines else ""
