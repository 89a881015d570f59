"""JSON of a stranger: what an honest document has is read as it is, anything beyond is refused."""

import json
import math
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lorabench.results import parse as bounds
from lorabench.results.parse import MOST_CONTAINERS, MOST_DEPTH, MOST_TEXT, escaped, parse

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64) + 1, 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="ascii", min_codepoint=32, exclude_characters="\x7f")),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from("abcdef"), inner),
    max_leaves=20,
)


@given(JSON)
def test_json_is_read_as_it_is(value: object) -> None:
    assert parse(json.dumps(value).encode()) == value
    assert parse(b"\xef\xbb\xbf" + json.dumps(value).encode()) == value


@given(st.text())
@example("\x1b[2J\x1b]0;title\x07\x9b\r\u202e\ud800")
def test_a_terminal_obeys_nothing_that_is_read(text: str) -> None:
    found = parse(json.dumps({text: [text]}).encode())
    ((key, (value,)),) = found.items()
    assert key == value == escaped(text)
    obeyed = {char for char in value if unicodedata.category(char) in {"Cc", "Cs"}}
    assert obeyed <= {"\t", "\n"}
    value.encode()
    assert "\u202e" not in value


def test_ordinary_text_is_left_alone() -> None:
    text = "16 MiB, µs, ≥ 20 ² 日本語 … ● → \u00a0é\tb\n[red]"
    assert escaped(text) == text
    assert escaped("\x1b[2J") == "\\x1b[2J"
    assert escaped("\u202eab") == "\\u202eab"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("NaN", "the number NaN"),
        ("-Infinity", "the number -Infinity"),
        ("1e999", "a number that is too large"),
        ("-1e999", "a number that is too large"),
        ("9" * 30, "more than 64 bits"),
        ("9" * 5000, "Exceeds the limit"),
        ('{"a": 1, "b": {"a": 2, "c": 3, "a": 4}}', "the key 'a' twice"),
        ("[" * (MOST_DEPTH + 1) + "]" * (MOST_DEPTH + 1), f"nested deeper than {MOST_DEPTH}"),
        ("[" * 100_000, f"nested deeper than {MOST_DEPTH}"),
        ("[" * MOST_CONTAINERS + "[", "200,001 objects and lists, at most 200,000 are read"),
        (f'"{"a" * (MOST_TEXT + 1)}"', "a text of 100,001 characters"),
    ],
)
def test_what_no_document_has_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(text.encode())


def test_more_values_than_any_document_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_VALUES", 100)
    assert parse(b"[" + b"0," * 100 + b"0]") == [0] * 101
    with pytest.raises(ValueError, match="101 values, at most 100 are read"):
        parse(b"[" + b"0," * 101 + b"0]")


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode("utf-16")))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        found = parse(data)
    except ValueError:  # JSONDecodeError and UnicodeDecodeError are some
        return
    assert json.loads(data.decode("utf-8-sig")) == found or isinstance(found, str)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_that_a_double_holds_is_one(value: float) -> None:
    assert math.isfinite(parse(json.dumps(value).encode()))
