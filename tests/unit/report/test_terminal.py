"""Texts reach a terminal, whatever it can show."""

import io

import pytest
from documents import document

from lorabench.report.terminal import render_claims, terminal


def test_what_stdout_cannot_encode_is_shown_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    page = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", page)
    terminal().print("3 µs")
    page.flush()
    assert page.buffer.getvalue() == b"3 \\xb5s\n"


def test_notes_come_before_verdicts_and_an_older_document_has_none() -> None:
    page = io.StringIO()
    console = terminal(file=page, width=100)
    render_claims(document({}, notes=["3 tensors are no tables and were left out"]), console)
    render_claims(document({}), console)
    assert page.getvalue() == "note: 3 tensors are no tables and were left out\n"
