"""A report as Markdown to paste into an issue or a job summary: verdicts and tables, no plots.

Text of a document is escaped, so that it is text there too: GitHub, which also makes links of
names, numbers and addresses in plain text, finds none in it.
"""

import html
import re
from collections.abc import Iterator

from lorabench.report.content import Report, Section, Table

_SPECIAL = re.compile(r"([\\`*_\[\]|~#$])")
# What GitHub makes of @name, #12, GH-12, ://, www. and :name: no backslash prevents: it looks for
# them in what was made of Markdown. A space of no width within does.
_LINKED = re.compile(
    r"@(?=\w)|#(?=\d)|\bgh-(?=\d)|:(?=//)|www\.(?=\w)|:(?=[a-z+][\w+-]*:)", re.IGNORECASE
)
_NO_WIDTH = "&#8203;"
# Where a line begins: a list, a rule, or a heading underlined.
_BEGINS = re.compile(r"^(\d*)([-+=.)])")
_MARKS = {"met": "✓", "missed": "✗", "inconclusive": "?"}


def markdown(report: Report) -> str:
    """Return a report as Markdown."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"# {escaped(report.title)}"
    yield ""
    yield sentence(report.about)
    for section in report.overview:
        yield from _section(section, 2)
    for chapter in report.chapters:
        level = 2
        if report.overview:
            yield from ("", f"## {escaped(chapter.title)}", "", sentence(chapter.about))
            level = 3
        for section in chapter.sections:
            yield from _section(section, level)


def _section(section: Section, level: int) -> Iterator[str]:
    shown = section.words or section.verdicts or section.facts or section.tables
    if not (shown or section.figures or section.code):
        return
    yield from ("", f"{'#' * level} {escaped(section.title)}")
    for one in section.words:
        yield from ("", sentence(one))
    if section.verdicts:
        yield ""
        head = ("", "claim", "found", "limit", "why")
        rows = (
            (
                f"{_MARKS.get(one.verdict, '-')} {one.verdict}",
                f"{one.claim}: {one.statement}",
                one.figure,
                one.limit,
                " ".join(one.reasons),
            )
            for one in section.verdicts
        )
        yield from _table(Table("", head, tuple(rows), words=len(head)))
    if section.facts:
        yield ""
        yield from (f"- {sentence(name)}: {escaped(value)}" for name, value in section.facts)
    tables = [*(figure.table for figure in section.figures), *section.tables]
    for table in tables:
        yield from ("", f"**{escaped(table.caption)}**", "")
        yield from _table(table)
    if section.code:
        # Longer than any fence within.
        fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", section.code)), default=0))
        yield from ("", f"{fence}sh", section.code, fence)


def _table(table: Table) -> Iterator[str]:
    yield f"| {' | '.join(map(escaped, table.head))} |"
    rules = ["---" if place < table.words else "--:" for place in range(len(table.head))]
    yield f"|{'|'.join(rules)}|"
    for row in table.rows:
        yield f"| {' | '.join(map(escaped, row))} |"
    if table.left_out:
        yield from ("", f"{table.left_out:,} more rows are in the document.")


def escaped(text: str) -> str:
    """Return a text that Markdown shows as it is, within a line."""
    plain = _SPECIAL.sub(r"\\\1", html.escape(" ".join(text.split()), quote=False))
    return _LINKED.sub(rf"\g<0>{_NO_WIDTH}", plain)


def sentence(text: str) -> str:
    """Return a text that Markdown shows as it is, at the beginning of a line or an item."""
    return _BEGINS.sub(r"\1\\\2", escaped(text))
