"""Texts reach a terminal, whatever it can show."""

import io

import pytest
from documents import document
from rich.text import Text

from lorabench.report.terminal import plain_table, render_claims, terminal


def page(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


def said(stream: io.TextIOWrapper) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode(stream.encoding)


def test_what_stdout_cannot_encode_has_plainer_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    stdout, stderr = page("ascii"), page("ascii")
    monkeypatch.setattr("sys.stdout", stdout)
    monkeypatch.setattr("sys.stderr", stderr)
    terminal().print("3 µs of 表")
    terminal(stderr=True).out("warming up …")
    print("→", file=stdout)
    assert said(stdout) == "3 us of \\u8868\n->\n"
    assert said(stderr) == "warming up ...\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "koi8-r", "utf-8"])
def test_columns_stay_in_line_whatever_stands_for_a_mark(encoding: str) -> None:
    table = plain_table("Δ of a run")
    table.add_column("what ± it is")
    table.add_column("last", justify="right")
    table.add_row(Text("…→…±表"), Text("1", style="green"))
    table.add_row("µs", Text("→ as above ≥ 22"))
    stream = page(encoding)
    terminal(file=stream, width=60).print(table)
    title, head, rule, *rows = said(stream).splitlines()
    assert set(rule) <= set("─━- ")
    lines = (head, *rows)
    # Of a letter that takes two columns, the second one is none of the text's.
    ends = {len(line.rstrip()) + line.count("表") for line in lines}
    assert len(ends) == 1, lines
    assert title.rstrip() == ("Δ of a run" if encoding == "utf-8" else "d of a run")


def test_styles_move_along_with_the_letters() -> None:
    stream = page("ascii")
    text = Text("… yes → no")
    text.stylize("bold", 2, 5)
    terminal(file=stream, force_terminal=True, color_system="standard", _environ={}).print(text)
    assert said(stream) == "... \x1b[1myes\x1b[0m -> no\n"


def test_what_is_too_long_for_its_column_ends_in_a_mark_of_one_column() -> None:
    table = plain_table()
    table.add_column("name", no_wrap=True, max_width=5)
    table.add_column("x")
    table.add_row("abcdefgh", "1")
    stream = page("ascii")
    terminal(file=stream, width=40).print(table)
    assert "abcd~ 1" in " ".join(said(stream).splitlines()[-1].split())


def test_brackets_are_no_markup() -> None:
    stream = page("utf-8")
    terminal(file=stream).print("[red] [/nothing] :smile:")
    assert said(stream) == "[red] [/nothing] :smile:\n"


def test_notes_come_before_verdicts_and_an_older_document_has_none() -> None:
    stream = io.StringIO()
    console = terminal(file=stream, width=100)
    render_claims(document({}, notes=["3 tensors are no tables and were left out"]), console)
    render_claims(document({}), console)
    assert stream.getvalue() == "note: 3 tensors are no tables and were left out\n"
