"""Commands that read documents start at once: none waits for what takes seconds to import.

Asked of a fresh interpreter that runs the whole command on a real document.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from lorabench.documents import COMMANDS

DATA = Path(__file__).parents[2] / "data/schema2"
DOCUMENT = str(DATA / "colocate.json")

HEAVY = {"torch", "scipy.stats", "cpuinfo", "altair", "vl_convert", "jinja2", "pandas", "polars"}

# How each is called, and what it does not need then: the library of a format not asked for.
CALLS: dict[str, list[tuple[list[str], set[str]]]] = {
    "compare": [([DOCUMENT, DOCUMENT], {"hdrh", "pyperf"})],
    "show": [([DOCUMENT], {"hdrh", "pyperf"})],
    "export": [
        ([DOCUMENT, "--openmetrics", "-"], {"hdrh", "pyperf"}),
        ([DOCUMENT, "--pyperf", "-"], {"hdrh"}),
    ],
}
# What draws plots loads what draws them.
APART = {"report"}


def loaded(*arguments: str) -> set[str]:
    program = (
        "import sys, lorabench.cli\ntry:\n    lorabench.cli.main()\n"
        "finally:\n    print(*sys.modules, file=sys.stderr)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return set(run.stderr.split())


def test_every_command_is_asked() -> None:
    assert CALLS.keys() == {command.name for command in COMMANDS} - APART


@pytest.mark.parametrize(
    ("name", "arguments", "unneeded"),
    [(name, *call) for name, calls in CALLS.items() for call in calls],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nothing_heavy_is_loaded(name: str, arguments: list[str], unneeded: set[str]) -> None:
    found = loaded(name, *arguments)
    assert "lorabench.results.files" in found
    assert not found & (HEAVY | unneeded)
