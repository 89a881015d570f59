"""Columns of times as nanoseconds since 1970: timestamps, ISO 8601, numbers, any strptime format.

A time without a zone is UTC. Times before 1990 or from 2100 on are no times of a click: as a rule a
number was read in the wrong unit, and what would make a likely time of it is named. Arrow parses
what it parses as Python does; the rest goes through Python, distinct text by distinct text.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lorabench.workload.column_map import TimeUnit

UNIT_NS: dict[str, int] = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
UNITS: tuple[TimeUnit, ...] = get_args(TimeUnit)

FORMATS = (
    *("%Y%m%d%H%M%S", "%Y%m%d%H%M", "%Y%m%d%H", "%Y%m%d"),
    *("%y%m%d%H%M%S", "%y%m%d%H%M", "%y%m%d%H", "%y%m%d"),
)
"""Calendar times that are written as numbers."""

TEXT_FORMATS = (
    *("%d/%b/%Y:%H:%M:%S %z", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y"),
    *("%a %b %d %H:%M:%S %z %Y", "%a %b %d %H:%M:%S %Y", "%d %b %Y %H:%M:%S", "%b %d, %Y"),
)
"""Further ones that can be told from one another; which of 1/2/2024 is the month cannot."""

EARLIEST_NS = 631_152_000 * 10**9
LATEST_NS = 4_102_444_800 * 10**9
_FARTHEST_NS = 2**62

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WIDTHS = {"%Y": 4, "%y": 2, "%m": 2, "%d": 2, "%H": 2, "%M": 2, "%S": 2}
# Whose parsing by Arrow (the C library's) and by Python agrees, but for days and seconds that there
# are none of.
_PLAIN = re.compile(r"(%[YymdHMS]|[^%\s])*")
_FRACTION = re.compile(r"(?<=:\d\d)[.,](\d+)")
_MONTH = re.compile(r"\d{4}-\d\d")
_LOOKED_AT = 64
_INTEGER = re.compile(r"[+-]?\d+(\.0*)?")


@dataclass(frozen=True)
class TimeRule:
    """What times are written as.

    Parameters
    ----------
    unit : {"s", "ms", "us", "ns"}
        Of numbers.
    format : str or None
        As of ``strptime``.
    origin : {"epoch", "start"}
        What numbers count from; only those since 1970 have a range.
    assumed : bool
        The unit was not said.
    """

    unit: str = "s"
    format: str | None = None
    origin: Literal["epoch", "start"] = "epoch"
    assumed: bool = False

    def of(self, value: object) -> int:
        """Read one time as ns.

        Raises
        ------
        ValueError
            It is none; says what was expected.
        """
        text = _clean(value)
        try:
            at = self._of(value, text)
        except (ValueError, OverflowError, ArithmeticError):
            raise ValueError(self.expected) from None
        self.check(text, at)
        return at

    @property
    def expected(self) -> str:
        """What a time must be, in words."""
        if self.format is not None:
            return f"a time of the form {self.format}"
        return f"a time: a number of {self.unit}, ISO 8601, or another form by time_format"

    def allowed(self, at: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which times are in range."""
        if self.origin == "start":
            return np.asarray(np.abs(at) < _FARTHEST_NS)
        return np.asarray((at >= EARLIEST_NS) & (at < LATEST_NS))

    def _of(self, value: object, text: str) -> int:
        if isinstance(value, datetime):
            return _since_epoch(value)
        if self.format is not None:
            return _strptime_ns(text, self.format)
        if isinstance(value, float):
            whole = math.floor(value)
            return whole * UNIT_NS[self.unit] + int((value - whole) * UNIT_NS[self.unit])
        try:
            return int(Decimal(text) * UNIT_NS[self.unit])
        except ArithmeticError:
            return _iso_ns(text)

    def check(self, text: str, at: int) -> None:
        """Refuse a time that is out of range.

        Parameters
        ----------
        text : str
            As it was written, for a hint of what was meant.
        at : int
            The time in ns.

        Raises
        ------
        ValueError
            Says what is expected.
        """
        if self.origin == "start":
            if abs(at) >= _FARTHEST_NS:
                raise ValueError(f"less than a century in {self.unit}")
            return
        if not EARLIEST_NS <= at < LATEST_NS:
            raise ValueError(f"a time within 1990 to 2100, not in {_year(at)}{_hint(text, self)}")


def _clean(value: object) -> str:
    """Return a value as text; a whole number of a float column without its ``.0``."""
    text = str(value).strip()
    return text[: text.index(".")] if "." in text and _INTEGER.fullmatch(text) else text


def _year(at: int) -> str:
    try:
        return f"{(_EPOCH + timedelta(microseconds=at // 1000)).year}"
    except OverflowError:
        return f"the year {at / (365.2425 * 86_400e9) + 1970:.0f}"


def _hint(text: str, rule: TimeRule) -> str:
    """Say what would make a likely time of a number."""
    fits = list(readings(text, rule))
    if fits:
        return f" ({' or '.join(fits)})"
    if rule.format is None and _INTEGER.fullmatch(text):
        return ' (time_origin = "start" takes numbers that count from the first row)'
    return ""


def readings(text: str, rule: TimeRule) -> Iterator[str]:
    """Say which other units and formats make a time within 1990 to 2100 of a number."""
    if not _INTEGER.fullmatch(text):
        return
    if text.isdigit():
        for form in FORMATS:
            at = calendar_ns(text, form)
            if at is not None and form != rule.format:
                yield f'time_format = "{form}" reads it as {_day(at)}'
    for unit in UNITS:
        at = int(Decimal(text)) * UNIT_NS[unit]
        if EARLIEST_NS <= at < LATEST_NS and (unit != rule.unit or rule.format is not None):
            yield f'time_unit = "{unit}" reads it as {_day(at)}'


def calendar_ns(text: str, form: str) -> int | None:
    """Read digits as a calendar time of one of `FORMATS`; None where they are none."""
    if len(text) != sum(_WIDTHS[form[i : i + 2]] for i in range(0, len(form), 2)):
        return None
    try:
        at = _strptime_ns(text, form)
    except ValueError:
        return None
    return at if EARLIEST_NS <= at < LATEST_NS else None


def _day(at: int) -> str:
    return (_EPOCH + timedelta(microseconds=at // 1000)).strftime("%Y-%m-%d %H:%M")


def _strptime_ns(text: str, form: str) -> int:
    return _since_epoch(datetime.strptime(text, form))  # noqa: DTZ007 (UTC by `_since_epoch`)


def _since_epoch(when: datetime) -> int:
    aware = when.replace(tzinfo=UTC) if when.tzinfo is None else when
    return (aware - _EPOCH) // timedelta(microseconds=1) * 1000


def _iso_ns(text: str) -> int:
    """Read ISO 8601 to the nanosecond; a month alone is its first day."""
    for zone in (" UTC", " GMT"):  # as BigQuery and others write it
        text = f"{text.removesuffix(zone)}+00:00" if text.endswith(zone) else text
    if _MONTH.fullmatch(text):
        text = f"{text}-01"
    fraction = _FRACTION.search(text)
    nanoseconds = 0
    if fraction is not None:
        nanoseconds = int(fraction[1].ljust(9, "0")[:9])
        text = text[: fraction.start()] + text[fraction.end() :]
    return _since_epoch(datetime.fromisoformat(text)) + nanoseconds


def read_times(column: Any, rule: TimeRule) -> tuple[NDArray[np.int64], dict[int, str]]:
    """Read a column.

    Parameters
    ----------
    column : pyarrow.Array [N]
        Timestamps, dates, numbers or texts; null where there is nothing.
    rule : TimeRule
        What they are written as.

    Returns
    -------
    time_ns : int64 [N]
        0 where there is none.
    bad : dict of int to str
        Place of each value that is no time, and what was expected.
    """
    at, sure = _at_once(column, rule)
    sure &= column.is_valid().to_numpy(zero_copy_only=False) & rule.allowed(at)
    bad: dict[int, str] = {}
    known: dict[object, int | str] = {}
    typed = pa.types.is_temporal(column.type)
    for i in np.flatnonzero(~sure).tolist():
        value = int(at[i]) if typed else column[i].as_py()
        if value not in known:
            known[value] = _out_of_range(value, rule) if typed else _one(value, rule)
        found = known[value]
        if isinstance(found, str):
            bad[i] = found
        at[i] = 0 if isinstance(found, str) else found
    return at, bad


def _out_of_range(at: int, rule: TimeRule) -> str:
    try:
        rule.check("", at)
    except ValueError as error:
        return str(error)
    return rule.expected


def _one(value: object, rule: TimeRule) -> int | str:
    """Return a time, or what was expected."""
    if value is None:
        return rule.expected
    try:
        return rule.of(value)
    except ValueError as error:
        return str(error)


def ambiguity(column: Any, rule: TimeRule) -> str | None:
    """Say which two readings numbers have whose unit was not said; None where there is one.

    2014102100 is an hour of 2014, and a second of 2033. Seconds have a calendar reading as well
    once in 200 times, so that a few of them tell.
    """
    if not rule.assumed or rule.format is not None or rule.origin == "start":
        return None
    texts = [_clean(value) for value in column.drop_null()[:_LOOKED_AT].to_pylist()]
    if not texts or not all(text.isdigit() for text in texts):
        return None
    for form in FORMATS:
        if all(calendar_ns(text, form) is not None for text in texts):
            at = int(texts[0]) * UNIT_NS[rule.unit]
            if not EARLIEST_NS <= at < LATEST_NS:
                return None  # which is refused with a hint of its own
            first = calendar_ns(texts[0], form)
            assert first is not None
            return (
                f"{texts[0]}, which is {_day(first)} as {form} and {_day(at)} in {rule.unit}, "
                f'expected which in the map: time_format = "{form}" or time_unit = "{rule.unit}"'
            )
    return None


def _at_once(column: Any, rule: TimeRule) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Read what Arrow reads: times, and which of them are sure to be what `TimeRule.of` gives."""
    if (factor := _factor(column.type, rule)) is not None:
        scaled = _of_floats if pa.types.is_floating(column.type) else _scaled
        return scaled(column, factor)
    try:
        texts = pc.utf8_trim_whitespace(column.cast(pa.string()))
        if rule.format is None:
            return _of_texts(texts, rule)
        if _PLAIN.fullmatch(rule.format):
            return _formatted(texts, rule.format)
    except pa.ArrowException:
        pass
    return np.zeros(len(column), np.int64), np.zeros(len(column), bool)


def _factor(kind: Any, rule: TimeRule) -> int | None:
    """Return the ns that one of a column's numbers stands for; None where it has no numbers."""
    if pa.types.is_timestamp(kind):
        return UNIT_NS[kind.unit]
    if pa.types.is_date32(kind):
        return 86_400 * 10**9
    if pa.types.is_date64(kind):
        return UNIT_NS["ms"]
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return UNIT_NS[rule.unit] if numeric and rule.format is None else None


def _scaled(column: Any, factor: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    if pa.types.is_uint64(column.type):
        column = column.cast(pa.decimal128(38, 0))
        return _of_decimals(column.cast(pa.decimal128(38, 9)), factor)
    days = pa.types.is_date32(column.type)
    numbers = (column.cast(pa.int32()) if days else column).cast(pa.int64()).fill_null(0).to_numpy()
    sure = np.abs(numbers) <= _FARTHEST_NS // factor
    return np.where(sure, numbers, 0) * factor, sure


def _of_floats(column: Any, factor: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    numbers = column.cast(pa.float64()).fill_null(np.nan).to_numpy()
    sure = np.abs(numbers) <= _FARTHEST_NS // factor  # NaN is not
    numbers = np.where(sure, numbers, 0.0)
    whole = np.floor(numbers)
    part: NDArray[np.float64] = (numbers - whole) * factor
    return whole.astype(np.int64) * factor + part.astype(np.int64), sure


def _of_texts(texts: Any, rule: TimeRule) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    readers: tuple[Callable[[], tuple[NDArray[np.int64], NDArray[np.bool_]]], ...] = (
        lambda: _scaled(texts.cast(pa.int64()), UNIT_NS[rule.unit]),
        lambda: _scaled(texts.cast(pa.timestamp("us")).cast(pa.int64()), UNIT_NS["us"]),
        lambda: _scaled(texts.cast(pa.timestamp("us", "UTC")).cast(pa.int64()), UNIT_NS["us"]),
        lambda: _of_decimals(texts.cast(pa.decimal128(38, 9)), UNIT_NS[rule.unit]),
    )
    for reader in readers:
        try:
            return reader()
        except pa.ArrowException:
            continue
    return np.zeros(len(texts), np.int64), np.zeros(len(texts), bool)


def _of_decimals(column: Any, factor: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Read numbers of nine decimals, which Arrow keeps as integers of 128 bits."""
    billionths = np.frombuffer(column.fill_null(Decimal(0)).buffers()[1], np.int64)
    low, high = billionths.reshape(-1, 2)[column.offset : column.offset + len(column)].T
    sure = (high == low >> 63) & (np.abs(low) <= _FARTHEST_NS)
    low = np.where(sure, low, 0)
    return np.sign(low) * (np.abs(low) // (10**9 // factor)), sure


def _formatted(texts: Any, form: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    found = pc.strptime(texts, format=form, unit="s", error_is_null=True)
    at, sure = _scaled(found.cast(pa.int64()), 10**9)
    # The C library makes 2 March of 30 February, and a minute of 60 seconds.
    day = pc.day(found).fill_null(1).to_numpy()
    second = pc.second(found).fill_null(0).to_numpy()
    sure &= found.is_valid().to_numpy(zero_copy_only=False)
    return at, sure & (day > 3) & ((second > 1) | ("%S" not in form))
