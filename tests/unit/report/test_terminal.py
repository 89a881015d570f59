"""Texts reach a terminal, whatever it can show."""

import io

import pytest

from lorabench.report.terminal import terminal


def test_what_stdout_cannot_encode_is_shown_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    page = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", page)
    terminal().print("3 µs")
    page.flush()
    assert page.buffer.getvalue() == b"3 \\xb5s\n"
