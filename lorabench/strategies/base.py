"""What an update strategy is: how a served model takes in what its labels teach.

One small protocol stands between a strategy and whoever replays a stream: rows are predicted by
what the strategy serves at that moment, and learned from when their labels have arrived. What a
strategy has to say of itself, can save, or can do beside a node's servers it says here too, so that
nobody has to ask which one it is. Which there are is in `lorabench.strategies.registry`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from lorabench._kernels.lookup import Tables
from lorabench.lora.basis import LearnLog
from lorabench.lora.layout import AdapterPlan
from lorabench.lora.learner import ACCUMULATOR_DECAY, Stage
from lorabench.lora.writer import AdapterOwner
from lorabench.model.dlrm import DenseNet
from lorabench.model.tables import TableLayout
from lorabench.strategies.deployment import Deployment
from lorabench.updates.cluster import TrainerKind, TrainingCluster


@dataclass(frozen=True)
class StrategySpec:
    """A strategy as it is asked for; `lorabench.strategies.registry.parse` reads one.

    Parameters
    ----------
    name : str
        As it was given, such as ``lora-r4``.
    kind : type of Strategy
        What it is.
    learning_rate : float or None
        Of what it learns; None where it learns nothing.
    accumulator_decay : float
        What Adagrad's sums are multiplied by every `lorabench.lora.learner.WINDOW` samples.
    seed : int
        Of all that it draws while it learns.
    params : mapping
        What its kind read in its name.
    """

    name: str
    kind: "type[Strategy]"
    learning_rate: float | None
    accumulator_decay: float = ACCUMULATOR_DECAY
    seed: int = 0
    params: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def learns(self) -> bool:
        """Whether it ever changes."""
        return self.learning_rate is not None

    def given(self, **params: Any) -> "StrategySpec":
        """Return it with params that stand beside its name instead of in it."""
        return replace(self, params={**self.params, **params})

    def cluster(self, deployment: Deployment) -> TrainingCluster:
        """Return the training cluster that trains for it.

        Raises
        ------
        InputError
            Its tables do not fit into memory.
        """
        assert self.kind.trained_by is not None, f"{self.name} is not trained elsewhere"
        rate = self.learning_rate or 0.0
        return deployment.cluster(self.kind.trained_by, rate, self.accumulator_decay)

    def make(self, deployment: Deployment) -> "Strategy":
        """Make it ready to serve.

        Raises
        ------
        InputError
            Its memory does not fit, or its budget buys nothing.
        """
        return self.kind(self, deployment)


class ColocatedLearner(Protocol):
    """What learns in a node's trainer process, and publishes to its servers.

    `lorabench.lora.learner.Learner` is one, and says what each of these does.
    """

    stage: Stage

    @property
    def log(self) -> LearnLog: ...  # noqa: D102

    @property
    def looks_up(self) -> bool: ...  # noqa: D102

    def reset(self) -> None: ...  # noqa: D102

    def begin(self) -> bool: ...  # noqa: D102

    def change_ranks(self) -> bool: ...  # noqa: D102

    def learn(  # noqa: D102
        self,
        dense: NDArray[np.float32],
        sparse: NDArray[np.int32],
        labels: NDArray[np.int8],
        base: NDArray[np.float32] | None = None,
    ) -> int | None: ...


class Strategy(ABC):
    """What serves, and how it learns.

    The dense net stays as it is in every strategy: what differs is how embeddings are kept fresh.

    Parameters
    ----------
    spec : StrategySpec
        How it was asked for.
    deployment : Deployment
        The pre-trained model, whose tables and accumulators stay as they are and whose net is
        frozen; what may be added to it; and what a training cluster and a link give.

    Attributes
    ----------
    forms : tuple of str
        How its name is written, for people.
    default_rate : float or None
        Learning rate unless another is asked for; None where it learns nothing.
    default_decay : float
        What Adagrad's sums are multiplied by at a window's end, likewise.
    resumable : bool
        It can `save` what it has learned and `resume` from that.
    colocatable : bool
        It can learn in a node's trainer process: it has a `plan` and a `learner`.
    has_adapter : bool
        What it holds is LoRA state, which a claim bounds.
    ships_deltas : bool
        It serves updates that were trained elsewhere and sent over a link: what a strategy that
        learns beside the servers is held against.
    by_interval : bool
        It sends once in a push interval, and before the first has passed nothing.
    learns_here : bool
        What it is given to `learn` changes what it serves; False where a training cluster learns
        for it.
    copies : int
        Copies of the tables that it holds for itself.
    trained_by : TrainerKind or None
        How the training cluster that it takes its updates from trains; None where it needs none.
    """

    forms: ClassVar[tuple[str, ...]]
    default_rate: ClassVar[float | None] = None
    default_decay: ClassVar[float] = ACCUMULATOR_DECAY
    resumable: ClassVar[bool] = False
    colocatable: ClassVar[bool] = False
    has_adapter: ClassVar[bool] = False
    ships_deltas: ClassVar[bool] = False
    by_interval: ClassVar[bool] = False
    learns_here: ClassVar[bool] = True
    copies: ClassVar[int] = 0
    trained_by: ClassVar[TrainerKind | None] = None

    @abstractmethod
    def __init__(self, spec: StrategySpec, deployment: Deployment) -> None: ...

    @classmethod
    def read(cls, name: str) -> Mapping[str, Any] | None:
        """Return what a name says beside that it means this strategy; None where it does not.

        Raises
        ------
        InputError
            It means one that cannot be used here.
        """
        return {} if name in cls.forms else None

    @classmethod
    def training(cls, spec: StrategySpec) -> StrategySpec:
        """Return the spec by whose rate and decay its training cluster learns."""
        return spec

    @classmethod  # noqa: B027 - most ask for nothing
    def check(
        cls, spec: StrategySpec, layout: TableLayout, memory_budget: float, saved: Any = None
    ) -> None:
        """Refuse what is known before there is a model, which may take long to train.

        Parameters
        ----------
        spec : StrategySpec
            How it was asked for.
        layout : TableLayout
            Of the model's tables.
        memory_budget : float
            What it may add, as a share of the table bytes.
        saved : object, optional
            What it would `resume`.

        Raises
        ------
        InputError
            It cannot be made for such tables, or what was saved does not fit.
        """

    @abstractmethod
    def predict(self, dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the logits [B] of what is served now.

        Parameters
        ----------
        dense : float32 [B, num_dense]
        sparse : int32 [B, C]
        """

    @abstractmethod
    def learn(
        self, dense: NDArray[np.float32], sparse: NDArray[np.int32], labels: NDArray[np.int8]
    ) -> None:
        """Take in a batch whose labels [B] have arrived."""

    def advance(self, now_s: float) -> None:  # noqa: B027 - most have no clock
        """Let time go on: what is due by now begins, arrives or expires.

        Parameters
        ----------
        now_s : float
            The stream's own time; it never goes back.
        """

    @property
    def step(self) -> int | None:
        """Samples, in the order of their labels, that went into what is served now.

        None where that is all that it was given to `learn`.
        """
        return None

    def held_back(
        self,
        sparse: NDArray[np.int32],  # noqa: ARG002 - most hold nothing back
    ) -> NDArray[np.int64] | None:
        """Return how many rows of each sample [B] have updates that it chose not to send.

        None where it sends all that there are.
        """
        return None

    def window_metrics(self) -> Mapping[str, float]:
        """Return what there is to tell at the end of a window, by the metrics' names."""
        return {}

    def final_metrics(self) -> Mapping[str, Sequence[float]]:
        """Return what there is to tell at the end of a run, by the metrics' names."""
        return {}

    @property
    def peak_bytes(self) -> Mapping[str, int]:
        """Bytes of what it holds beside the served tables, by purpose, when they were most.

        Empty where that does not count against a budget.
        """
        return {}

    def save(self, path: Path) -> None:
        """Write what it has learned, where it is `resumable`.

        Raises
        ------
        InputError
            The file cannot be written.
        """
        raise NotImplementedError

    @classmethod
    def load(cls, path: Path, layout: TableLayout) -> Any:
        """Read what was saved of tables like these, where it is `resumable`.

        Raises
        ------
        InputError
            No such file, damaged, or of other tables.
        """
        raise NotImplementedError

    def resume(self, saved: Any) -> None:
        """Begin with what was loaded, before anything is learned.

        Raises
        ------
        InputError
            It does not fit into the budget.
        """
        raise NotImplementedError

    def close(self) -> None:  # noqa: B027 - some hold nothing
        """Let go of memory."""

    @classmethod
    def plan(
        cls, spec: StrategySpec, layout: TableLayout, servers: int, memory_budget: float
    ) -> AdapterPlan:
        """Return the shared memory that it publishes in, where it is `colocatable`.

        Raises
        ------
        InputError
            The budget buys nothing, or what the name asks for is out of range.
        """
        raise NotImplementedError

    @classmethod
    def learner(
        cls, spec: StrategySpec, tables: Tables, net: DenseNet, owner: AdapterOwner
    ) -> ColocatedLearner:
        """Return what learns in the trainer process over that memory, where it is `colocatable`."""
        raise NotImplementedError


def table_logits(
    net: DenseNet, tables: Tables, dense: NDArray[np.float32], sparse: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Return the logits [B] of plain tables."""
    embeddings = np.empty((len(sparse), tables.count, tables.dim), np.float32)
    tables.lookup(sparse, embeddings)
    with torch.inference_mode():
        logits: NDArray[np.float32] = net(
            torch.from_numpy(dense), torch.from_numpy(embeddings)
        ).numpy()
    return logits
