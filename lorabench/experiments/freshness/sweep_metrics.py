"""What a sweep says: AUC at each point, the difference of two strategies, and where that is 0."""

from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

from lorabench.experiments.freshness.quality import Replayed
from lorabench.experiments.freshness.sweep_axes import Axis, Grid, Point, Value, labels
from lorabench.results import schema
from lorabench.results.case import Case
from lorabench.results.crossover import crossovers
from lorabench.results.metrics import MetricTable
from lorabench.results.statistics import Estimate

Values = list[float | None]

_PUSHED = ("pushes", "pushed_bytes", "push_s")


class SweepTable:
    """Metrics of a sweep, and series along its axes.

    Parameters
    ----------
    grid : Grid
        What was swept over.
    of : tuple of str
        The two strategies whose difference it is about.
    arms : sequence of tuple
        Of each point and strategy: the point, the name, what of the point it depends on, and its
        replays, one a seed.
    blocks : sequence of range
        Windows of each replicate within a replay.

    Attributes
    ----------
    table : MetricTable
    series : list of schema.Series
    """

    def __init__(
        self,
        grid: Grid,
        of: tuple[str, ...],
        arms: Sequence[tuple[Point, str, Point, Sequence[Replayed]]],
        blocks: Sequence[range],
    ) -> None:
        self._grid = grid
        self._of = of
        self._blocks = blocks
        self.table = MetricTable()
        self.series: list[schema.Series] = []
        # By what is known of a point; a point is looked up by its values in the grid's order.
        areas: dict[tuple[tuple[Value, ...], str], list[Values]] = {}
        for point, name, depends, replays in arms:
            areas[self._place(point), name] = self._areas(replays)
            case = self._case(name, depends, strategy=name)
            if not self.table.values("auc", case):
                self._add_arm(case, replays)
        self._differences = {
            place: self._difference(areas[place, of[0]], areas[place, of[1]]) for place, _ in areas
        }
        for point in grid.points():
            if (values := self._differences.get(self._place(point))) is not None:
                case = self._case(" - ".join(of), point, strategy=of[0], against=of[1])
                self.table.add("auc_difference", case, *values)
        for axis in grid.axes:
            if axis.numeric:
                for line in self._lines(axis):
                    self._add_line(axis, line)

    def _place(self, point: Point) -> tuple[Value, ...]:
        return tuple(point[axis.kind.field] for axis in self._grid.axes)

    def _case(self, name: str, point: Point, **of: str) -> Case:
        where = self._grid.text(point)
        return Case(f"{name}, {where}" if where else name, {**of, **labels(point)})

    def _areas(self, replays: Sequence[Replayed]) -> list[Values]:
        """Return the AUC of the windows of each replicate; none where it diverged."""
        return [
            list(one.quality.auc[block.start : block.stop]) if one.comparable else []
            for one in replays
            for block in self._blocks
        ]

    def _add_arm(self, case: Case, replays: Sequence[Replayed]) -> None:
        """Write down what became of a strategy at a point."""
        self.table.add("auc", case, *map(_mean, self._areas(replays)))
        for name in _PUSHED:
            if any(name in one.at_end for one in replays):
                told = (list(one.at_end.get(name, ())) for one in replays)
                self.table.add(name, case, *(_mean(values) for values in told))

    def _difference(self, ours: list[Values], theirs: list[Values]) -> Values:
        """Return the mean difference over the windows of each replicate."""
        return [
            _mean([a - b for a, b in zip(one, other, strict=False) if None not in (a, b)])  # type: ignore[operator]
            for one, other in zip(ours, theirs, strict=True)
        ]

    def _lines(self, along: Axis) -> Iterator[list[Point]]:
        """Return the points of each line along an axis that could be run."""
        others = [axis for axis in self._grid.axes if axis is not along]
        found: dict[tuple[Value, ...], list[Point]] = {}
        for point in self._grid.points():
            if self._place(point) in self._differences:
                key = tuple(point[axis.kind.field] for axis in others)
                found.setdefault(key, []).append(point)
        yield from found.values()

    def _add_line(self, axis: Axis, line: list[Point]) -> None:
        """Write down the difference along a line, and where it changes sign."""
        kind = axis.kind
        xs = [float(point[kind.field]) for point in line]
        order = sorted(range(len(xs)), key=xs.__getitem__)
        xs = [xs[n] for n in order]
        at = [self._differences[self._place(line[n])] for n in order]
        where = {name: value for name, value in line[0].items() if name != kind.field}
        name = " - ".join(self._of)
        pair = {"strategy": self._of[0], "against": self._of[1]}
        case = self._case(f"{name} along {axis.name}", where, along=axis.name, **pair)
        means = [_mean(values) for values in at]
        there = [(x * kind.si, y) for x, y in zip(xs, means, strict=True) if y is not None]
        unit = {"s": "s", "B": "B", "Gbit/s": "bit/s"}.get(kind.unit, "1")
        if there:
            x, y = zip(*there, strict=True)
            metric = f"auc_difference_by_{kind.field}"
            self.series.append(schema.Series.of(metric, case, x, y, units=(unit, "1")))
        found = crossovers(xs, list(zip(*at, strict=True)), log=True)
        for number, one in enumerate(found, 1):
            many = {"number": str(number)} if len(found) > 1 else {}
            told = case.also(f"crossing {number}", **many) if many else case
            self._put(kind.crossover, told, one.estimate, kind.si)
            scaled = (None if value is None else value * kind.si for value in one.values)
            self.table.add(kind.crossover, told, *scaled)

    def _put(self, metric: str, case: Case, estimate: Estimate, si: float) -> None:
        scaled: Callable[[float], float] = lambda value: value * si  # noqa: E731
        bounds = estimate.interval
        interval = None if bounds is None else (scaled(bounds[0]), scaled(bounds[1]))
        self.table.put(metric, case, Estimate(scaled(estimate.value), interval, estimate.n))


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return fmean(there) if there else None
