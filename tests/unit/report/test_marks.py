"""What stands for marks that an encoding lacks."""

import ast
import io
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lorabench
from lorabench.report.marks import HANDLER, PLAIN, drawn, has, plain

ENCODINGS = ("ascii", "latin-1", "cp1252", "iso-8859-15", "koi8-r", "gbk", "euc-jp", "utf-8")


@given(st.text(), st.sampled_from(ENCODINGS))
def test_every_text_can_be_shown_and_one_that_could_stays_so(text: str, encoding: str) -> None:
    for shown in (plain(text, encoding), drawn(text, encoding)):
        assert has(encoding, shown)
        assert shown == text or not has(encoding, text)


@given(st.text(), st.sampled_from(ENCODINGS))
def test_a_stream_takes_every_text(text: str, encoding: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=HANDLER, newline="")
    stream.write(text)
    stream.flush()
    assert stream.buffer.getvalue() == plain(text, encoding).encode(encoding)


def test_a_mark_is_only_replaced_where_it_is_lacking() -> None:
    text = "3 µs ± 1 · 2 → …"
    assert plain(text, "utf-8") == text
    assert plain(text, "latin-1") == "3 µs ± 1 · 2 -> ..."
    assert plain(text, "cp1252") == "3 µs ± 1 · 2 -> …"
    assert plain(text, "ascii") == "3 us +/- 1 - 2 -> ..."


def test_letters_are_shown_by_their_number_and_bytes_of_names_as_bytes() -> None:
    assert plain("für/表.json", "ascii") == r"f\xfcr/\u8868.json"
    assert plain("\udcff.json", "utf-8") == r"\xff.json"


def test_what_is_drawn_keeps_its_width() -> None:
    rules = "".join(map(chr, range(0x2500, 0x2580)))
    assert len(drawn(f"a {rules} b…", "ascii")) == len(f"a {rules} b…")
    assert drawn("┌─┐│…", "ascii") == "+-+|~"


def test_the_plainer_marks_of_a_table_are_of_ascii_and_tell_states_and_levels_apart() -> None:
    assert all(mark.isascii() and mark for mark in PLAIN.values())
    for kinds in ("●◐○", "▁▂▃▄▅▆▇█", "✓✗"):
        assert len({PLAIN[kind] for kind in kinds}) == len(kinds)
        assert all(len(PLAIN[kind]) == 1 for kind in kinds)


@pytest.mark.parametrize("encoding", ["", "no-such-encoding"])
def test_an_unknown_encoding_has_ascii(encoding: str) -> None:
    assert plain("3 µs", encoding) == "3 us"


def said(source: str) -> Iterator[str]:
    """Yield the texts of a module that are no docstrings."""
    tree = ast.parse(source)
    statements = [one.value for one in ast.walk(tree) if isinstance(one, ast.Expr)]
    told = {id(one) for one in statements if isinstance(one, ast.Constant)}
    for one in ast.walk(tree):
        if isinstance(one, ast.Constant) and isinstance(one.value, str) and id(one) not in told:
            yield one.value


def test_every_mark_that_is_printed_has_a_plainer_one() -> None:
    root = Path(lorabench.__file__).parent
    found = {
        mark: path
        for path in root.rglob("*.py")
        if path.name not in ("marks.py", "gates.py")  # the latter has what XML must not have
        for text in said(path.read_text(encoding="utf-8"))
        for mark in text
        if unicodedata.category(mark)[0] in "SP" and not mark.isascii()  # letters have a number
    }
    assert found
    assert {mark: path.name for mark, path in found.items() if mark not in PLAIN} == {}
