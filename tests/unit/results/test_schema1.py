"""Documents of schema 1, one a command, as the program wrote them before schema 2 existed.

They were made by tiny runs and then made small: most of the processor's flags and of `profile`'s
tables are gone.
"""

import importlib
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from lorabench.results.files import read_result

DOCUMENTS = sorted((Path(__file__).parents[2] / "data/schema1").glob("*.json"))

SHOWN = {
    "colocate": ["solo_repeat", "naive", "latency.impact"],
    "doctor": ["capabilities: 18 available", "resctrl"],
    "freshness": ["ideal", "lora", "0.06"],  # MB in use; samples/s were not told yet
    "headroom-observe": ["CPU busy"],
    "headroom-sweep": ["shared", "0.25"],
    "headroom-trace": ["CPU busy", "headroom.idle"],
    "kernels": ["torch", "ns"],
    "profile": ["C26", "lowrank.variance"],
}


def test_every_command_has_one() -> None:
    assert [path.stem for path in DOCUMENTS] == sorted(SHOWN)
    assert {json.loads(path.read_text())["schema"] for path in DOCUMENTS} == {"lorabench.result/1"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_it_is_still_read_whole(path: Path) -> None:
    was = json.loads(path.read_text())
    result = read_result(path)
    assert (result.command, result.id) == (was["command"], was["id"])
    for field in ("metrics", "claims", "series", "rounds", "unavailable"):
        assert len(getattr(result, field)) == len(was[field]), field
    assert [m.values for m in result.metrics] == [m["values"] for m in was["metrics"]]
    assert [c.verdict for c in result.claims] == [c["verdict"] for c in was["claims"]]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_it_is_still_shown(path: Path) -> None:
    result = read_result(path)
    view = importlib.import_module(f"lorabench.experiments.{result.command}.view")
    page = io.StringIO()
    view.render(result, Console(file=page, width=120))
    for words in SHOWN[path.stem]:
        assert words in page.getvalue()
