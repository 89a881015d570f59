"""Which values are clicks: comparisons of numbers and texts, lists, and never a guess."""

import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.workload.labels import label_rule

SIGNS = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
NUMBERS = st.integers(-9, 9) | st.sampled_from([0.5, 3.5, -0.25])


@given(st.sampled_from(sorted(SIGNS)), NUMBERS, NUMBERS)
def test_comparisons_are_those_of_numbers(sign: str, bound: float, value: float) -> None:
    rule = label_rule(f"{sign}{bound}")
    for written in (value, str(value), f" {value} ", f"{float(value)}"):
        assert rule.of(written) == int(SIGNS[sign](value, bound))


@given(st.text(st.characters(exclude_characters="'\"", codec="utf-8"), max_size=6), st.text())
def test_texts_are_equal_or_not(text: str, other: str) -> None:
    equal, unequal = label_rule(f"== '{text}'"), label_rule(f'!= "{text}"')
    for value in (text, other):
        assert equal.of(value) == int(value.strip() == text)
        assert equal.of(value) + unequal.of(value) == 1


@given(st.text(max_size=12))
def test_any_text_is_a_rule_or_says_what_is_expected(text: str) -> None:
    try:
        rule = label_rule(text)
    except ValueError as error:
        expected = str(error)
    else:
        expected = rule.expected
    assert "a comparison such as" in expected or "positive = " in expected


def test_listed_values_are_clicks_however_they_are_written() -> None:
    rule = label_rule(("yes", 5, True))
    assert [rule.of(value) for value in ("yes", "5.0", 5, "5", 1, "true", "no", "4", False)] == [
        *(1, 1, 1, 1, 1, 1, 0, 0, 0),
    ]


def test_without_a_rule_labels_are_0_and_1() -> None:
    rule = label_rule(None)
    values = (0, 1, "0", "1", "0.0", 1.0, "True", "FALSE", False, " 1 ")
    assert [rule.of(value) for value in values] == [0, 1, 0, 1, 0, 1, 1, 0, 0, 1]
    assert "positive: which values are clicks" in rule.expected


@pytest.mark.parametrize(
    ("positive", "value", "words"),
    [
        (None, 2, "neither 0 nor 1"),
        (None, "yes", "neither 0 nor 1"),
        (None, None, "neither 0 nor 1"),
        (">= 4", "good", "no number"),
        (">= 4", None, "no number"),
        ("== 4", "nan", "no number"),
        ("!= 'no'", None, "no value"),
        (["yes"], None, "no value"),
    ],
)
def test_what_cannot_be_compared_is_no_label(positive: object, value: object, words: str) -> None:
    rule = label_rule(positive)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=words):
        rule.of(value)


@pytest.mark.parametrize("positive", ["", ">=", "4", ">= four", "> 'a'", "=> 4", "== 'a", []])
def test_what_is_no_rule_is_refused(positive: object) -> None:
    with pytest.raises(ValueError, match="a comparison such as"):
        label_rule(positive)  # type: ignore[arg-type]
