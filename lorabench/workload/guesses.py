"""What the columns of a table seem to be: the label, the time, numbers, ids; each with the reason.

Guesses from names and from the first values, for `lorabench.workload.suggest` to write down.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

from lorabench.workload.layouts import INDEX_NAMES
from lorabench.workload.times import FORMATS, TEXT_FORMATS, UNITS, TimeRule, calendar_ns
from lorabench.workload.values import printable

_LABEL_NAMES = (
    *("label", "click", "clicked", "is_click", "is_clicked", "clk", "target", "y", "ctr_label"),
    *("conversion", "converted", "is_conversion", "buy", "purchase", "like", "is_like", "install"),
    *("rating", "stars", "score", "overall"),
)
_POSITIVE_WORDS = (
    "yes",
    "y",
    "t",
    "click",
    "clicked",
    "pos",
    "positive",
    "buy",
    "purchase",
    "like",
)
_TIME_WORDS = {
    *("time", "timestamp", "ts", "date", "datetime", "hour", "day", "created", "unixtime"),
    *("stamp", "unixreviewtime"),
}
_ID_WORDS = {
    *(
        "id",
        "ids",
        "uid",
        "iid",
        "pid",
        "cid",
        "user",
        "item",
        "movie",
        "video",
        "ad",
        "site",
        "app",
    ),
    *("category", "cate", "cat", "type", "code", "brand", "city", "country", "region", "state"),
    *("zip", "zipcode", "gender", "sex", "device", "os", "browser", "shop", "seller", "author"),
    *("banner", "channel", "ip", "slot", "hash", "tag", "genre", "language", "version", "class"),
    *("group", "campaign", "advertiser", "publisher", "domain", "model", "customer", "occupation"),
}
_NUMBER_WORDS = {
    *("count", "cnt", "num", "number", "price", "amount", "age", "rate", "ratio", "ctr", "cvr"),
    *("avg", "mean", "sum", "total", "len", "length", "duration", "days", "hours", "minutes"),
    *("seconds", "clicks", "views", "impressions", "freq", "frequency", "size", "width", "height"),
    *("weight", "rank", "qty", "quantity", "cost", "bid", "budget", "score", "income"),
}
_ROW_NAMES = re.compile(r"(request|impression|session|event|log|row|sample|uu)_?id")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_CRITEO_NUMBER, _CRITEO_ID = re.compile(r"[Ii]\d+"), re.compile(r"[Cc]\d+")
_MANY = 50
_NESTED = ("list", "large_list", "fixed_size_list", "struct", "map")


@dataclass(frozen=True)
class Column:
    """What is seen of a column.

    Parameters
    ----------
    name : str
        Its name.
    values : tuple of str
        Those in the first rows, without missing ones.
    kind : str
        Its type, where the file says one.
    """

    name: str
    values: tuple[str, ...]
    kind: str = ""

    @cached_property
    def distinct(self) -> set[str]:
        """The values, each once."""
        return set(self.values)

    @cached_property
    def words(self) -> list[str]:
        """What the name is made of."""
        return [word.lower() for word in _WORD.findall(self.name)]

    @cached_property
    def numeric(self) -> bool:
        """Whether all values are numbers."""
        return bool(self.values) and all(map(_NUMBER.fullmatch, self.values))

    @cached_property
    def whole(self) -> bool:
        """Whether they are whole ones, as 7 and 7.0 are."""
        return self.numeric and all(float(value).is_integer() for value in self.distinct)

    @cached_property
    def binary(self) -> bool:
        """Whether they are 0 and 1, or false and true."""
        found = {value.lower() for value in self.distinct}
        return bool(found) and (
            found <= {"0", "1"} or found <= {"0.0", "1.0"} or found <= {"true", "false"}
        )

    @cached_property
    def counts(self) -> bool:
        """Whether they are whole numbers from 0 on, whose logarithm suits a model."""
        return self.whole and min(map(float, self.distinct)) >= 0

    def look(self) -> str:
        """Say what the values look like."""
        if not self.values:
            return "nothing in the first rows"
        if self.numeric:
            numbers = [float(value) for value in self.distinct]
            what = "whole numbers" if self.whole else "numbers"
            return f"{what}, {min(numbers):.15g} to {max(numbers):.15g}, {self._count()}"
        return f"texts such as {printable(self.values[0])[:30]!r}, {self._count()}"

    def _count(self) -> str:
        return f"{len(self.distinct):,} distinct"


@dataclass(frozen=True)
class TimeGuess:
    """A column of times.

    Parameters
    ----------
    column : Column
        The column.
    key, value : str
        What a map must say of it; empty where nothing.
    why : str
        What the value is guessed from.
    rule : TimeRule
        The same as a rule.
    """

    column: Column
    key: str = ""
    value: str = ""
    why: str = ""
    rule: TimeRule = field(default_factory=TimeRule)

    def in_order(self) -> bool:
        """Whether the first rows are in order of it."""
        times = [self.rule.of(value) for value in self.column.values]
        return all(earlier <= later for earlier, later in pairwise(times))


def guess_label(columns: Sequence[Column]) -> Column | None:
    """Return what is most likely the label: by its name, else the only column of 0 and 1."""
    named = {column.name.strip().lower(): column for column in reversed(columns)}
    candidates = [named[name] for name in _LABEL_NAMES if name in named]
    usable = [c for c in candidates if c.binary or guess_rule(c) is not None]
    binary = [column for column in usable if column.binary]
    if usable:
        return (binary or usable)[0]
    others = [c for c in columns if c.name and c.binary and not _ID_WORDS.intersection(c.words)]
    return others[0] if len(others) == 1 else None


def guess_rule(column: Column) -> str | None:
    """Return a rule for labels that are not 0 and 1."""
    if column.numeric:
        numbers = sorted({float(value) for value in column.distinct})
        if numbers[0] < 0 or numbers[-1] > 10:
            return "> 0"
        return ">= 4" if 3 < numbers[-1] <= 5 else f">= {0.8 * numbers[-1]:g}"
    words = [value for value in column.distinct if value.lower() in _POSITIVE_WORDS]
    return f"== {words[0]!r}" if len(words) == 1 and "'" not in words[0] else None


def guess_time(columns: Sequence[Column]) -> TimeGuess | None:
    """Return the column of times, if there is one: one of such a name before others."""
    named = [column for column in columns if _TIME_WORDS.intersection(column.words)]
    for column in [*named, *(column for column in columns if column not in named)]:
        if not column.name:
            continue
        if column.kind.startswith(("timestamp", "date")):
            return TimeGuess(column)
        if not column.values:
            continue
        if not column.numeric:
            guess = _text_time(column)
        else:
            guess = _number_time(column) if column in named else None
        if guess is not None:
            return guess
    return None


def _text_time(column: Column) -> TimeGuess | None:
    for form in (None, *TEXT_FORMATS):
        rule = TimeRule(format=form)
        if _fits(column, rule):
            if form is None:
                return TimeGuess(column, rule=rule)
            return TimeGuess(column, "time_format", form, _such(column), rule)
    return None


def _number_time(column: Column) -> TimeGuess | None:
    digits = [value.removesuffix(".0") for value in column.distinct]
    for form in FORMATS:
        if all(calendar_ns(value, form) is not None for value in digits):
            return TimeGuess(column, "time_format", form, _such(column), TimeRule(format=form))
    for unit in UNITS:
        if _fits(column, TimeRule(unit)):
            return TimeGuess(column, "time_unit", unit, _such(column), TimeRule(unit))
    # A name such as hour or age_days alone makes no time of a number.
    if {"time", "timestamp", "ts"}.intersection(column.words):
        rule = TimeRule(origin="start")
        why = f"{_such(column)}: no time since 1970; in s?"
        return TimeGuess(column, "time_origin", "start", why, rule)
    return None


def _fits(column: Column, rule: TimeRule) -> bool:
    try:
        for value in column.distinct:
            rule.of(value)
    except ValueError:
        return False
    return True


def _such(column: Column) -> str:
    return f"such as {printable(column.values[0])[:40]}"


def guess_kind(column: Column, rows: int) -> tuple[str, str]:
    """Return dense, sparse or nothing, and why.

    Parameters
    ----------
    column : Column
        The column.
    rows : int
        How many rows were looked at.
    """
    why_not = _useless(column, rows)
    if why_not:
        return "", why_not
    if not column.numeric:
        return "sparse", column.look()
    if not column.whole or _CRITEO_NUMBER.fullmatch(column.name):
        return "dense", column.look()
    # The last word says what a name is of: user_age is a number, age_group is none.
    telling = [word for word in column.words if word in _ID_WORDS | _NUMBER_WORDS]
    if _CRITEO_ID.fullmatch(column.name) or (telling and telling[-1] in _ID_WORDS):
        return "sparse", column.look()
    if telling or any(value.startswith("-") for value in column.distinct):
        return "dense", column.look()
    return "sparse", f"{column.look()}: ids, or numbers?"


def _useless(column: Column, rows: int) -> str:
    """Say why a column is better left out, if it is."""
    name = column.name.strip().lower()
    if column.kind.startswith(_NESTED):
        return f"{column.kind}: one value a row is read"
    if not column.name or not column.values:
        return "nothing in the first rows" if column.name else "a column without a name"
    alone = len(column.distinct) == len(column.values) == rows
    if alone and (name in INDEX_NAMES or (rows >= _MANY and _ROW_NAMES.fullmatch(name))):
        return "another in each row, which nothing can be learned from"
    if name in _LABEL_NAMES and (column.binary or guess_rule(column) is not None):
        return "another label? It may be known only after the row"
    return ""
