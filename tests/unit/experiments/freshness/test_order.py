"""The order of a replay, held against that of river: predicted when it comes, learned after."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import base, evaluate, metrics

from lorabench.experiments.freshness.quality import Quality, Replayed
from lorabench.experiments.freshness.race import Race
from lorabench.model.dlrm import DenseNet, DlrmShape
from lorabench.model.full import TrainedModel
from lorabench.model.tables import TableLayout, TableSet
from lorabench.strategies.base import Strategy, StrategySpec
from lorabench.strategies.deployment import Deployment
from lorabench.workload.block import Block
from lorabench.workload.features import plain_dense

NS = 1_000_000_000
IDS = 3


class Counter:
    """Clicks of each id, so far, over how often it was met."""

    def __init__(self) -> None:
        self.clicks, self.met = np.ones(IDS), np.full(IDS, 2.0)

    def probability(self, row: int) -> float:
        return float(self.clicks[row] / self.met[row])

    def learn(self, row: int, label: int) -> None:
        self.clicks[row] += label
        self.met[row] += 1


class Counting(Strategy):
    forms = ("counting",)

    def __init__(self, spec: StrategySpec, deployment: Deployment) -> None:
        self.counter = Counter()

    def predict(self, dense, sparse):
        found = np.array([self.counter.probability(row) for row in sparse[:, 0]])
        return np.log(found / (1 - found)).astype(np.float32)

    def learn(self, dense, sparse, labels) -> None:
        for row, label in zip(sparse[:, 0], labels, strict=True):
            self.counter.learn(row, label)


class RiverCounting(base.Classifier):
    def __init__(self) -> None:
        self.counter = Counter()

    def learn_one(self, x, y) -> None:
        self.counter.learn(x["id"], y)

    def predict_proba_one(self, x):
        found = self.counter.probability(x["id"])
        return {0: 1 - found, 1: found}


@pytest.fixture(scope="module")
def model():
    tables = TableSet.create(TableLayout((IDS,), 4))
    net = DenseNet(DlrmShape(1, 1, 4, (4,), (4,)))
    net.initialise(0)
    return TrainedModel(tables, net)


def replayed(model: TrainedModel, rows, delay: int, s_per_sample: float) -> list[float]:
    deployment = Deployment(model, 1.0)
    race = Race(deployment, plain_dense(1), float(delay), lambda _: s_per_sample)
    spec = StrategySpec("counting", Counting, 1.0)
    arm = race.enter(spec, Replayed(spec, Quality(1)))
    for time_s, row, label in rows:
        race.step(
            Block(
                np.array([label], np.int8),
                np.array([time_s * NS]),
                np.zeros((1, 1), np.float32),
                np.array([[row]], np.int32),
            )
        )
    found = list(np.concatenate(arm.scores))
    race.close()
    return found


gaps = st.tuples(st.integers(0, 3), st.integers(0, IDS - 1), st.integers(0, 1))


@settings(max_examples=50, deadline=None)
@given(st.lists(gaps, min_size=1, max_size=40), st.integers(0, 5), st.integers(0, 3))
def test_predictions_are_those_of_progressive_validation(model, drawn, delay, learning) -> None:
    """Where rows come no faster than they are learned, that is no more than a longer delay."""
    times = np.cumsum([gap + learning for gap, _, _ in drawn])
    rows = [(int(at), row, label) for at, (_, row, label) in zip(times, drawn, strict=True)]
    dataset = (({"at": at, "id": row}, label) for at, row, label in rows)
    steps = evaluate.iter_progressive_val_score(
        dataset,
        RiverCounting(),
        metrics.LogLoss(),
        moment="at",
        delay=delay + learning,
        step=1,
        yield_predictions=True,
    )
    expected = [step["Prediction"][1] for step in steps]
    np.testing.assert_allclose(replayed(model, rows, delay, learning), expected, rtol=1e-5)
