"""Numbers as people write them: few digits, and units that make them neither tiny nor huge."""

from collections.abc import Iterable
from dataclasses import dataclass

from lorabench.results.schema import Metric
from lorabench.results.units import number

# Memory and caches are made, and options ask for them, in powers of two; bandwidths are told in
# powers of ten.
_BYTES = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B"))
_PREFIXES = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    "B": _BYTES,
    "B/s": ((1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s"), (1.0, "B/s")),
}


@dataclass(frozen=True)
class Scale:
    """The unit that numbers are shown in: a shown number is the number over `size`."""

    size: float
    unit: str

    def write(self, value: float | None) -> str:
        """Write a value in this unit."""
        return "-" if value is None else number(value / self.size)

    def named(self, what: str) -> str:
        """Return a heading: what is shown, and the unit if it has one."""
        return f"{what}, {self.unit}" if self.unit and self.unit != what else what


def scale_of(unit: str, values: Iterable[float | None]) -> Scale:
    """Return the unit in which the median of some values is 1 or more; its own for other units."""
    if unit not in _PREFIXES:
        return Scale(1.0, "" if unit == "1" else unit)
    sizes = sorted(abs(value) for value in values if value)
    middle = sizes[len(sizes) // 2] if sizes else 1.0
    listed = _PREFIXES[unit]
    return Scale(*next((one for one in listed if middle >= one[0]), listed[-1]))


def interval(bounds: tuple[float, float] | None, scale: Scale) -> str:
    """Write an interval; a dash where there is none."""
    if bounds is None:
        return "-"
    return f"[{scale.write(bounds[0])}..{scale.write(bounds[1])}]"


def with_bounds(metric: Metric | None, scale: Scale) -> str:
    """Write an estimate with its interval, if it has one; a dash where there is none."""
    if metric is None:
        return "-"
    text = scale.write(metric.estimate)
    if metric.estimate is None or metric.ci95 is None or metric.ci95[0] == metric.ci95[1]:
        return text
    return f"{text} {interval(metric.ci95, scale)}"
