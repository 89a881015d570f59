"""Tables of options and metrics in docs/, made from these themselves; `make docs` writes them."""

import re
from collections.abc import Mapping
from pathlib import Path

from lorabench.cli.commands import COMMANDS
from lorabench.cli.options import options_table
from lorabench.results.registry import FAMILIES, MetricSpec

DOCS = Path(__file__).parents[2] / "docs"


def with_tables(text: str) -> str:
    """Return a page whose tables between markers are what these name: a command's, all metrics."""
    tables = {f"options: {command.name}": options_table(command) for command in COMMANDS}
    tables["metrics"] = metric_tables()
    return re.sub(
        r"<!-- ((options|metrics)(?:: \w+)?) -->\n.*?<!-- /\2 -->",
        lambda found: f"<!-- {found[1]} -->\n\n{tables[found[1]]}\n\n<!-- /{found[2]} -->",
        text,
        flags=re.DOTALL,
    )


def metric_tables() -> str:
    """Return the registry of metrics as a heading and a table for each family."""
    return "\n\n".join(f"## {name}\n\n{_table(family)}" for name, family in FAMILIES.items())


def _table(family: Mapping[str, MetricSpec]) -> str:
    rows = [
        f"| `{name}` | {spec.unit} | {spec.better} | {spec.mean} | {spec.what} |"
        for name, spec in family.items()
    ]
    return "\n".join(["| name | unit | better | mean | what |", "|---|---|---|---|---|", *rows])


if __name__ == "__main__":
    for page in sorted(DOCS.glob("*.md")):
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
