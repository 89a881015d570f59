"""A plot as SVG that a page can hold: vl-convert draws it, and only what is known is kept of that.

No browser and no network. The picture is parsed and written anew from a list of elements and
attributes, without styles, links or scripts, so that whatever a document said is text in it; and
without roles, since a plot is one image to a screen reader. That also makes it less than half as
long. Colours are attributes, which a style sheet can replace for a dark screen.
"""

import re
from typing import Any
from xml.etree import ElementTree

import vl_convert

_ELEMENTS = frozenset(("svg", "g", "path", "line", "rect", "text", "tspan", "circle"))
_ATTRIBUTES = frozenset(
    (
        *("d", "x", "y", "x1", "x2", "y1", "y2", "width", "height", "r", "cx", "cy", "transform"),
        *("fill", "stroke", "stroke-width", "stroke-dasharray", "opacity"),
        *("text-anchor", "font-size", "font-weight"),
    )
)
# What every element has that says nothing of the sort.
_DEFAULTS = {("opacity", "1"), ("stroke-width", "1"), ("font-weight", "normal")}
_DECIMALS = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
# Backgrounds and foregrounds of groups, and marks without a shape.
_EMPTY = ("", "M0,0h0v0h0Z")
# A filled point, which Vega draws as two arcs.
_DOT = re.compile(r"M([\d.]+),0A\1,\1,0,1,1,-\1,0A\1,\1,0,1,1,\1,0Z?")
# What XML cannot hold.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def draw(chart: dict[str, Any], name: str, title: str) -> str:
    """Return a plot as an ``svg`` element of HTML.

    Parameters
    ----------
    chart : dict
        Vega-Lite specification.
    name : str
        Its id on the page.
    title : str
        What a screen reader says of it.
    """
    drawn = vl_convert.vegalite_to_svg(printable(chart), allowed_base_urls=[])
    root = ElementTree.fromstring(drawn)
    width, height = root.get("width", "0"), root.get("height", "0")
    kept = _kept(root)
    svg = ElementTree.Element(
        "svg", {"id": name, "role": "img", "aria-labelledby": f"{name}-title"}
    )
    svg.set("viewBox", f"0 0 {_rounded(width)} {_rounded(height)}")
    svg.set("width", _rounded(width))
    svg.set("height", _rounded(height))
    named = ElementTree.SubElement(svg, "title", {"id": f"{name}-title"})
    named.text = _CONTROL.sub("", title)
    svg.extend(kept)
    return ElementTree.tostring(svg, encoding="unicode", short_empty_elements=True)


def image(chart: dict[str, Any]) -> bytes:
    """Return a plot as PNG, on white and twice as large as on a page."""
    spec = printable(chart)
    spec["config"] = {**spec.get("config", {}), "background": "white"}
    drawn: bytes = vl_convert.vegalite_to_png(spec, scale=2, allowed_base_urls=[])
    return drawn


def printable(value: Any) -> Any:
    """Return a specification whose texts an XML document can hold."""
    if isinstance(value, str):
        return _CONTROL.sub("", value)
    if isinstance(value, dict):
        return {key: printable(one) for key, one in value.items()}
    if isinstance(value, list):
        return [printable(one) for one in value]
    return value


def _kept(element: ElementTree.Element) -> list[ElementTree.Element]:
    """Return what is kept of the children of an element; a group that does nothing is not."""
    found: list[ElementTree.Element] = []
    for child in element:
        tag = child.tag.rpartition("}")[2]
        if tag not in _ELEMENTS or child.get("display") == "none" or _invisible(tag, child):
            continue
        inside = _kept(child)
        attributes = _attributes(child)
        if tag == "g" and (not attributes or not inside):
            found += inside
            continue
        if tag == "g" and len(inside) == 1 and set(attributes) == {"transform"}:
            inner = inside[0]
            if inner.tag != "g" or set(inner.attrib) <= {"transform"}:
                both = f"{attributes['transform']}{inner.get('transform', '')}"
                inner.set("transform", _joined(both))
                found.append(inner)
                continue
        if tag == "path" and (dot := _DOT.fullmatch(attributes.get("d", ""))):
            del attributes["d"]
            tag, attributes["r"] = "circle", dot[1]
        kept = ElementTree.Element(tag, attributes)
        kept.text = child.text if tag in ("text", "tspan") else None
        kept.extend(inside)
        found.append(kept)
    return found


def _invisible(tag: str, element: ElementTree.Element) -> bool:
    if tag != "path":
        return False
    ground = element.get("class") in ("background", "foreground")
    return element.get("d") in _EMPTY or (ground and not element.get("stroke"))


def _attributes(element: ElementTree.Element) -> dict[str, str]:
    found = {
        key: _rounded(value)
        for key, value in element.attrib.items()
        if key in _ATTRIBUTES and (key, value) not in _DEFAULTS
    }
    if found.get("transform") == "translate(0,0)":
        del found["transform"]
    return found


def _joined(transform: str) -> str:
    """Add two moves up."""
    moves = re.fullmatch(r"translate\(([^,]+),([^)]+)\)translate\(([^,]+),([^)]+)\)", transform)
    if moves is None:
        return transform
    x1, y1, x2, y2 = map(float, moves.groups())
    return f"translate({_short(x1 + x2)},{_short(y1 + y2)})"


def _rounded(text: str) -> str:
    return _DECIMALS.sub(lambda found: _short(float(found[0])), text)


def _short(value: float) -> str:
    return "0" if abs(value) < 0.05 else f"{value:.1f}".removesuffix(".0")
