"""A sweep: strategies replayed at each point of a grid, and where their difference changes sign.

What does not depend on a value is replayed once: points that differ in the link, the rank or the
budget are further arms of one replay, which a single training cluster trains for. Only another
drift is another stream, with a model of its own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lorabench.bench.experiment import Experiment, Findings, Observer
from lorabench.bench.options import options_of, resolved
from lorabench.errors import InputError
from lorabench.experiments.freshness.options import FreshnessOptions
from lorabench.experiments.freshness.quality import Replayed, blocks_of
from lorabench.experiments.freshness.race import Entrant
from lorabench.experiments.freshness.run import Freshness
from lorabench.experiments.freshness.sweep_axes import ADAPTER, LINK, WORKLOAD, Grid, Point
from lorabench.experiments.freshness.sweep_metrics import SweepTable
from lorabench.host.missing import Missing
from lorabench.model.tables import TableLayout
from lorabench.strategies.base import StrategySpec
from lorabench.strategies.deployment import Pushes
from lorabench.strategies.pushed import Pushed

STRATEGIES = ("lora", "delta", "none", "ideal")

Key = tuple[tuple[str, Any], ...]


def key_of(part: Mapping[str, Any]) -> Key:
    """Return part of a point as a key."""
    return tuple(sorted(part.items()))


def grid_of(options: FreshnessOptions) -> Grid:
    """Read the axes that are asked for.

    Raises
    ------
    InputError
        They cannot be read.
    """
    known = {one.name: option for one, option in options_of(type(options))}
    return Grid.parse(options.sweep, known)


@dataclass(frozen=True, eq=False)
class _Stream:
    """Points of one workload.

    Attributes
    ----------
    fresh : Freshness
        Replays it.
    points : list of Point
        That can be run.
    """

    fresh: Freshness
    points: list[Point]


class Sweep(Experiment):
    """Replay every point of a grid, a seed after the other; as `Experiment`.

    Raises
    ------
    InputError
        No point can be run, or the two strategies to compare are not among those replayed.
    """

    options: FreshnessOptions

    def __init__(self, options: FreshnessOptions) -> None:
        if options.strategies == FreshnessOptions.strategies:
            options = replace(options, strategies=STRATEGIES)
        self._given = options
        super().__init__(replace(options, seeds=options.replicates))
        absent = [name for name in options.sweep_of if name not in options.strategies]
        if absent:
            raise InputError(
                f"--sweep-of: found {absent[0]}, which is not among --strategies "
                f"{','.join(options.strategies)}; expected two of them"
            )
        self._grid = grid_of(options)
        self._missing: list[Missing] = []
        self._streams = self._opened()
        replays = 1 if options.data is not None else options.replicates
        self._seeds = range(options.seed, options.seed + replays)
        # By workload, a mapping a seed.
        self._found: dict[Key, list[dict[tuple[str, Key], Replayed]]] = {}
        self._pretrain_rows: int | None = None

    def _opened(self) -> dict[Key, _Stream]:
        """Return what can be run, by workload; write down what cannot."""
        found: dict[Key, _Stream] = {}
        reasons: list[InputError] = []
        unusable: dict[Key, InputError] = {}
        for point in self._grid.points():
            drift = self._grid.part(point, WORKLOAD)
            key = key_of(drift)
            try:
                if key in unusable:
                    raise unusable[key]
                if key not in found:
                    try:
                        fresh = Freshness(replace(self._given, **drift))
                    except InputError as error:
                        unusable[key] = error
                        raise
                    found[key] = _Stream(fresh, [])
                self._check(found[key].fresh, point)
            except InputError as error:
                reasons.append(error)
                where = self._grid.text(point)
                self._missing.append(Missing(where, str(error), "sweep over other values"))
                continue
            found[key].points.append(point)
        found = {key: stream for key, stream in found.items() if stream.points}
        if not found:
            raise reasons[0]
        return found

    def _check(self, fresh: Freshness, point: Point) -> None:
        """Refuse a point at which a strategy cannot be made, or sends nothing."""
        spec = fresh.source.spec
        layout = TableLayout(spec.table_rows, spec.model.dim, spec.sparse.hotness)
        options = self._at(point)
        for one in fresh.specs:
            one.kind.check(_with_rank(one, point), layout, options.memory_budget)
        fresh.check_pushes(options)

    def _at(self, point: Point) -> FreshnessOptions:
        return replace(self.options, **{k: v for k, v in point.items() if k != "rank"})

    def measure(self, observer: Observer) -> None:
        """Replay all streams of every seed.

        Raises
        ------
        InputError
            Too few rows for the windows, bad data, or memory that does not suffice.
        """
        # Rows that are there are one stream, and so are windows that depend on them.
        for stream in self._streams.values():
            stream.fresh.fit_windows()
            fitted = replace(self._given, windows=stream.fresh.options.windows)
            self.options = replace(fitted, seeds=fitted.replicates)
        total = len(self._seeds) * len(self._streams)
        number = 0
        if self.options.tune:
            for stream in self._streams.values():
                stream.fresh.tune(observer.stage)
        for seed in self._seeds:
            for key, stream in self._streams.items():
                number += 1
                report = _numbered(observer.stage, number, total)
                # Only what is whole: a replay may end in an interruption.
                replayed = self._replay(stream, seed, report)
                self._found.setdefault(key, []).append(replayed)

    def _replay(
        self, stream: _Stream, seed: int, report: Callable[[str, float], None]
    ) -> dict[tuple[str, Key], Replayed]:
        """Replay all points of a stream at once."""
        arms: dict[tuple[str, Key], Point] = {}
        for spec in stream.fresh.specs:
            for point in stream.points:
                arms.setdefault((spec.name, self._depends(spec, point)), point)
        specs = {spec.name: spec for spec in stream.fresh.specs}

        def arrange(pushes: Callable[[FreshnessOptions], Pushes]) -> list[Entrant]:
            return [
                Entrant(
                    replace(_with_rank(specs[name], point), seed=seed),
                    pushes(self._at(point)),
                    self._at(point).memory_budget,
                )
                for (name, _), point in arms.items()
            ]

        replicate = stream.fresh.replay(seed, report, arrange)
        self._pretrain_rows = replicate.pretrain_rows
        return dict(zip(arms, replicate.strategies, strict=True))

    def _depends(self, spec: StrategySpec, point: Point) -> Key:
        """Return what of a point changes a strategy's replay of one stream."""
        kind = spec.kind
        part: dict[str, Any] = {}
        if kind.ships_deltas or issubclass(kind, Pushed):
            part |= self._grid.part(point, LINK)
        adapter = self._grid.part(point, ADAPTER)
        if spec.learns and kind.learns_here and "memory_budget" in adapter:
            part["memory_budget"] = adapter["memory_budget"]
        if "rank" in spec.params and "rank" in adapter:
            part["rank"] = adapter["rank"]
        return key_of(part)

    def findings(self) -> Findings | None:
        """Return what the seeds say that are through; before one is, the streams that are."""
        if not self._found:
            return None
        options = self.options
        first = next(iter(self._streams.values())).fresh
        several = 1 if options.data is None else options.replicates
        blocks = blocks_of(options.stretches, several)
        # Interrupted, one stream may have come to a seed that another has not.
        seeds = min(map(len, self._found.values()))
        measured = SweepTable(self._grid, options.sweep_of, list(self._arms(seeds)), blocks)
        config: dict[str, Any] = {
            "experiment": resolved(options),
            "sweep": {"axes": self._grid.told(), "of": list(options.sweep_of)},
            "replicates": {
                "of": "seeds" if options.data is None else "time",
                "seeds": list(self._seeds)[:seeds],
                "windows": [len(block) for block in blocks],
            },
            "workload": {
                "kind": first.source.kind,
                "digest": first.source.digest,
                "spec": first.source.spec.model_dump(mode="json"),
            },
            "model": {"pretrain_rows": self._pretrain_rows},
        }
        hashed = {name: value for name, value in config.items() if name != "replicates"}
        return Findings(
            config,
            hashed,
            measured.table,
            series=measured.series,
            unavailable=self._missing,
            notes=first.source.notes,
        )

    def _arms(self, seeds: int) -> Iterator[tuple[Point, str, Point, Sequence[Replayed]]]:
        """Return each point's strategies: what of it they depend on, and their replays."""
        for key, replays in self._found.items():
            stream = self._streams[key]
            for point in stream.points:
                for spec in stream.fresh.specs:
                    depends = self._depends(spec, point)
                    found = [replay[spec.name, depends] for replay in replays[:seeds]]
                    yield point, spec.name, dict(depends) | dict(key), found


def _with_rank(spec: StrategySpec, point: Point) -> StrategySpec:
    """Return a strategy at a point's rank, where both have one."""
    if "rank" in point and "rank" in spec.params:
        return spec.given(rank=point["rank"])
    return spec


def _numbered(
    stage: Callable[[str, float], None], number: int, total: int
) -> Callable[[str, float], None]:
    if total == 1:
        return stage
    return lambda text, done: stage(f"stream {number} of {total}: {text}", done)
