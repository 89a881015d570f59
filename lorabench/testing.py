"""What an update strategy has to keep to, as a suite that a package of one's own can run.

A strategy is registered as an entry point of the group ``lorabench.strategies``. In a test of the
package that does so::

    from lorabench.testing import check_strategy

    def test_my_strategy_keeps_to_what_a_replay_needs() -> None:
        check_strategy("mine")

Small streams are made here, and replayed as `lorabench freshness` replays one.

Longer than 400 lines: every property is one short check, and all are held against the same streams.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.experiments.freshness.quality import Floats, Quality, Replayed
from lorabench.experiments.freshness.race import Race
from lorabench.memory import Region
from lorabench.model.dlrm import DenseNet, DlrmShape
from lorabench.model.full import TrainedModel
from lorabench.model.tables import TableLayout, TableSet
from lorabench.results.quality import log_losses
from lorabench.results.registry import metric_spec
from lorabench.strategies.base import StrategySpec
from lorabench.strategies.deployment import Deployment, Pushes
from lorabench.strategies.registry import parse
from lorabench.updates.link import Link, Scale, Sync
from lorabench.updates.rows import RowNumbers
from lorabench.workload.block import Block, dense_features
from lorabench.workload.features import plain_dense
from lorabench.workload.planted import sigmoid

_ROWS, _DIM, _DENSE = (2000, 500), 8, 2
_COUNTS = plain_dense(_DENSE)
_BATCH = 256
_BATCHES = 48
_DELAY_S = 0.5
_BUDGET = 0.5
# Of the round trip of a link, in whole seconds, and of labels that are told otherwise: they come
# once the first push has begun, and long before it lands, where labels may decide to refuse it.
_ROUND_TRIP_S, _TAKEN, _SETTLED, _ENOUGH = 16, 8, 13, 28
# Of a row on the link at least: half a byte a value, and what says which row it is.
_LEAST_ROW_BYTES = _DIM // 2
# Learning by noise alone costs a little; by more than this, rates are wrong.
_TOLERANCE = 0.03

_NS = 1_000_000_000
_FREE = Link(np.inf)


class CheckError(AssertionError):
    """A strategy does not keep to what a replay needs."""


@dataclass(frozen=True, eq=False)
class _Run:
    """What became of a replay: click probabilities, the strategy's own words, bytes it maps."""

    probabilities: list[Floats]
    told: dict[str, list[float]]
    peak_bytes: int
    steps: list[int]
    mapped_bytes: int


def check_strategy(name: str, *, hotness: Sequence[int] = ()) -> None:
    """Check a registered strategy, one property after the other.

    It predicts what is finite and in shape, is deterministic, sees nothing from the future, serves
    nothing that its link cannot have carried, accounts for what it sent and holds, leaves the base
    model as it was, gets better where a stream drifts, if it learns, and makes no difference where
    none does. Of memory, what it holds in lorabench's shared memory is measured; what else it holds
    is taken on trust as it tells it.

    Parameters
    ----------
    name : str
        As it is given to ``--strategies``.
    hotness : sequence of int, length 2, optional
        Rows that a sample looks up in each of the two tables; one by default.

    Raises
    ------
    CheckError
        Naming the property, what was found and what was expected.
    InputError
        There is no such strategy, or it does not import.
    """
    spec = parse(name)
    with closing(_World(tuple(hotness))) as world:
        for check in _CHECKS:
            check(world, spec)


class _World:
    """A model, and streams whose labels it does or does not know."""

    def __init__(self, hotness: tuple[int, ...]) -> None:
        rng = np.random.default_rng(0)
        layout = TableLayout(_ROWS, _DIM, hotness)
        self.tables = TableSet.create(layout)
        for table in self.tables.arrays:
            table[:] = 0.3 * rng.standard_normal(table.shape)
        net = DenseNet(DlrmShape(_DENSE, len(_ROWS), _DIM, (8,), (16,)))
        net.initialise(0)
        sums = [np.full(rows, 0.01, np.float32) for rows in _ROWS]
        self.model = TrainedModel(self.tables, net, sums)
        self.rows = self._draw(rng)
        self._drifting: dict[str, _Run] = {}
        with closing(Deployment(self.model, _BUDGET)) as home:
            none = parse("none").make(home)
            self.base = np.concatenate(
                [none.predict(dense_features(one.dense, _COUNTS), one.sparse) for one in self.rows]
            )

    def _draw(self, rng: np.random.Generator) -> list[Block]:
        hot = self.tables.layout.lookups
        found = []
        for number in range(_BATCHES):
            sparse = np.concatenate(
                [
                    (rows * rng.random((_BATCH, hot[f])) ** 3).astype(np.int32)
                    for f, rows in enumerate(_ROWS)
                ],
                axis=1,
            )
            # A second of the stream each.
            time_ns = number * _NS + np.arange(_BATCH, dtype=np.int64) * (_NS // _BATCH)
            dense = rng.integers(0, 5, (_BATCH, _DENSE)).astype(np.float32)
            found.append(Block(np.zeros(_BATCH, np.int8), time_ns, dense, sparse))
        return found

    def known(self, seed: int = 1) -> list[Block]:
        """Return the rows with labels drawn from what the base model says of them."""
        draws = np.random.default_rng(seed).random(len(self.base))
        return self._labelled((draws < sigmoid(self.base.astype(np.float64))).astype(np.int8))

    def drifted(self) -> list[Block]:
        """Return the rows with labels by one of their ids, as the base model does not know them."""
        return self._labelled(np.concatenate([one.sparse[:, 0] % 2 for one in self.rows]))

    def _labelled(self, labels: NDArray[np.integer]) -> list[Block]:
        parts = np.split(labels.astype(np.int8), len(self.rows))
        return [
            Block(label, one.time_ns, one.dense, one.sparse)
            for one, label in zip(self.rows, parts, strict=True)
        ]

    def run(self, spec: StrategySpec, rows: Sequence[Block], link: Link = _FREE) -> _Run:
        """Replay rows; pushes are due every four seconds."""
        size = self.tables.layout.table_bytes
        pushes = Pushes(Sync(link, Scale(size, size)), 4.0)
        found = Replayed(spec, Quality(1))
        steps: list[int] = []
        before = _mapped()
        with (
            closing(Deployment(self.model, _BUDGET, pushes)) as home,
            closing(Race(home, _COUNTS, _DELAY_S, lambda _: 1e-6)) as race,
        ):
            arm = race.enter(spec, found)
            for block in rows:
                race.step(block)
                if not race.arms:
                    raise CheckError(
                        f"{spec.name}: found logits that are not finite, expected finite ones"
                    )
                steps.append(arm.delays.served)
            probabilities = list(arm.scores)
            race.end_window(np.concatenate([block.label for block in rows]))
            race.finish()
            # All that ship share the clusters, which are elsewhere.
            others = {os.fstat(one.tables.region.fd).st_ino for one in home.clusters}.union(before)
            mapped = sum(size for inode, size in _mapped().items() if inode not in others)
        told = {key: list(values) for key, values in found.at_end.items()}
        told |= {key: list(values) for key, values in found.by_window.items()}
        return _Run(probabilities, told, sum(found.peak_bytes.values()), steps, mapped)

    def drifting(self, spec: StrategySpec) -> _Run:
        """Replay the drifting rows over a link that costs no time, once for all checks."""
        if spec.name not in self._drifting:
            self._drifting[spec.name] = self.run(spec, self.drifted())
        return self._drifting[spec.name]

    def changed_rows(self, found: _Run) -> int:
        """Return how many rows at least are not the base's, in a replay of the drifting rows.

        Of samples that have no row in common, each has one where its prediction is not the base's.
        """
        sparse = np.concatenate([one.sparse for one in self.rows])
        rows = RowNumbers(self.tables.layout).of_samples(sparse)
        base = self.drifting(parse("none")).probabilities
        known: set[int] = set()
        count = 0
        for each in rows[np.concatenate(found.probabilities) != np.concatenate(base)].tolist():
            if known.isdisjoint(each):
                known.update(each)
                count += 1
        return count

    def close(self) -> None:
        self.tables.region.close()


def _mapped() -> dict[int, int]:
    """Return the bytes of each memfd of lorabench's that this process maps, by inode."""
    found: dict[int, int] = {}
    for line in Path("/proc/self/maps").read_text(errors="replace").splitlines():
        if "/memfd:lorabench-" in line:
            span, _, offset, _, inode, _ = line.split(maxsplit=5)
            begin, end = (int(one, 16) for one in span.split("-"))
            found[int(inode)] = max(found.get(int(inode), 0), int(offset, 16) + end - begin)
    return found


def _shape(world: _World, spec: StrategySpec) -> None:
    """Replay at all: predictions are one a row, and finite."""
    try:
        world.drifting(spec)
    except InputError as error:
        raise CheckError(f"{spec.name}: {error}") from None


def _deterministic(world: _World, spec: StrategySpec) -> None:
    first = world.drifting(spec).probabilities
    second = world.run(spec, world.drifted()).probabilities
    _same(spec, first, second, "of the same stream twice", "it is not deterministic")


def _nothing_from_the_future(world: _World, spec: StrategySpec) -> None:
    """Hold two streams against each other that differ only in what has not come by a moment."""
    rows = world.drifted()
    first = world.run(spec, rows).probabilities
    cut = _BATCHES // 2
    changed = [
        block
        if number < cut - 1
        else Block(
            1 - block.label,
            block.time_ns,
            block.dense,
            block.sparse if number < cut else block.sparse[::-1],
        )
        for number, block in enumerate(rows)
    ]
    second = world.run(spec, changed).probabilities
    # The labels of the batch before the cut arrive behind the beginning of the one at the cut.
    _same(
        spec,
        first[:cut],
        second[:cut],
        f"before second {cut} of streams that differ behind it",
        "it sees what is yet to come",
    )


def _link_is_waited_for(world: _World, spec: StrategySpec) -> None:
    """Replay over a link that carries nothing in time: what is shipped cannot be served."""
    if not spec.kind.ships_deltas:
        return
    found = world.run(spec, world.drifted(), Link(1e-3))
    _same(
        spec,
        found.probabilities,
        world.drifting(parse("none")).probabilities,
        "than the base model's, over a link that carried nothing yet",
        "it serves what was never sent",
    )
    _no_step_beyond(spec, found.steps, len(found.steps))


def _trip_is_waited_for(world: _World, spec: StrategySpec) -> None:
    """Replay over a link with a long round trip: all that is served was taken that long before."""
    if not spec.kind.ships_deltas:
        return
    rows = world.drifted()[:_ENOUGH]
    changed = [
        Block(1 - one.label, one.time_ns, one.dense, one.sparse)
        if _TAKEN <= number < _SETTLED
        else one
        for number, one in enumerate(rows)
    ]
    link = Link(np.inf, round_trip_s=_ROUND_TRIP_S)
    first, second = (world.run(spec, one, link) for one in (rows, changed))
    until = _TAKEN + 1 + _ROUND_TRIP_S
    _same(
        spec,
        first.probabilities[:until],
        second.probabilities[:until],
        f"of streams that differ from second {_TAKEN} on, over a link of {_ROUND_TRIP_S} s",
        "it serves what was learned once a push had been taken",
    )
    _no_step_beyond(spec, first.steps, _ROUND_TRIP_S)


def _bytes_are_told(world: _World, spec: StrategySpec) -> None:
    if not spec.kind.ships_deltas:
        return
    found = world.drifting(spec)
    sent = sum(found.told.get("pushed_bytes", [0.0]))
    least = _LEAST_ROW_BYTES * world.changed_rows(found)
    if sent < least or (sent and not least):
        what = f"{least // _LEAST_ROW_BYTES} rows or more" if least else "nothing"
        raise CheckError(
            f"{spec.name}: found pushed_bytes {sent:g} where {what} that it serves changed, "
            f"expected {f'at least {least}' if least else 0}: bytes are to be told exactly where "
            "something was sent (final_metrics)"
        )


def _budget_is_kept(world: _World, spec: StrategySpec) -> None:
    most = _BUDGET * world.tables.layout.table_bytes
    found = world.drifting(spec).peak_bytes
    if found > most:
        raise CheckError(f"{spec.name}: found {found} bytes held, expected at most {most:.0f}")
    # A copy of the tables that is served is none that is added.
    most += spec.kind.copies * Region.mapped_bytes(world.tables.region.mapping.length)
    mapped = world.drifting(spec).mapped_bytes
    if mapped > most:
        raise CheckError(
            f"{spec.name}: found {mapped} bytes of memory mapped, expected at most {most:.0f} with "
            f"{spec.kind.copies} copies of the tables (peak_bytes tells {found})"
        )


def _steps_are_true(world: _World, spec: StrategySpec) -> None:
    """Hold what is said to be served against the labels that have come."""
    steps = world.drifting(spec).steps
    if any(after < before for before, after in pairwise(steps)):
        raise CheckError(f"{spec.name}: found steps that go back, expected them to grow")
    _no_step_beyond(spec, steps, 0)


def _no_step_beyond(spec: StrategySpec, steps: Sequence[int], trip_s: int) -> None:
    """Hold steps against the labels that had come so many seconds before each."""
    for number, step in enumerate(steps):
        most = max(0, number - trip_s) * _BATCH
        if step > most:
            raise CheckError(
                f"{spec.name}: found step {step} at second {number}, expected at most {most}: so "
                f"many labels {'can have crossed the link' if trip_s else 'have come'}"
            )


def _metrics_are_known(world: _World, spec: StrategySpec) -> None:
    for name, values in world.drifting(spec).told.items():
        try:
            metric_spec(name)
        except KeyError:
            raise CheckError(
                f"{spec.name}: found a metric {name!r}, expected one of docs/metrics.md"
            ) from None
        if not all(np.isfinite(values)):
            raise CheckError(f"{spec.name}: found {name} {values}, expected finite values")


def _base_is_left_alone(world: _World, spec: StrategySpec) -> None:
    sums = world.model.accumulators or []
    before = [array.copy() for array in (*world.tables.arrays, *sums)]
    world.run(spec, world.drifted())
    for was, now in zip(before, (*world.tables.arrays, *sums), strict=True):
        if not np.array_equal(was, now):
            raise CheckError(
                f"{spec.name}: found the base model's tables or accumulators changed, expected "
                "them as they were: others are deployed on them too"
            )


def _drift_is_followed(world: _World, spec: StrategySpec) -> None:
    if not spec.learns:
        return
    rows = world.drifted()
    ours, theirs = (
        np.mean(_losses(rows, world.drifting(one))[_BATCHES // 2 :])
        for one in (spec, parse("none"))
    )
    if ours >= theirs:
        raise CheckError(
            f"{spec.name}: found a log loss of {ours:.4f} on a stream that drifts, expected it "
            f"below the {theirs:.4f} of a model that never learns"
        )


def _no_drift_no_difference(world: _World, spec: StrategySpec) -> None:
    """Draw labels as the base model says: nobody can do better, nobody should do much worse."""
    rows = world.known()
    ours, theirs = (_losses(rows, world.run(one, rows)) for one in (spec, parse("none")))
    difference = ours - theirs
    error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
    mean, usual = float(difference.mean()), float(theirs.mean())
    if mean < -4 * error:
        raise CheckError(
            f"{spec.name}: found a log loss {-mean:.4f} below that of the model that the labels "
            "were drawn from, expected none: it knows labels before it predicts them"
        )
    if mean - 2 * error > _TOLERANCE * usual:
        raise CheckError(
            f"{spec.name}: found a log loss {mean / usual:.1%} above that of a model that was "
            f"right all along, expected at most {_TOLERANCE:.0%}"
        )


def _losses(rows: Sequence[Block], run: _Run) -> NDArray[np.float64]:
    """Return the mean log loss of each batch."""
    pairs = zip(rows, run.probabilities, strict=True)
    return np.array([log_losses(block.label, found).mean() for block, found in pairs])


def _same(
    spec: StrategySpec, first: Sequence[Floats], second: Sequence[Floats], what: str, then: str
) -> None:
    for number, (one, other) in enumerate(zip(first, second, strict=True)):
        if not np.array_equal(one, other):
            row = int(np.flatnonzero(one != other)[0])
            raise CheckError(
                f"{spec.name}: found prediction {one[row]:.6f} and {other[row]:.6f} {what} (second "
                f"{number}, row {row}), expected the same: {then}"
            )


_CHECKS: tuple[Callable[[_World, StrategySpec], None], ...] = (
    _shape,
    _base_is_left_alone,
    _deterministic,
    _nothing_from_the_future,
    _link_is_waited_for,
    _trip_is_waited_for,
    _bytes_are_told,
    _budget_is_kept,
    _steps_are_true,
    _metrics_are_known,
    _drift_is_followed,
    _no_drift_no_difference,
)
