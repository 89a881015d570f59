"""Documents of a stranger: each is taken or refused in one line, and what is taken does no harm.

What is taken is shown, compared, reported and exported; none of these may end in a traceback, nor
send a terminal anything that it obeys. Real documents are mutated, their text and what it says.
"""

import io
import json
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from copy import deepcopy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from lorabench.bench.command import NoOutput
from lorabench.documents import compare, export, report, show
from lorabench.documents.compare.options import CompareOptions, CompareOutput
from lorabench.documents.export.options import ExportOptions
from lorabench.documents.report.options import ReportOptions, ReportOutput
from lorabench.documents.show.options import ShowOptions
from lorabench.errors import InputError
from lorabench.results.files import read_result
from lorabench.results.schema import SCHEMA

DATA = Path(__file__).parents[2] / "data"
DOCUMENTS = {
    f"{path.parent.name}-{path.stem}": path.read_text()
    for path in sorted(DATA.glob("schema[0-9]*/*.json"))
}
HOSTILE = [
    None, True, 0, -1, 2**63, 10**40, 1e308, -1e308, 5e-324, float("inf"), float("nan"),
    "", " ", "0", "a" * 300, "\x1b[2J\x1b]0;x\x07\x9b", "\u202e\u2028\r\n", "\ud800", "\0",
    "[/bold]", "[link=http://x]", ":smile:", "<script>alert(1)</script>", "](http://x)", "../../x",
    [], {}, [[]], {"a": []}, [None], {"": {"": ""}}, [1e308] * 3,
]  # fmt: skip

# Every example writes the same file anew, so they may share a folder.
few = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def told(action: Callable[[], object]) -> str:
    """Return what an action prints; where it refuses, that in one line."""
    page = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    try:
        with redirect_stdout(page):
            action()
    except InputError as error:
        return one_line(error)
    page.flush()
    return page.buffer.getvalue().decode()


def one_line(error: InputError) -> str:
    assert "\n" not in str(error)
    return str(error)


def refusal(path: Path) -> str | None:
    """Return why a document cannot be read; None where it can."""
    try:
        read_result(path)
    except InputError as error:
        return one_line(error)
    return None


def printed(text: str) -> bool:
    """Whether a text has nothing but what is printed."""
    return not {char for char in text if unicodedata.category(char) in {"Cc", "Cs"}} - {"\n", "\t"}


def compared(path: Path, form: str) -> str:
    """Return what comparing a document with itself prints."""
    gates = ("latency_p99=5%",) if form == "junit" else ()
    options = CompareOptions(str(path), str(path), gate=gates, on_unknown="pass")
    return told(lambda: compare.COMMAND.run(options, CompareOutput(form, everything=True)))


def reported(path: Path) -> str:
    """Return what a report of a document prints."""
    output = ReportOutput(format="md")
    return told(lambda: report.COMMAND.run(ReportOptions((path,)), output))


def try_all(path: Path) -> None:
    """Show, compare, report and export a document, if it is one."""
    said = told(lambda: show.COMMAND.run(ShowOptions(path), NoOutput()))
    assert said
    assert printed(said)
    if refusal(path) is not None:
        assert said == refusal(path)
        return
    text = told(lambda: export.COMMAND.run(ExportOptions((path,), openmetrics="-"), NoOutput()))
    if text.endswith("# EOF\n"):
        assert list(text_string_to_metric_families(text))
    for form in ("text", "markdown", "junit"):
        page = compared(path, form)
        assert printed(page)
        if form == "junit" and page.startswith("<"):
            ElementTree.fromstring(page)
    assert printed(reported(path))
    for form in ("pyperf", "hlog"):
        told(
            lambda form=form: export.COMMAND.run(ExportOptions((path,), **{form: "-"}), NoOutput())
        )


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Return every place in a document: what it is in, and its key there."""
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(inner, dict | list):
            yield from places(inner)


@few
@given(data=st.data())
def test_whatever_a_document_says_it_is_taken_or_refused(
    tmp_path: Path, data: st.DataObject
) -> None:
    document = json.loads(DOCUMENTS[data.draw(st.sampled_from(sorted(DOCUMENTS)))])
    for _ in range(data.draw(st.integers(1, 3))):
        listed = list(places(document))
        # As often in the free-form and in other small parts as among the many metrics.
        first = data.draw(st.sampled_from(sorted({str(key) for _, key in listed})))
        inside, key = data.draw(st.sampled_from([at for at in listed if str(at[1]) == first]))
        what = data.draw(st.sampled_from(["put", "lose", "rename"]))
        if what == "put" or isinstance(inside, list):
            inside[key] = deepcopy(data.draw(st.sampled_from(HOSTILE)))
        elif what == "lose":
            del inside[key]
        else:
            texts = [one for one in HOSTILE if isinstance(one, str)]
            inside[data.draw(st.sampled_from(texts))] = inside.pop(key)
    path = tmp_path / "run.json"
    path.write_text(json.dumps(document))
    try_all(path)


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: f"{value!r:.12}")
def test_whatever_was_asked_for_is_taken(tmp_path: Path, value: Any) -> None:
    document = json.loads(DOCUMENTS["schema2-colocate"])
    asked = document["config"]["experiment"]
    document["config"]["experiment"] = dict.fromkeys(asked, value)
    path = tmp_path / "run.json"
    path.write_text(json.dumps(document))
    assert printed(reported(path))


@few
@given(data=st.data())
def test_a_document_whose_bytes_changed_is_taken_or_refused(
    tmp_path: Path, data: st.DataObject
) -> None:
    text = bytearray(DOCUMENTS[data.draw(st.sampled_from(sorted(DOCUMENTS)))].encode())
    for at in data.draw(st.lists(st.integers(0, len(text) - 1), min_size=1, max_size=4)):
        text[at] = data.draw(st.sampled_from(b'"0:,{}[]\\-e.\x00\xff') | st.integers(0, 255))
    cut = data.draw(st.none() | st.integers(0, len(text)))
    path = tmp_path / "run.json"
    path.write_bytes(text[:cut])
    try_all(path)


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_what_every_text_of_a_document_says_is_shown_as_it_is(name: str, tmp_path: Path) -> None:
    """A hostile end on each text that the schema leaves open."""
    document = json.loads(DOCUMENTS[name])
    free = {"reason", "statement", "version", "what", "why", "enable", "id"}
    if document["schema"] == SCHEMA:  # labels of schema 1 are read out of it
        free |= {"condition"}
    for inside, key in places(document):
        if key in free and isinstance(inside[key], str):
            inside[key] += "\x1b[31m[/red]<b>\uffff"
    path = tmp_path / "run.json"
    path.write_text(json.dumps(document))
    try_all(path)
    shown = told(lambda: show.COMMAND.run(ShowOptions(path), NoOutput()))
    assert r"\x1b[31m[/red]<b>" in shown


def test_a_document_of_too_many_metrics_is_refused(tmp_path: Path) -> None:
    document = json.loads(DOCUMENTS["schema2-headroom-trace"])
    document["metrics"] = document["metrics"] * 40_000
    path = tmp_path / "run.json"
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="objects and lists, at most 200,000 are read"):
        read_result(path)
