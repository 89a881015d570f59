"""Tables of options in docs/, made from the options themselves; `make docs` writes them."""

import re
from pathlib import Path

from lorabench.cli.commands import COMMANDS
from lorabench.cli.options import options_table

DOCS = Path(__file__).parents[2] / "docs"


def with_tables(text: str) -> str:
    """Return a page whose tables between markers are those of the commands named there."""
    tables = {command.name: options_table(command) for command in COMMANDS}
    return re.sub(
        r"(<!-- options: (\w+) -->\n).*?(<!-- /options -->)",
        lambda found: f"{found[1]}\n{tables[found[2]]}\n\n{found[3]}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    for page in sorted(DOCS.glob("*.md")):
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
