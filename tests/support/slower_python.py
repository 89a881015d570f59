"""A Python whose lorabench is slower by as much as one likes, with nothing changed in lorabench.

What `slower_python` writes is a script that starts this interpreter with a ``sitecustomize``, which
every process has that is started from it, the servers of a node among them. Once the module of a
function is imported, each call of that function is made to last longer.
"""

import shlex
import sys
from pathlib import Path

SCORE = "lorabench.targets.node.server:Server._score"
"""What a server does for a batch."""

_SITE = """
import functools
import importlib.util
import sys
import time


class Slower:
    def find_spec(self, name, path=None, target=None):
        if name != {module!r}:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            *owners, last = {function!r}.split(".")
            owner = functools.reduce(getattr, owners, module)
            setattr(owner, last, slowed(getattr(owner, last)))

        spec.loader.exec_module = exec_module
        return spec


def slowed(function):
    @functools.wraps(function)
    def run(*given, **named):
        begun = time.perf_counter()
        found = function(*given, **named)
        now = time.perf_counter()
        until = now + {share!r} * (now - begun) + {seconds!r}
        while time.perf_counter() < until:
            pass
        return found

    return run


sys.meta_path.insert(0, Slower())
"""


def slower_python(
    folder: Path, what: str = SCORE, *, share: float = 0.0, seconds: float = 0.0
) -> Path:
    """Write an interpreter in which every call of a function lasts longer.

    Parameters
    ----------
    folder : Path
        Where it is written; made if need be.
    what : str
        ``module:function``, or a method of a class in it.
    share : float
        By how much of what the call took.
    seconds : float
        By how much besides.

    Returns
    -------
    Path
        The interpreter.
    """
    folder.mkdir(parents=True, exist_ok=True)
    module, function = what.split(":")
    (folder / "sitecustomize.py").write_text(
        _SITE.format(module=module, function=function, share=share, seconds=seconds)
    )
    return wrapped_python(folder, f"PYTHONPATH={shlex.quote(str(folder))}")


def wrapped_python(folder: Path, environment: str = "") -> Path:
    """Write a script that starts this interpreter with more in its environment."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "python"
    path.write_text(f'#!/bin/sh\nexec env {environment} {shlex.quote(sys.executable)} "$@"\n')
    path.chmod(0o755)
    return path
