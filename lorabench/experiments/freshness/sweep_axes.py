"""What a sweep goes over: one or two options, a few values each, and what depends on them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from lorabench.bench.options import Option
from lorabench.bench.sizes import parse_size, write_size
from lorabench.errors import InputError
from lorabench.experiments.freshness.study_options import DRIFT_KINDS
from lorabench.results.case import Label

Value = float | int | str
Point = Mapping[str, Any]
"""Values by the names of options' fields."""

LINK, ADAPTER, WORKLOAD = "link", "adapter", "workload"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("a number") from None


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("a whole number") from None


def _kind(text: str) -> str:
    if text not in DRIFT_KINDS:
        raise ValueError(f"one of {', '.join(DRIFT_KINDS)}")
    return text


@dataclass(frozen=True)
class AxisKind:
    """What can be swept over.

    Parameters
    ----------
    field : str
        Of the options; ``rank`` is none, but of the name of a strategy.
    of : str
        What it is a property of: `LINK`, `ADAPTER` or `WORKLOAD`.
    parse : callable
        From a text to a value.
    unit : str
        Of a value, for people.
    crossover : str
        Metric of where a difference changes sign; empty where there is no order.
    si : float
        What a value is multiplied by in that metric.
    """

    field: str
    of: str
    parse: Callable[[str], Value]
    unit: str = ""
    crossover: str = ""
    si: float = 1.0


KINDS = {
    "push-interval": AxisKind("push_interval_s", LINK, _number, "s", "crossover_push_interval_s"),
    "link-gbps": AxisKind("link_gbps", LINK, _number, "Gbit/s", "crossover_link_bits_per_s", 1e9),
    "links": AxisKind("links", LINK, _whole, crossover="crossover_links"),
    "emt-bytes": AxisKind("emt_bytes", LINK, parse_size, "B", "crossover_emt_bytes"),
    "drift-strength": AxisKind(
        "drift_strength", WORKLOAD, _number, crossover="crossover_drift_strength"
    ),
    "drift-kind": AxisKind("drift_kind", WORKLOAD, _kind),
    "rank": AxisKind("rank", ADAPTER, _whole, crossover="crossover_rank"),
    "memory-budget": AxisKind(
        "memory_budget", ADAPTER, _number, crossover="crossover_memory_budget"
    ),
}


@dataclass(frozen=True)
class Axis:
    """Values to go over.

    Parameters
    ----------
    name : str
        As it was given.
    values : tuple
        Ascending, but for kinds of drift.
    """

    name: str
    values: tuple[Value, ...]

    @property
    def kind(self) -> AxisKind:
        """What it is."""
        return KINDS[self.name]

    @property
    def numeric(self) -> bool:
        """Whether its values have an order."""
        return bool(self.kind.crossover)

    def text(self, value: Value) -> str:
        """Return a value as a person writes it."""
        return write_value(self.name, value)

    @classmethod
    def parse(cls, text: str, options: Mapping[str, Option]) -> "Axis":
        """Read ``NAME=V,V,...``.

        Raises
        ------
        InputError
            It is none, or a value is out of its option's range.
        """
        name, equals, listed = text.partition("=")
        if not equals or name not in KINDS:
            raise InputError(
                f"--sweep: found {text!r:.80}, expected NAME=V,V,... of one of {', '.join(KINDS)}"
            )
        kind = KINDS[name]
        values = []
        for one in listed.split(","):
            try:
                value = kind.parse(one.strip())
            except ValueError as error:
                raise InputError(f"--sweep {name}: found {one!r:.40}, expected {error}") from None
            known = options.get(kind.field)
            if known is not None and not isinstance(value, str) and not known.allows(value):
                raise InputError(
                    f"--sweep {name}: found {one.strip()}, expected {known.expected()}"
                )
            values.append(value)
        distinct = tuple(dict.fromkeys(values))
        if len(distinct) < 2 or len(distinct) < len(values):
            raise InputError(f"--sweep {name}: found {listed!r:.60}, expected values that differ")
        return cls(name, tuple(sorted(distinct)) if kind.crossover else distinct)


def write_value(axis: str, value: Any) -> str:
    """Return a value of an axis as a person writes it, with its unit."""
    kind = KINDS[axis]
    if kind.parse is parse_size:
        return write_size(float(value))
    text = value if isinstance(value, str) else f"{value:g}"
    return f"{text} {kind.unit}" if kind.unit else str(text)


@dataclass(frozen=True)
class Grid:
    """All points of a sweep.

    Parameters
    ----------
    axes : tuple of Axis
        One or two.
    """

    axes: tuple[Axis, ...]

    @classmethod
    def parse(cls, texts: Sequence[str], options: Mapping[str, Option]) -> "Grid":
        """Read what was given.

        Raises
        ------
        InputError
            An axis cannot be read, there are more than two, or two are the same.
        """
        axes = tuple(Axis.parse(text, options) for text in texts)
        if len(axes) > 2:
            raise InputError(f"--sweep: found {len(axes)} of them, expected one or two")
        if len({axis.name for axis in axes}) < len(axes):
            raise InputError(f"--sweep: found {axes[0].name} twice, expected two that differ")
        return cls(axes)

    def points(self) -> Iterator[Point]:
        """Return every combination of values."""
        fields = [axis.kind.field for axis in self.axes]
        for values in product(*(axis.values for axis in self.axes)):
            yield dict(zip(fields, values, strict=True))

    def part(self, point: Point, *of: str) -> dict[str, Any]:
        """Return what of a point is a property of one of these."""
        fields = {axis.kind.field for axis in self.axes if axis.kind.of in of}
        return {name: value for name, value in point.items() if name in fields}

    def text(self, point: Point) -> str:
        """Return a point, or a part of one, for people."""
        return ", ".join(
            f"{axis.name} {axis.text(point[axis.kind.field])}"
            for axis in self.axes
            if axis.kind.field in point
        )

    def told(self) -> list[dict[str, Any]]:
        """Return the axes as a document has them."""
        return [
            {"name": axis.name, "field": axis.kind.field, "values": list(axis.values)}
            for axis in self.axes
        ]


def labels(point: Point) -> dict[str, Label]:
    """Return a point as labels of a case."""
    return dict(point)
