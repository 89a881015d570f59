"""A `doctor` result as text for the terminal: the capabilities, then the conditions of colocate.

Renders any `doctor` document, fresh or read back from a file. A wide terminal has a column for how
to enable what is missing; a narrow one has it below what was found.
"""

import re
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lorabench.report.terminal import left_out, plain_table
from lorabench.results.schema import Result

_STYLES = {"available": "green", "restricted": "yellow", "unavailable": "red"}
_MARKS = {"available": "●", "restricted": "◐", "unavailable": "○"}

# Columns from which evidence and remedy stand side by side.
_WIDE = 110
# Columns that a row's name and state take up.
_HEAD_WIDTH = 30
# How a wide terminal divides the rest.
_EVIDENCE, _REMEDY = 4, 3


def render(result: Result, console: Console) -> None:
    """Print what the machine is, the table, and what can be run on it."""
    rows = result.environment["capabilities"]
    for line in _machine(result):
        console.print(Text(line, style="bold"), highlight=False)
    for line in left_out(result.environment):
        console.print(Text(line), highlight=False, soft_wrap=True)
    console.print()
    console.print(_table(rows, console.width))
    console.print()
    console.print(_conditions(result.environment["conditions"]))
    console.print()
    counts = {state: sum(row["state"] == state for row in rows) for state in _STYLES}
    parts = [Text(f"{count} {state}", _STYLES[state]) for state, count in counts.items()]
    console.print(Text.assemble("capabilities: ", Text(", ").join(parts)), highlight=False)


def shorten(evidence: str) -> str:
    """Leave out the middle of long paths; the document keeps them whole.

    Parameters
    ----------
    evidence : str
        Paths as the machine names them, and what they say.

    Examples
    --------
    >>> shorten("/sys/kernel/mm/transparent_hugepage/enabled: madvise")
    '/sys/…/transparent_hugepage/enabled: madvise'
    """
    return re.sub(
        r"(?<![^ ])(/[^/ ]+)(?:/[^/ ]+)+((?:/[^/ ]+){2})(?=[ ,;:]|$)", r"\1/…\2", evidence
    )


def _machine(result: Result) -> list[str]:
    environment = result.environment
    parts = [environment["cpu"]["brand_raw"] or "unknown processor"]
    for name, word in (("cpus_online", "CPU"), ("numa_nodes", "NUMA node")):
        count = _number(result, name)
        if count:
            parts.append(f"{count:,.0f} {word}{'' if count == 1 else 's'}")
    memory = _number(result, "memory_bytes")
    if memory:
        parts.append(f"{memory / (1 << 30):,.4g} GiB")
    if environment["kernel"]:
        parts.append(f"Linux {environment['kernel']}")
    lines = [", ".join(" ".join(part.split()) for part in parts)]
    sysroot = result.config["sysroot"]
    return lines if sysroot == "/" else [*lines, f"as recorded in {sysroot}"]


def _number(result: Result, name: str) -> float:
    metric = result.metric(name, "machine")
    return (metric.estimate or 0.0) if metric else 0.0


def _table(rows: list[dict[str, Any]], width: int) -> Table:
    table = _plain_table("capability", "state")
    wide = width >= _WIDE
    room = width - _HEAD_WIDTH
    if wide:
        room = room * _EVIDENCE // (_EVIDENCE + _REMEDY) - 1
        table.expand = True
        table.add_column("evidence", ratio=_EVIDENCE, overflow="fold")
        table.add_column("how to enable", ratio=_REMEDY, overflow="fold")
    else:
        table.add_column("evidence; → how to enable", overflow="fold")
    area = above = None
    for row in rows:
        if row["area"] != area:
            area, above = row["area"], None
            table.add_row(Text(area, style="bold"))
        remedy = row["enable"]
        # Several rows often wait for one and the same thing.
        repeats = bool(remedy) and remedy == above
        above = remedy or above
        evidence = shorten(row["evidence"])
        gap = " · " if len(row["detail"]) + len(evidence) + 3 <= room else "\n"
        found = Text.assemble(row["detail"], gap, (evidence, "dim"))
        if wide:
            table.add_row(*_head(row), found, Text("as above" if repeats else remedy))
        elif repeats:
            last = len(found.plain.rpartition("\n")[2])
            mark = " → as above" if last + len(" → as above") <= room else "\n→ as above"
            found.append(mark, style=_STYLES[row["state"]])
            table.add_row(*_head(row), found)
        else:
            table.add_row(*_head(row), _with_remedy(found, remedy, row["state"]))
    return table


def _conditions(rows: list[dict[str, Any]]) -> Table:
    table = _plain_table("condition", "state")
    table.add_column("where the trainer of lorabench colocate runs")
    for row in rows:
        table.add_row(*_head(row), _with_remedy(Text(row["detail"]), row["enable"], row["state"]))
    return table


def _plain_table(*columns: str) -> Table:
    table = plain_table(padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _head(row: dict[str, Any]) -> tuple[Text, Text]:
    style = _STYLES[row["state"]]
    name = Text.assemble((f"{_MARKS[row['state']]} ", style), row["name"])
    return name, Text(row["state"], style=style)


def _with_remedy(found: Text, remedy: str, state: str) -> Text:
    return Text.assemble(found, (f"\n→ {remedy}", _STYLES[state])) if remedy else found
