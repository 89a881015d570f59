"""A page needs nothing else, allows itself nothing, and says of hostile documents what they say."""

import base64
import hashlib
import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lorabench.report.chapter import Source, report
from lorabench.report.html.page import _within_script, page
from lorabench.results.files import read_result
from lorabench.results.schema import Result
from lorabench.results.upgrade import upgrade

DOCUMENTS = sorted((Path(__file__).parents[3] / "data/schema1").glob("*.json"))
HOSTILE = "\"'></td></svg><script>hacked=1</script><img src=x onerror=hacked=1>{{7*7}}"
# Elements that have no end, or whose end may be left out.
_OPEN = {"meta", "link", "td", "tr", "th", "tbody", "thead"}


class Elements(HTMLParser):
    """Collect the elements of a page, and whether they are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in _OPEN:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in _OPEN:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def rendered(*results: Result, **how: Any) -> str:
    sources = [Source(f"{one.id}.json", one, None, "lorabench x", ()) for one in results]
    return page(report(sources, (50.0, 99.0)), **how)


def hostile(value: Any, key: str = "") -> Any:
    """Replace every string that need not be one of a few."""
    if isinstance(value, dict):
        return {name: hostile(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [hostile(one, key) for one in value]
    kept = ("schema", "command", "created", "verdict", "basis", "better", "boundary", "ended")
    return f"{value}{HOSTILE}" if isinstance(value, str) and key not in kept else value


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_every_commands_document_gives_a_page(path: Path) -> None:
    result = read_result(path)
    text = rendered(result)
    found = Elements(text)
    assert not found.open
    assert len(found.all("h1")) == 1
    identifiers = [a["id"] for _, a in found.found if "id" in a]
    assert len(identifiers) == len(set(identifiers))
    assert len(found.all("figure")) == len(found.all("svg")) == len(found.all("title")) - 1
    for claim in result.claims:
        assert claim.id in text
    assert "How to reproduce" in text
    levels = [int(tag[1]) for tag, _ in found.found if re.fullmatch("h[1-6]", tag)]
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_it_allows_itself_its_own_style_alone() -> None:
    text = rendered(read_result(DOCUMENTS[0]))
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src &#39;none&#39;; img-src data:;")
    assert f"style-src &#39;sha256-{digest}&#39;" in policy
    assert "script-src" not in policy
    elements = Elements(text)
    assert not elements.all("script")
    assert not [a for _, a in elements.found if "style" in a or any(k[:2] == "on" for k in a)]
    assert not re.search(r'(?:src|href|url\()="?(?:https?:)?//', text)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_whatever_a_document_says_is_text(path: Path) -> None:
    plain = json.loads(read_result(path).model_dump_json(by_alias=True))
    text = rendered(Result.model_validate(hostile(plain)))
    assert "hacked" in text
    assert "<script" not in text
    assert "<img" not in text
    assert "{{7*7}}" in text
    assert not Elements(text).open


def test_with_vega_the_script_is_allowed_by_its_hash() -> None:
    text = rendered(read_result(DOCUMENTS[0]), interactive=True)
    script = re.search(r'<script type="module">(.*?)</script>', text, re.DOTALL)
    assert script
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;" in text
    specs = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL)
    assert len(specs) == text.count("<figure")
    assert all(json.loads(one)["datasets"] for one in specs)


@pytest.mark.parametrize("end", ["</script>", "</SCRIPT>", "</sCript >", "<!--<script>"])
def test_nothing_in_a_script_ends_it_or_hides_its_end(end: str) -> None:
    code = _within_script(f'const a = "{end}"')
    assert not re.search(r"</script|<!--", code, re.IGNORECASE)
    # What JavaScript reads of the text is what it was.
    assert code.replace("<\\/", "</").replace("\\x3c", "<") == f'const a = "{end}"'


def test_several_results_have_an_overview_and_a_part_each() -> None:
    text = rendered(*map(read_result, DOCUMENTS[:3]))
    found = Elements(text)
    assert not found.open
    assert [a["id"] for a in found.all("h2")] == ["overview", "chapter-1", "chapter-2", "chapter-3"]
    assert "Claims by result" in text
    identifiers = [a["id"] for _, a in found.found if "id" in a]
    assert len(identifiers) == len(set(identifiers))


@pytest.mark.parametrize("name", ["colocate", "freshness"])
def test_numbers_of_any_size_give_a_page(name: str) -> None:
    plain = json.loads((DOCUMENTS[0].parent / f"{name}.json").read_text())
    extremes = itertools.cycle([0.0, -1.0, 1e308, -1e308, 5e-324, 1e-300, 1.0])

    def stretched(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: stretched(one) for key, one in value.items()}
        if isinstance(value, list):
            return [stretched(one) for one in value]
        return next(extremes) if isinstance(value, float) else value

    text = rendered(Result.model_validate(upgrade(stretched(plain))))
    assert not Elements(text).open
    assert text.count("<figure") >= 2
    assert not re.search(r"\b(?:NaN|Infinity|inf)\b", "".join(re.findall("<svg.*?</svg>", text)))


@pytest.mark.parametrize("interactive", [False, True])
def test_a_page_that_is_too_large_leaves_out_what_matters_least(interactive: bool) -> None:
    result = read_result(DOCUMENTS[0].parent / "profile.json")
    whole = rendered(result, result, interactive=interactive)
    titles = re.findall(r"<figcaption [^>]*><b>([^<]*)</b>", whole)
    most = len(whole.encode()) - 9000
    text = rendered(result, result, interactive=interactive, most=most)
    assert len(text.encode()) <= most
    kept = re.findall(r"<figcaption [^>]*><b>([^<]*)</b>", text)
    assert kept.count(titles[0]) == 2
    assert kept.count(titles[-1]) < 2
    assert "A report of this result alone has them." in text
    assert not Elements(text).open


def test_a_page_without_plots_may_still_be_too_large() -> None:
    text = rendered(read_result(DOCUMENTS[0].parent / "profile.json"), most=1)
    assert "<figure" not in text
    assert text.count("The document has them.") == 1
