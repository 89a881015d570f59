"""What every update strategy has to do. To test a new one, subclass `StrategyContract`.

What holds of strategies of other packages too is held by `lorabench.testing.check_strategy`: the
same twice, a base that is left alone, a budget that is kept, metrics that there are.
"""

import gc
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from lorabench.errors import InputError
from lorabench.lora.writer import Adapter, AdapterOwner, attach_reader
from lorabench.model.dlrm import DenseNet, DlrmShape
from lorabench.model.full import TrainedModel
from lorabench.model.tables import TableLayout, TableSet
from lorabench.strategies.base import Strategy, StrategySpec
from lorabench.strategies.deployment import Deployment
from lorabench.strategies.registry import parse, strategies

BUDGET = 0.5
STEPS = 12


class Rows:
    """Tables, a net, and rows labelled by one of the features."""

    def __init__(self, hotness: tuple[int, ...]) -> None:
        rng = np.random.default_rng(0)
        self.tables = TableSet.create(TableLayout((2000, 2000), 8, hotness))
        for table in self.tables.arrays:
            table[:] = 0.3 * rng.standard_normal(table.shape)
        self.net = DenseNet(DlrmShape(2, 2, 8, (8,), (16,)))
        self.net.initialise(0)
        self.dense = rng.standard_normal((1024, 2)).astype(np.float32)
        columns = self.tables.layout.columns
        self.sparse = rng.integers(0, 50, (1024, columns)).astype(np.int32)
        self.labels = (self.sparse[:, 0] % 2).astype(np.int8)
        self.deployments: dict[Strategy, Deployment] = {}
        self.accumulators: list[np.ndarray] | None = [
            np.full(2000, 0.01, np.float32) for _ in range(2)
        ]

    def make(self, spec: StrategySpec) -> Strategy:
        model = TrainedModel(self.tables, self.net, self.accumulators)
        deployment = Deployment(model, BUDGET)
        strategy = spec.make(deployment)
        strategy.advance(0.0)
        self.deployments[strategy] = deployment
        return strategy

    def close(self, strategy: Strategy) -> None:
        strategy.close()
        self.deployments.pop(strategy).close()

    def predict(self, strategy: Strategy) -> np.ndarray:
        return strategy.predict(self.dense, self.sparse).copy()

    def learn(self, strategy: Strategy, steps: int = STEPS) -> None:
        for step in range(steps):
            for one in (strategy, *self.deployments[strategy].clusters):
                one.learn(self.dense, self.sparse, self.labels)
            strategy.advance(float(step + 1))

    def loss(self, logits: np.ndarray) -> float:
        return float((np.logaddexp(0, logits) - self.labels * logits).mean())


def mapped() -> int:
    """Mappings and descriptors of lorabench's memory in this process."""
    gc.collect()
    lines = Path("/proc/self/maps").read_text().count("memfd:lorabench-")
    links = [str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    return lines + sum("memfd:lorabench-" in link for link in links)


class StrategyContract:
    """Tests that every strategy passes.

    Attributes
    ----------
    kind : type of Strategy
        The strategy.
    names : tuple of str
        A name of each of its forms.
    """

    kind: ClassVar[type[Strategy]]
    names: ClassVar[tuple[str, ...]]

    @pytest.fixture(params=[(), (3, 1)], ids=["one-hot", "multi-hot"])
    def rows(self, request: pytest.FixtureRequest) -> Rows:
        return Rows(request.param)

    @pytest.fixture
    def specs(self) -> list[StrategySpec]:
        return [parse(name) for name in self.names]

    def test_it_is_registered_and_every_form_of_its_name_reads_back(self, specs) -> None:
        assert self.kind in strategies().values()
        assert len(self.names) == len(self.kind.forms)
        for name, spec in zip(self.names, specs, strict=True):
            assert (spec.name, spec.kind) == (name, self.kind)
            assert spec.learning_rate == self.kind.default_rate
            readers = [kind for kind in strategies().values() if kind.read(name) is not None]
            assert readers == [self.kind]

    def test_predictions_are_finite_and_one_a_row(self, rows: Rows, specs) -> None:
        for spec in specs:
            strategy = rows.make(spec)
            rows.learn(strategy)
            logits = rows.predict(strategy)
            assert logits.shape == (len(rows.dense),)
            assert logits.dtype == np.float32
            assert np.isfinite(logits).all()
            rows.close(strategy)

    def test_what_is_served_gets_better_exactly_if_it_learns(self, rows: Rows, specs) -> None:
        for spec in specs:
            strategy = rows.make(spec)
            first = rows.predict(strategy)
            rows.learn(strategy)
            last = rows.predict(strategy)
            if spec.learns:
                assert rows.loss(last) < rows.loss(first)
            else:
                np.testing.assert_array_equal(first, last)
            rows.close(strategy)

    def test_a_new_one_predicts_as_the_base_does(self, rows: Rows, specs) -> None:
        base = rows.predict(rows.make(parse("none")))
        for spec in specs:
            strategy = rows.make(spec)
            np.testing.assert_allclose(rows.predict(strategy), base, rtol=1e-6, atol=1e-6)
            rows.close(strategy)

    def test_memory_is_let_go_of(self, specs) -> None:
        rows = Rows(())
        before = mapped()
        for spec in specs:
            strategy = rows.make(spec)
            rows.learn(strategy, 1)
            rows.close(strategy)
            del strategy
        # Once: a collection goes through all that is loaded.
        assert mapped() == before

    def test_what_was_saved_is_served_again(self, rows: Rows, specs, tmp_path: Path) -> None:
        for spec in specs:
            strategy = rows.make(spec)
            if not self.kind.resumable:
                with pytest.raises(NotImplementedError):
                    strategy.save(tmp_path / "saved")
                continue
            rows.learn(strategy)
            served = rows.predict(strategy)
            strategy.save(tmp_path / "saved")
            rows.close(strategy)
            again = rows.make(spec)
            again.resume(self.kind.load(tmp_path / "saved", rows.tables.layout))
            np.testing.assert_allclose(rows.predict(again), served, rtol=1e-5, atol=1e-5)
            rows.close(again)

    def test_servers_see_what_it_learns_in_the_trainer_process(self, rows: Rows, specs) -> None:
        if not self.kind.colocatable:
            with pytest.raises(InputError):
                parse(self.names[0], colocated=True)
            return
        layout, kernels = rows.tables.layout, rows.tables.kernels
        for spec in specs:
            assert parse(spec.name, colocated=True) == spec
            adapter = Adapter(self.kind.plan(spec, layout, 1, BUDGET))
            owner = AdapterOwner(adapter.handle)
            reader = attach_reader(adapter.handle.reader, 0)
            learner = self.kind.learner(spec, kernels, rows.net, owner)
            shape = len(rows.sparse), kernels.count, kernels.dim
            base, served = np.empty(shape, np.float32), np.empty(shape, np.float32)
            kernels.lookup(rows.sparse, base)
            epoch = None
            for _ in range(STEPS):
                assert learner.begin()
                epoch = learner.learn(rows.dense, rows.sparse, rows.labels)
            assert epoch is not None
            assert reader.lookup(kernels, rows.sparse, served) == epoch
            assert not np.array_equal(base, served)
            learner.reset()
            assert learner.log.rebases == 0
            adapter.close()
