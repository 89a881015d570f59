"""The kernel's formats, read back whatever they hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.host.formats import chosen, cpu_field, cpu_flags, format_bytes, parse_release

WORDS = st.text(
    st.characters(blacklist_categories=("Z", "C"), blacklist_characters=",:[]"), min_size=1
)


@given(st.text())
def test_any_text_is_read_as_something(text: str) -> None:
    assert isinstance(cpu_flags(text), frozenset)
    assert isinstance(cpu_field(text, "model name"), str)
    assert chosen(text) in text
    found = parse_release(text)
    assert found is None or min(found) >= 0


@given(st.lists(WORDS), st.lists(WORDS))
def test_flags_are_those_of_the_first_processor(flags: list[str], others: list[str]) -> None:
    text = f"bugs\t: {' '.join(others)}\nflags\t\t: {' '.join(flags)}\n\nflags\t: more\n"
    assert cpu_flags(text) == (frozenset(flags) or frozenset({"more"}))
    assert cpu_flags(text.replace("flags", "Features")) == cpu_flags(text)


@given(st.lists(WORDS), WORDS, st.lists(WORDS))
def test_the_word_in_brackets_is_chosen(before: list[str], word: str, after: list[str]) -> None:
    assert chosen(" ".join([*before, f"[{word}]", *after])) == word
    assert chosen(" ".join([*before, word, *after])) == ""


@given(
    st.integers(0, 9999), st.integers(0, 9999), st.sampled_from(["", ".0-18-amd64", "-rc7", "+"])
)
def test_releases_are_compared_by_number(major: int, minor: int, rest: str) -> None:
    assert parse_release(f"{major}.{minor}{rest}") == (major, minor)


@given(st.integers(0, 1 << 60))
def test_sizes_keep_four_digits(size: int) -> None:
    number, unit = format_bytes(size).split()
    factor = 1024 ** ["B", "KiB", "MiB", "GiB", "TiB"].index(unit)
    assert float(number) * factor == pytest.approx(size, rel=1e-3)
