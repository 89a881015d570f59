"""The page as a browser shows it: nothing refused, every plot there, nothing that axe finds.

One page of one document of each command, so that all kinds of sections are on it; and one that
does its worst.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("axe_core_python", reason="there is no axe-core-python; make install")

import axe_core_python
import colocate_samples as samples
from browser import MISSING, PROGRAM, Browser
from command import Run

DOCUMENTS = Path(__file__).parents[1] / "data/schema1"
COMMANDS = ("colocate", "freshness", "headroom-observe", "kernels", "profile", "doctor")
HOSTILE = "\"'></td></svg><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>"

pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason=MISSING),
    pytest.mark.xdist_group("browser"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("chromium"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A document of each command, that of colocate with raw samples."""
    folder = tmp_path_factory.mktemp("documents")
    raw = json.loads(samples.write(folder / "raw.json", samples.arrays()).read_text())["raw"]
    paths = []
    for name in COMMANDS:
        document = json.loads((DOCUMENTS / f"{name}.json").read_text())
        document["raw"] = raw if name == "colocate" else None
        paths.append(folder / f"{name}.json")
        paths[-1].write_text(json.dumps(document))
    return paths


@pytest.fixture(scope="module")
def page(documents: list[Path], lorabench: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    run = lorabench("report", *documents, "-o", path)
    assert (run.returncode, run.stdout) == (0, f"{path}\n"), run.stderr
    return path


def test_the_console_is_clean_and_every_plot_is_there(browser: Browser, page: Path) -> None:
    browser.media()
    browser.size(1000, 900)
    browser.open(page)
    count, drawn, inside = browser.run(
        """(() => {
            const plots = [...document.querySelectorAll("figure")].map(f => f.querySelector("svg"));
            const boxes = plots.map(p => p.getBoundingClientRect());
            return [plots.length,
                plots.filter(p => p.querySelectorAll("path,line,circle").length > 3).length,
                boxes.filter(b => b.width > 300 && b.height > 40 && b.right <= 1000).length];
        })()"""
    )
    assert count == drawn == inside > 20
    assert browser.complaints == []


def test_axe_finds_nothing_by_day_or_by_night(browser: Browser, page: Path) -> None:
    browser.media()
    browser.open(page)
    axe = Path(axe_core_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
    browser.run(f"{axe}; 0")
    # A folded table of each kind: of all, axe would look at ten thousand cells.
    browser.run(
        "for (const one of [...document.querySelectorAll('details')].slice(0, 4))"
        " one.open = true; 0"
    )
    told = "found => found.violations.map(one => [one.id, one.nodes[0].html])"
    # Plots are images, and long: what is in them is not looked at again and again.
    where = "{exclude: [['svg > *']]}"
    assert browser.run(f"axe.run({where}).then({told})") == []
    browser.media(scheme="dark")
    contrast = "{runOnly: ['color-contrast']}"
    assert browser.run(f"axe.run({where}, {contrast}).then({told})") == []


def test_it_is_dark_for_those_who_prefer_that_and_white_on_paper(
    browser: Browser, page: Path
) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    curve = "getComputedStyle(document.querySelector('svg [stroke=\"#0072b2\"]')).stroke"
    browser.media()
    browser.open(page)
    light = browser.run(f"[{paper}, {curve}]")
    browser.media(scheme="dark")
    dark = browser.run(f"[{paper}, {curve}]")
    assert light == ["rgb(255, 255, 255)", "rgb(0, 114, 178)"]
    assert dark[0] != light[0]
    assert dark[1] != light[1]
    browser.media("print")
    assert browser.run(paper) == light[0]
    assert browser.run("getComputedStyle(document.querySelector('nav')).display") == "none"
    # What nobody can unfold on paper is there, but for what is long.
    shown = "getComputedStyle(document.querySelector('details.short'), '::details-content')"
    assert browser.run(f"{shown}.contentVisibility") == "visible"
    folded = "getComputedStyle(document.querySelector('details:not(.short)')).display"
    assert browser.run(folded) == "none"
    assert browser.pages_printed().startswith(b"%PDF")


def test_a_plot_is_as_large_on_a_telephone_and_says_that_it_moves(
    browser: Browser, page: Path
) -> None:
    browser.media()
    browser.size(400, 820)
    browser.open(page)
    width = "document.querySelector('.plot svg').getBoundingClientRect().width"
    hint = "getComputedStyle(document.querySelector('.plot'), '::before').content"
    assert browser.run(f"{width} >= document.querySelector('.plot svg').viewBox.baseVal.width - 40")
    assert "Swipe" in browser.run(hint)
    assert browser.run("document.documentElement.scrollWidth") == 400
    browser.size(1000, 820)
    assert browser.run(hint) == "none"


def test_it_can_be_read_with_keys_alone(browser: Browser, page: Path) -> None:
    browser.media()
    browser.open(page)
    assert browser.run("document.querySelectorAll('main, header, nav, footer').length") == 4
    skip = browser.run("document.querySelector('a').getAttribute('href')")
    assert browser.run(f"document.querySelector('{skip}').tagName") == "MAIN"
    links = browser.run(
        "[...document.querySelectorAll('nav a')]"
        ".filter(a => !document.querySelector(a.getAttribute('href'))).length"
    )
    assert links == 0


def test_a_document_that_does_its_worst_does_nothing(
    browser: Browser, lorabench: Run, tmp_path: Path
) -> None:
    document = worst(json.loads((DOCUMENTS / "profile.json").read_text()))
    path = tmp_path / "worst.json"
    path.write_text(json.dumps(document))
    for more in ((), ("--interactive",)):
        run = lorabench("report", path, *more, "-o", tmp_path / "worst.html")
        assert run.returncode == 0, run.stderr
        browser.open(tmp_path / "worst.html")
        assert browser.run("window.hacked === undefined")
        assert browser.run("document.querySelectorAll('img').length") == 0
        assert browser.run("document.body.textContent.includes('window.hacked')")
        assert browser.complaints == []


def worst(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: worst(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [worst(one, key) for one in value]
    kept = ("schema", "command", "created", "verdict", "basis", "better")
    return f"{value}{HOSTILE}" if isinstance(value, str) and key not in kept else value


def test_with_vega_plots_are_drawn_again_and_nothing_is_refused(
    browser: Browser, documents: list[Path], lorabench: Run, tmp_path: Path
) -> None:
    path = tmp_path / "interactive.html"
    assert lorabench("report", documents[0], "--interactive", "-o", path).returncode == 0
    browser.media()
    browser.open(path)
    count = browser.run("document.querySelectorAll('[data-plot]').length")
    drawn = """new Promise(resolve => { const look = () => {
        const n = document.querySelectorAll('[data-plot] svg.marks').length;
        if (n === %d) resolve(n); else setTimeout(look, 20); }; look(); })"""
    assert browser.run(drawn % count) == count > 0
    assert browser.complaints == []
