"""Markdown has the verdicts and the tables, and texts of a document stay text."""

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lorabench.report.chapter import Source, report
from lorabench.report.markdown import escaped, markdown
from lorabench.results.files import read_result

DOCUMENTS = Path(__file__).parents[2] / "data/schema1"


def test_it_has_verdicts_tables_and_the_command() -> None:
    result = read_result(DOCUMENTS / "colocate.json")
    source = Source("a.json", result, None, "lorabench colocate --seed 1", ())
    text = markdown(report([source], (50.0,)))
    assert text.startswith("# lorabench colocate\n")
    assert "\n| ✓ met | memory.budget: all LoRA state under 2 % of the EMT bytes" in text
    assert "\n**Latency from scheduled arrival to answer**\n" in text
    assert "\n```sh\nlorabench colocate --seed 1\n```\n" in text
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = [re.sub(r"\\.", "", row).count("|") for row in table.splitlines()]
        assert len(set(rows)) == 1


@given(st.text())
def test_no_text_breaks_a_row_or_means_anything(text: str) -> None:
    found = escaped(text)
    assert "\n" not in found
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*_\[\]<>|~#&]", found)
