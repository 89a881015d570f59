"""A plot on a page has its shapes and its texts, and nothing that could do anything."""

from xml.etree import ElementTree

from lorabench.report.html.svg import draw, image
from lorabench.report.plots.common import Rule
from lorabench.report.plots.intervals import Mark, intervals

HOSTILE = "</text><script>alert(1)</script>\x00\ud800&'\"]]>"
MARKS = [Mark("solo", "raw", 1.0, 0.5, 1.5, "1.0"), Mark(HOSTILE, "raw", 2.0, None, None, HOSTILE)]


def test_it_is_an_image_with_a_title() -> None:
    root = ElementTree.fromstring(draw(intervals(MARKS, "ms"), "plot-1", "p99 by condition"))
    assert (root.tag, root.get("role"), root.get("aria-labelledby")) == (
        "svg",
        "img",
        "plot-1-title",
    )
    assert root[0].tag == "title"
    assert (root[0].get("id"), root[0].text) == ("plot-1-title", "p99 by condition")


def test_texts_of_a_document_are_text() -> None:
    chart = intervals(MARKS, HOSTILE, rules=[Rule(1.0, HOSTILE)])
    svg = draw(chart, "plot-1", HOSTILE)
    tags = {element.tag for element in ElementTree.fromstring(svg).iter()}
    assert tags <= {"svg", "title", "g", "path", "line", "rect", "text", "circle"}
    assert "<script" not in svg
    assert "&lt;script&gt;" in svg


def test_nothing_but_shapes_and_colours_is_kept() -> None:
    known = {"id", "role", "aria-labelledby", "viewBox", "width", "height", "d", "r", "transform"}
    known |= {"x", "y", "x1", "x2", "y1", "y2", "fill", "stroke", "stroke-width", "opacity"}
    known |= {"stroke-dasharray", "text-anchor", "font-size", "font-weight"}
    root = ElementTree.fromstring(draw(intervals(MARKS, "ms"), "plot-1", "t"))
    assert {key for element in root.iter() for key in element.attrib} <= known
    assert [element.get("r") for element in root.iter("circle")] == ["3.9", "3.9"]


def test_an_image_is_png() -> None:
    assert image(intervals(MARKS, "ms")).startswith(b"\x89PNG\r\n")
