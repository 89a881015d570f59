"""A report as one HTML file that needs nothing else: no script, no font, no network.

Jinja2 escapes every text; plots are SVG that was written anew (`lorabench.report.html.svg`). The
page forbids itself everything but its own style sheet, by its hash, so that even a text that got
through would do nothing. `interactive` adds Vega, which draws the same plots again with values
under the pointer, as a script that the page allows by its hash.
"""

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import jinja2

from lorabench.report.content import Figure, Report, Section, Table
from lorabench.report.html.fit import without_last
from lorabench.report.html.svg import draw, printable
from lorabench.results.files import utf8

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class _Drawn:
    """A plot on the page: its id, its picture, and its specification for a script."""

    name: str
    svg: str
    spec: str


def page(report: Report, *, interactive: bool = False, most: int | None = None) -> str:
    """Return a report as a page.

    A page that would be too large is one without its last plots: they stand in the order in which
    they matter. With none left it may still be larger than `most`.

    Parameters
    ----------
    report : Report
        What it says.
    interactive : bool
        Whether Vega comes along.
    most : int or None
        Bytes that it may have.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    style = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
    drawn = {id(figure): _drawn(name, figure, interactive) for name, figure in report.figures()}
    script = _script() if interactive else ""
    template = environment.get_template("page.html")

    def plot(figure: Figure) -> _Drawn:
        return drawn[id(figure)]

    def rendered(shown: Report) -> str:
        anchors = shown.anchors()

        def anchor(section: Section) -> str:
            return anchors[id(section)]

        return template.render(
            report=shown,
            plot=plot,
            anchor=anchor,
            style=style,
            script=script,
            policy=_policy(style, script),
        )

    text = rendered(report)
    sizes = {
        id(figure): len(drawn[id(figure)].svg) + len(drawn[id(figure)].spec) + _size(figure.table)
        for _, figure in report.figures()
    }
    while most is not None and (excess := len(utf8(text)) - most) > 0:
        smaller = without_last(report, sizes, excess)
        if smaller is report:
            break
        report = smaller
        text = rendered(report)
    return text


def _drawn(name: str, figure: Figure, interactive: bool) -> _Drawn:
    svg = draw(figure.chart, f"plot-{name}", f"{figure.title}. {figure.told}")
    spec = ""
    if interactive:
        # Nothing in it may end the element that holds it.
        text = json.dumps(printable(figure.chart))
        spec = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return _Drawn(f"plot-{name}", svg, spec)


def _size(table: Table) -> int:
    """Return about how many characters of a page a table takes."""
    return sum(len(cell) + len("<td></td>") for row in table.rows for cell in row)


def _script() -> str:
    import vl_convert

    code = (_TEMPLATES / "interactive.js").read_text(encoding="utf-8")
    return _within_script(str(vl_convert.javascript_bundle(code)))


def _within_script(code: str) -> str:
    """Return JavaScript with the same meaning that does not end the element it stands in.

    Nor hide its end: after ``<!--``, which no module has but in texts, another ``<script`` would.
    """
    return re.sub(r"<(?=!--)", r"\\x3c", re.sub(r"</(?=script)", r"<\\/", code, flags=re.I))


def _policy(style: str, script: str) -> str:
    """Return what the page may do."""
    allowed = ["default-src 'none'", "img-src data:", "base-uri 'none'", "form-action 'none'"]
    if script:
        # Vega writes styles of its own.
        allowed += ["style-src 'unsafe-inline'", f"script-src '{_hash(script)}'"]
    else:
        allowed.append(f"style-src '{_hash(style)}'")
    return "; ".join(allowed)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
