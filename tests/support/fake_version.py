"""Versions that do at their turns whatever a test says: the other end of the messages.

What a fake does is a few lines of Python that it runs in place of the command. They may call
``hear()`` and ``say(...)``, the messages of turns; ``leave()``, which writes the document; and
``note(word)``, a line in a log that all fakes of a test share. Fakes know nothing of lorabench.
"""

import shlex
import sys
from pathlib import Path

from lorabench.results.schema import Result

_MAIN = """
import json, os, signal, socket, sys, time

signal.signal(signal.SIGTERM, signal.default_int_handler)
arguments = sys.argv[1:]
output = arguments[arguments.index("-o") + 1]


def hear():
    line = lines.readline()
    if not line:
        sys.exit(9)
    return json.loads(line)


def say(**message):
    lines.write(json.dumps(message) + "\\n")
    lines.flush()


def note(word):
    with open({log!r}, "a") as file:
        file.write(word + "\\n")


def leave():
    os.makedirs(os.path.dirname(output), exist_ok=True)
    with open({document!r}) as document, open(output, "w") as file:
        file.write(document.read())


def steps(count, side, **first):
    "Take turns through so many steps; what came of the last wait."
    for number in range(count):
        say(wait=f"step {{number + 1}}", done=number / count, **first)
        first = {{}}
        told = hear()
        if not told["go"]:
            return told
        if told["report"]:
            first = {{"metrics": []}}
        note(f"{{side}} begins {{number + 1}}")
        note(f"{{side}} ends {{number + 1}}")


if "LORABENCH_TURNS" in os.environ:
    lines = socket.socket(fileno=int(os.environ["LORABENCH_TURNS"])).makefile("rw")
    told = hear()
"""


def fake_python(
    folder: Path, code: str, document: Result | None, *, turns: bool = True, wrapped: bool = False
) -> str:
    """Write an interpreter in which lorabench is the code.

    Parameters
    ----------
    folder : Path
        Of the fake's own; its parent holds the log.
    code : str
        What it runs.
    document : Result or None
        What ``leave()`` writes.
    turns : bool
        Whether it says that it takes turns.
    wrapped : bool
        Whether it is a child of the script that stands for it.
    """
    package = folder / "lorabench"
    (package / "bench").mkdir(parents=True)
    (package / "__init__.py").write_text("__version__ = '0.0'\n")
    (package / "bench/__init__.py").write_text("")
    if turns:
        (package / "bench/turns.py").write_text("PROTOCOL = 1\n")
    if document is not None:
        (folder / "document.json").write_text(document.model_dump_json(by_alias=True))
    main = _MAIN.format(log=str(log_of(folder)), document=str(folder / "document.json"))
    (package / "__main__.py").write_text(main + code)
    python = folder / "python"
    # Without site, which knows the real one.
    call = f'{shlex.quote(sys.executable)} -S "$@"'
    python.write_text(
        f"#!/bin/sh\nexport PYTHONPATH={shlex.quote(str(folder))}\n"
        + (f"{call}\nexit $?\n" if wrapped else f"exec {call}\n")
    )
    python.chmod(0o755)
    return str(python)


def log_of(folder: Path) -> Path:
    """Return where the fakes of a test write what they do."""
    return folder.parent / "log"
