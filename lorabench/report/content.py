"""What a report says, before it has a format: sections of sentences, verdicts, plots and tables.

`lorabench.report.sections` makes them of result documents; HTML, Markdown and images are made of
them. All text is plain: what a format must escape, it escapes itself.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

MOST_ROWS = 200
"""A table with more rows says how many it leaves out: a page is to be read."""


@dataclass(frozen=True)
class Table:
    """Numbers, or words, in rows.

    Parameters
    ----------
    caption : str
        What they are.
    head : tuple of str
        Headings of the columns.
    rows : tuple of tuple of str
        Cells; the first of a row is its heading.
    words : int
        How many columns, from the left, hold words; the others hold numbers.
    left_out : int
        Rows that there are beside these.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1
    left_out: int = 0

    @classmethod
    def of(
        cls, caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1
    ) -> "Table":
        """Return a table of at most so many rows as can be read."""
        kept = tuple(map(tuple, rows[:MOST_ROWS]))
        return cls(caption, tuple(head), kept, words, len(rows) - len(kept))


@dataclass(frozen=True)
class Figure:
    """A plot with what it shows in words, and the numbers that it draws.

    Parameters
    ----------
    title : str
        Its heading.
    told : str
        What it shows and how to read it, in a sentence or two.
    chart : dict
        Vega-Lite specification.
    table : Table
        Its numbers.
    """

    title: str
    told: str
    chart: dict[str, Any]
    table: Table


@dataclass(frozen=True)
class Verdict:
    """A claim as it is shown: what was asked, what was found, against which limit, and why."""

    claim: str
    verdict: str
    statement: str
    figure: str
    limit: str
    basis: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """A part of a report that answers one question.

    Parameters
    ----------
    title : str
        Its heading.
    words : tuple of str
        Sentences at its beginning.
    verdicts : tuple of Verdict
        Claims.
    facts : tuple of (str, str)
        Names and values.
    figures : tuple of Figure
        Plots.
    tables : tuple of Table
        What is told by numbers alone.
    folded : tuple of Table
        What only some will want to see.
    code : str
        A command to run.
    """

    title: str
    words: tuple[str, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    folded: tuple[Table, ...] = ()
    code: str = ""


@dataclass(frozen=True)
class Chapter:
    """All that is said of one result.

    Parameters
    ----------
    title : str
        Its heading; no two of a report have the same.
    about : str
        A line below that: when, by which version.
    sections : tuple of Section
        In the order in which they are read.
    """

    title: str
    about: str
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Report:
    """One page: a single chapter, or an overview with a chapter for each of several results."""

    title: str
    about: str
    overview: tuple[Section, ...]
    chapters: tuple[Chapter, ...]

    def anchors(self) -> dict[int, str]:
        """Return an anchor for each section, by the section's identity; no two are the same."""
        alone = len(self.chapters) == 1 and not self.overview
        parts = [("", self.overview)]
        parts += [
            ("" if alone else f"chapter-{number}-", chapter.sections)
            for number, chapter in enumerate(self.chapters, 1)
        ]
        found: dict[int, str] = {}
        taken: set[str] = set()
        for prefix, sections in parts:
            for section in sections:
                name = f"{prefix}{slug(section.title)}"
                # Titles may be alike where a stranger's words are in them.
                anchor, number = name, 1
                while anchor in taken:
                    number += 1
                    anchor = f"{name}-{number}"
                taken.add(anchor)
                found[id(section)] = anchor
        return found

    def figures(self) -> Iterator[tuple[str, Figure]]:
        """Return all plots in their order, each with a name for a file or an anchor."""
        number = 0
        for part in (self.overview, *(chapter.sections for chapter in self.chapters)):
            for section in part:
                for figure in section.figures:
                    number += 1
                    yield f"{number:02d}-{slug(figure.title)}", figure


def slug(text: str) -> str:
    """Write a title with lower-case letters, digits and dashes alone."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "untitled"
