"""Which values of a label column count as a click: 0 and 1, or a rule such as ``>= 4``.

Ratings, words and counts become labels by a rule that the column map states. Nothing is a click
that no rule names: a value that cannot be compared is an error and never a 0.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

_RULE = re.compile(r"\s*(>=|<=|==|!=|>|<|=)\s*(?:'([^']*)'|\"([^\"]*)\"|(\S+))\s*")
_RULES = 'a comparison such as ">= 4" or "== \'yes\'", or a list of values'
_BINARY = {"0": 0, "1": 1, "false": 0, "true": 1, "0.0": 0, "1.0": 1}

_COMPARED: dict[str, Callable[[float, float], bool]] = {
    ">=": lambda value, bound: value >= bound,
    ">": lambda value, bound: value > bound,
    "<=": lambda value, bound: value <= bound,
    "<": lambda value, bound: value < bound,
    "==": lambda value, bound: value == bound,
    "!=": lambda value, bound: value != bound,
}


@dataclass(frozen=True)
class LabelRule:
    """A rule for labels.

    Parameters
    ----------
    expected : str
        What a value must be, in words.
    of : callable
        From a value to 0 or 1; ValueError where the rule cannot tell.
    """

    expected: str
    of: Callable[[object], int] = field(compare=False)


def label_rule(positive: str | Sequence[object] | None) -> LabelRule:
    """Return the rule that a column map states.

    Parameters
    ----------
    positive : str, sequence or None
        ``">= 4"``, ``"> 3"``, ``"< 2"``, ``"== 'yes'"``, ``"!= 'no'"``; or the values that are
        clicks. None: 0 and 1, or false and true.

    Raises
    ------
    ValueError
        No rule; says what is expected.

    Examples
    --------
    >>> label_rule(">= 4").of("4.5"), label_rule(">= 4").of(3)
    (1, 0)
    >>> label_rule(["yes", 1]).of("1.0")
    1
    """
    if positive is None:
        return LabelRule("0 or 1 (or, in the map, positive: which values are clicks)", _binary)
    if not isinstance(positive, str):
        return _listed(positive)
    match = _RULE.fullmatch(positive)
    if match is None:
        raise ValueError(_RULES)
    sign, *quoted, plain = match.groups()
    sign = "==" if sign == "=" else sign
    text = next((one for one in quoted if one is not None), None)
    if text is None:
        bound = _number(plain)
        if bound is None:
            raise ValueError(_RULES)
        return LabelRule(f"a number (positive = {positive!r})", _number_rule(sign, bound))
    if sign not in ("==", "!="):
        raise ValueError(f"{_RULES}: only == and != compare texts")
    return LabelRule(f"a text (positive = {positive!r})", _text_rule(text, equal=sign == "=="))


def _number_rule(sign: str, bound: float) -> Callable[[object], int]:
    compared = _COMPARED[sign]

    def of(value: object) -> int:
        number = _number(value)
        if number is None:
            raise ValueError("no number")
        return int(compared(number, bound))

    return of


def _text_rule(text: str, *, equal: bool) -> Callable[[object], int]:
    def of(value: object) -> int:
        if value is None:
            raise ValueError("no value")
        return int((_plain(value) == text) == equal)

    return of


def _listed(values: Sequence[object]) -> LabelRule:
    if not values:
        raise ValueError(_RULES)
    # As text and as number, so that 5, "5" and 5.0 are the same whatever the file holds.
    texts = {_plain(value) for value in values}
    numbers = {number for value in values if (number := _number(value)) is not None}

    def of(value: object) -> int:
        if value is None:
            raise ValueError("no value")
        return int(_plain(value) in texts or _number(value) in numbers)

    return LabelRule("a value (positive lists those that are clicks)", of)


def _binary(value: object) -> int:
    try:
        return _BINARY[str(value).strip().lower()]
    except KeyError:
        raise ValueError("neither 0 nor 1") from None


def _number(value: object) -> float | None:
    """Return a finite number, or None; true and false are 1 and 0."""
    text = str(value).strip()
    if text.lower() in ("true", "false"):
        return float(text.lower() == "true")
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip()
    return str(value).strip()
