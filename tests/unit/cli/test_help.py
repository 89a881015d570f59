"""What --help shows: the common case on one screen, panels in one order; docs/ say the same."""

import functools
import os
import re
import subprocess

import pytest
from command import COMMAND as PROGRAM
from command_contract import loaded_by_listing
from option_docs import DOCS, with_tables

from lorabench.bench.options import RARE
from lorabench.cli.commands import COMMANDS
from lorabench.results.registry import METRICS

SCREEN_LINES = 40

EACH = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)


@functools.cache
def shown(*arguments: str) -> str:
    run = subprocess.run(
        [PROGRAM, *arguments],
        env=os.environ | {"COLUMNS": "100", "TERM": "dumb"},
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.strip()


@EACH
def test_the_common_case_fits_a_screen(command) -> None:
    common, *_ = re.split(f"\n.*─ {RARE} ─", shown(command.name, "--help"))
    assert len(common.splitlines()) <= SCREEN_LINES, common


@EACH
def test_panels_come_in_one_order_and_what_is_rare_last(command) -> None:
    panels = re.findall(r"^╭─ (.+?) ─", shown(command.name, "--help"), re.MULTILINE)
    order = ("Arguments", "Input", "Run", "Output", RARE)
    assert panels == sorted(panels, key=order.index)
    assert "Output" in panels


@EACH
def test_help_has_the_one_example(command) -> None:
    text = " ".join(shown(command.name, "--help").split())
    assert text.count("Example:") == 1
    assert f"Example: {command.example}" in text


def test_all_commands_are_listed() -> None:
    text = shown("--help")
    assert {command.name for command in COMMANDS} <= set(text.split())


@EACH
def test_docs_list_its_options(command) -> None:
    page = (DOCS / f"{command.name}.md").read_text(encoding="utf-8")
    assert f"<!-- options: {command.name} -->" in page


def test_docs_list_all_metrics() -> None:
    page = (DOCS / "metrics.md").read_text(encoding="utf-8")
    assert [name for name in METRICS if f"\n| `{name}` |" not in page] == []


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_docs_list_options_and_metrics_as_they_are(page) -> None:
    text = page.read_text(encoding="utf-8")
    assert with_tables(text) == text, "make docs"


def test_listing_commands_loads_nothing_heavy() -> None:
    heavy = {"torch", "numpy", "scipy", "pyarrow", "pydantic", "psutil", "pyperf"}
    assert not heavy & loaded_by_listing()
