"""Markdown has the verdicts and the tables, and texts of a document stay text."""

import html
import re
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from lorabench.report.chapter import Source, report
from lorabench.report.markdown import escaped, markdown, sentence
from lorabench.results.files import read_result

DOCUMENTS = Path(__file__).parents[2] / "data/schema1"


def test_it_has_verdicts_tables_and_the_command() -> None:
    result = read_result(DOCUMENTS / "colocate.json")
    source = Source("a.json", result, None, "lorabench colocate --seed 1", ())
    text = markdown(report([source], (50.0,)))
    assert text.startswith("# lorabench colocate: 1 of 3 claims met\n")
    assert "\n| ✓ met | memory.budget: all LoRA state under 2 % of the EMT bytes" in text
    assert "\n**Latency from scheduled arrival to answer**\n" in text
    assert "\n```sh\nlorabench colocate --seed 1\n```\n" in text
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = [re.sub(r"\\.", "", row).count("|") for row in table.splitlines()]
        assert len(set(rows)) == 1


LINKED = "@user, a@b.c, #12, owner/repo#12, GH-12, https://x.y, www.x.y, :smile:"
MARKS = st.sampled_from(" \n\\`*_[]()<>|~#&$!-+=.:/@1ax\"'")
SPECIAL = st.text(MARKS | st.characters(codec="utf-8"))


@given(SPECIAL)
@example(LINKED)
@example("- a")
@example("+ a")
@example("1. a")
@example("12) a")
@example("---")
@example("===")
@example("# a")
@example("> a")
@example("&amp; <b>")
def test_every_text_is_shown_as_it_is(text: str) -> None:
    plain = " ".join(text.replace("\0", "").split())
    made = MarkdownIt("commonmark").enable("table").render(sentence(plain))
    shown = html.unescape(made.removeprefix("<p>").removesuffix("</p>\n"))
    assert "<" not in made.removeprefix("<p>").removesuffix("</p>\n")
    assert shown.replace("\u200b", "") == plain.replace("\u200b", "")
    # Within a row and an item it is no other.
    assert "\n" not in escaped(plain)
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*_\[\]<>|~$]", escaped(plain))


def test_github_finds_nothing_to_link() -> None:
    shown = html.unescape(escaped(LINKED)).replace("\\", "")
    assert not re.search(r"@\w|#\d|GH-\d|://|www\.\w|:smile:", shown)
    assert escaped("12:30:10, a: b") == "12:30:10, a: b"
