"""A page that can be sent: what does not fit is left out, and each section says what that was."""

from collections.abc import Mapping
from dataclasses import replace

from lorabench.report.content import Chapter, Figure, Report, Section

_LEFT_OUT = "Left out, for the page to stay small enough to send: "


def without_last(report: Report, sizes: Mapping[int, int], excess: int) -> Report:
    """Return a report without some plots and their numbers; the same one where there are none.

    Parameters
    ----------
    report : Report
        It: the plots of a chapter stand in the order in which they matter.
    sizes : mapping of int to int
        Bytes of each plot by the figure's identity.
    excess : int
        Bytes to save. The last plots of the chapters with the most of them go first, so that every
        result keeps the ones that matter.
    """
    parts = (report.overview, *(one.sections for one in report.chapters))
    placed = [
        (place, id(figure))
        for sections in parts
        for place, figure in enumerate(f for one in sections for f in one.figures)
    ]
    dropped: set[int] = set()
    for _, key in sorted(placed, key=lambda one: one[0], reverse=True):
        if excess <= 0:
            break
        dropped.add(key)
        excess -= sizes[key]
    if not dropped:
        return report
    alone = len(report.chapters) == 1
    return replace(
        report,
        overview=tuple(_without(one, dropped, alone) for one in report.overview),
        chapters=tuple(_chapter(one, dropped, alone) for one in report.chapters),
    )


def _chapter(chapter: Chapter, dropped: set[int], alone: bool) -> Chapter:
    return replace(
        chapter, sections=tuple(_without(one, dropped, alone) for one in chapter.sections)
    )


def _without(section: Section, dropped: set[int], alone: bool) -> Section:
    gone: list[Figure] = [one for one in section.figures if id(one) in dropped]
    if not gone:
        return section
    where = "The document has" if alone else "A report of this result alone has"
    names = "; ".join(one.title for one in gone)
    return replace(
        section,
        words=(*section.words, f"{_LEFT_OUT}{names}. {where} them."),
        figures=tuple(one for one in section.figures if id(one) not in dropped),
    )
