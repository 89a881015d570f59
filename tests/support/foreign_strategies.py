"""Strategies of a package that is not lorabench's: a good one, and one for each way to go wrong."""

from typing import ClassVar

import numpy as np

from lorabench.strategies.base import Strategy, StrategySpec, table_logits
from lorabench.strategies.deployment import Deployment
from lorabench.strategies.ideal import Ideal
from lorabench.strategies.shipping import Deltas
from lorabench.updates.cluster import FULL_PRECISION, TrainingCluster


class Bias(Strategy):
    """The base model and a bias that follows the labels."""

    forms = ("bias",)
    default_rate = 0.2

    def __init__(self, spec: StrategySpec, deployment: Deployment) -> None:
        self.model = deployment.model
        self.rate = spec.learning_rate or 0.0
        self.bias = 0.0
        self.kernels = self.model.tables.kernels

    def predict(self, dense, sparse):
        return table_logits(self.model.net, self.kernels, dense, sparse) + np.float32(self.bias)

    def learn(self, dense, sparse, labels) -> None:
        found = 1 / (1 + np.exp(-self.predict(dense, sparse)))
        self.bias += self.rate * float((labels - found).mean())


class Wrong(Bias):
    forms = ("wrong",)

    def learn(self, dense, sparse, labels) -> None:
        super().learn(dense, sparse, 1 - labels)


class Stubborn(Bias):
    forms = ("stubborn",)

    def learn(self, dense, sparse, labels) -> None:
        pass


class Random(Bias):
    forms = ("random",)

    def predict(self, dense, sparse):
        return super().predict(dense, sparse) + np.float32(np.random.default_rng().random())


class NotFinite(Bias):
    forms = ("not-finite",)

    def predict(self, dense, sparse):
        return super().predict(dense, sparse) + np.float32(np.inf)


class Scalar(Bias):
    forms = ("scalar",)

    def predict(self, dense, sparse):
        return super().predict(dense, sparse)[:1]


class Remembers(Bias):
    """What it learned in one replay it knows in the next."""

    forms = ("remembers",)
    known: ClassVar[dict[bytes, int]] = {}

    def predict(self, dense, sparse):
        keys = [row.tobytes() + one.tobytes() for row, one in zip(sparse, dense, strict=True)]
        sure = [10.0 * (2 * self.known[key] - 1) if key in self.known else 0.0 for key in keys]
        return super().predict(dense, sparse) + np.array(sure, np.float32)

    def learn(self, dense, sparse, labels) -> None:
        for row, one, label in zip(sparse, dense, labels, strict=True):
            self.known[row.tobytes() + one.tobytes()] = int(label)


class Touches(Bias):
    """Learns in the tables that all are deployed on."""

    forms = ("touches",)

    def learn(self, dense, sparse, labels) -> None:
        super().learn(dense, sparse, labels)
        self.model.tables.arrays[0][sparse[0, 0]] += np.float32(1e-6)


class Boasts(Bias):
    forms = ("boasts",)

    @property
    def step(self) -> int:
        return 1000


class Holds(Bias):
    forms = ("holds",)

    @property
    def peak_bytes(self):
        return {"all": 1 << 30}


class Tells(Bias):
    forms = ("tells",)

    def final_metrics(self):
        return {"happiness": [1.0]}


class Unsent(Bias):
    """Says that it is sent what it looks up at the training cluster."""

    forms = ("unsent",)
    ships_deltas = True
    trained_by = FULL_PRECISION

    def __init__(self, spec: StrategySpec, deployment: Deployment) -> None:
        super().__init__(spec, deployment)
        self.cluster = spec.cluster(deployment)

    def predict(self, dense, sparse):
        return table_logits(self.model.net, self.cluster.tables.kernels, dense, sparse)


class Free(Deltas):
    """Does not tell what it sent."""

    forms = ("free",)

    def final_metrics(self):
        return {"pushes": [1.0]}


class OneByte(Deltas):
    """Tells a byte a push, so that none takes any time."""

    forms = ("one-byte",)

    def size(self, delta) -> int:
        return 1


class Ahead(Deltas):
    """Says that all that its cluster learned is served."""

    forms = ("ahead",)

    @property
    def step(self) -> int:
        return self.cluster.step


class Live(Deltas):
    """Serves the cluster's tables as they are, once anything landed."""

    forms = ("live",)

    def predict(self, dense, sparse):
        kernels = self.cluster.tables.kernels if self._landed else self.kernels
        return table_logits(self.net, kernels, dense, sparse)


class Hidden(Strategy):
    """Holds a copy of the tables that it does not tell."""

    forms = ("hidden",)
    default_rate = Ideal.default_rate
    default_decay = Ideal.default_decay

    def __init__(self, spec: StrategySpec, deployment: Deployment) -> None:
        rate, decay = spec.learning_rate or 0.0, spec.accumulator_decay
        self.own = TrainingCluster(deployment.model, FULL_PRECISION, rate, decay)

    def predict(self, dense, sparse):
        return table_logits(self.own.net, self.own.tables.kernels, dense, sparse)

    def learn(self, dense, sparse, labels) -> None:
        self.own.learn(dense, sparse, labels)

    @property
    def peak_bytes(self):
        return {"adapter": 16}

    def close(self) -> None:
        self.own.close()


WRONG = {
    Wrong: "above that of a model that was right all along",
    Stubborn: "on a stream that drifts, expected it below the",
    Random: "it is not deterministic",
    NotFinite: "found logits that are not finite",
    Scalar: "expected one a row",
    Remembers: "it is not deterministic",
    Touches: "base model's tables or accumulators changed",
    Boasts: "found step 1000 at second 0, expected at most 0",
    Holds: "found 1073741824 bytes held",
    Tells: "found a metric 'happiness'",
    Unsent: "it serves what was never sent",
    Free: "found pushed_bytes 0 where ",
    OneByte: "found pushed_bytes 11 where ",
    Ahead: "expected at most 0: so many labels can have crossed the link",
    Live: "it serves what was learned once a push had been taken",
    Hidden: "bytes of memory mapped, expected at most 40000 with 0 copies",
}
