"""What takes part in a replay: strategies behind a clock, and who learns for them.

What is learned is known once its label has come and the learner, who takes one batch after the
other, has had the time to learn it; only then is it learned here. Time spent is CPU time of the
thread alone, so that what else runs on the machine does not count.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import thread_time

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.experiments.freshness.quality import Floats, Replayed
from lorabench.strategies.base import Strategy
from lorabench.workload.block import Block, dense_features
from lorabench.workload.features import DenseSpec
from lorabench.workload.planted import sigmoid

NS = 1_000_000_000

Learn = Callable[[NDArray[np.float32], NDArray[np.int32], NDArray[np.int8]], None]


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows that are predicted, and later learned, together.

    Attributes
    ----------
    number : int
        Batches before it.
    rows : Block
    dense : float32 [B, num_dense]
        The model's input.
    """

    number: int
    rows: Block
    dense: NDArray[np.float32]

    @classmethod
    def of(cls, number: int, rows: Block, dense: DenseSpec) -> "Batch":
        """Return rows as a batch, contiguous by row; `dense` says what becomes of their values."""
        rows = rows.by_row()
        return cls(number, rows, dense_features(rows.dense, dense))

    @property
    def now_ns(self) -> int:
        """When it is predicted: at its first row."""
        return int(self.rows.time_ns[0])


class History:
    """Batches whose labels have come or are on their way, in order.

    Parameters
    ----------
    delay_ns : int
        From a row to its label.
    """

    def __init__(self, delay_ns: int) -> None:
        self._delay_ns = delay_ns
        self._batches: dict[int, Batch] = {}
        self._label_ns = np.empty(1 << 16, np.int64)
        self.rows = 0

    def add(self, batch: Batch) -> None:
        """Let a batch's labels be on their way."""
        self._batches[batch.number] = batch
        end = self.rows + len(batch.rows)
        if end > len(self._label_ns):
            self._label_ns = np.resize(self._label_ns, 2 * end)
        self._label_ns[self.rows : end] = batch.rows.time_ns + self._delay_ns
        self.rows = end

    def batch(self, number: int) -> Batch | None:
        """Return a batch; None where there is none such yet."""
        return self._batches.get(number)

    def arrived_ns(self, batch: Batch) -> int:
        """Return when the last of its labels comes."""
        return int(batch.rows.time_ns[-1]) + self._delay_ns

    def label_ns(self, begin: int, end: int) -> NDArray[np.int64]:
        """Return when labels come, of samples in their order."""
        return self._label_ns[begin:end]

    def forget(self, before: int) -> None:
        """Let go of the batches that all have learned."""
        for number in [one for one in self._batches if one < before]:
            del self._batches[number]


class Learner:
    """Who learns one batch after the other, at a pace.

    Parameters
    ----------
    learn : callable
        Takes in a batch.
    history : History
        Where batches come from.
    s_per_sample : float or None
        What a sample takes; None for what it has taken so far, and nothing at first.

    Attributes
    ----------
    samples : int
        Learned.
    cpu_s : float
        That took.
    following : int
        The next batch's number.
    """

    def __init__(self, learn: Learn, history: History, s_per_sample: float | None) -> None:
        self._learn = learn
        self._history = history
        self._given = s_per_sample
        self._free_ns = 0
        self.samples = 0
        self.cpu_s = 0.0
        self.following = 0

    @property
    def s_per_sample(self) -> float:
        """What a sample takes, s."""
        if self._given is not None:
            return self._given
        return self.cpu_s / self.samples if self.samples else 0.0

    def catch_up(self, now_ns: int) -> None:
        """Learn all that it has had the time for by now."""
        while (batch := self._history.batch(self.following)) is not None:
            begin_ns = max(self._history.arrived_ns(batch), self._free_ns)
            ready_ns = begin_ns + int(len(batch.rows) * self.s_per_sample * NS)
            if ready_ns > now_ns:
                return
            begun_s = thread_time()
            self._learn(batch.dense, batch.rows.sparse, batch.rows.label)
            self.cpu_s += thread_time() - begun_s
            self.samples += len(batch.rows)
            self.following += 1
            self._free_ns = ready_ns


@dataclass(eq=False)
class Delays:
    """How old what was served was, and how long labels took to be served.

    Attributes
    ----------
    staleness_s : list of float
        A batch each: from when the newest label came that what was served includes, all before it
        included too, to the batch; where there is none, from the beginning of the replay.
    latency_s : list of float32 arrays
        Of each sample that came to be served: from its label to the first batch that was predicted
        with it.
    served : int
        Samples, in the order of their labels, in what is served.
    """

    staleness_s: list[float] = field(default_factory=list)
    latency_s: list[NDArray[np.float32]] = field(default_factory=list)
    served: int = 0

    def note(self, step: int, now_ns: int, began_ns: int, history: History) -> None:
        """Write down a batch that is predicted now, by what includes so many samples."""
        if step > self.served:
            waited = (now_ns - history.label_ns(self.served, step)) / NS
            self.latency_s.append(waited.astype(np.float32))
            self.served = step
        newest = int(history.label_ns(step - 1, step)[0]) if step else began_ns
        self.staleness_s.append((now_ns - newest) / NS)


class Arm:
    """A strategy in a replay.

    Parameters
    ----------
    strategy : Strategy
        What serves.
    found : Replayed
        Where it is written down.
    learner : Learner
        Has the strategy learn.
    trainer : Learner
        Who learns for it: that same, or that of its training cluster.
    cluster : Learner, optional
        That of its training cluster, where it learns for itself too.
    slices : bool
        Ask the strategy what it holds back.
    """

    def __init__(
        self,
        strategy: Strategy,
        found: Replayed,
        learner: Learner,
        trainer: Learner,
        cluster: Learner | None = None,
        *,
        slices: bool = True,
    ) -> None:
        self.strategy = strategy
        self.found = found
        self.learner = learner
        self.trainer = trainer
        self._cluster = cluster
        self._slices = slices
        self.delays = Delays()
        self.scores: list[Floats] = []
        self._held: list[NDArray[np.int64]] = []

    def turn(self, batch: Batch, began_ns: int, history: History) -> bool:
        """Predict a batch by what is served at that moment; False where that is not finite.

        Raises
        ------
        InputError
            The strategy, which may be a stranger's, does not give one logit a row.
        """
        now_ns = batch.now_ns
        self.learner.catch_up(now_ns)
        self.strategy.advance(now_ns / NS)
        self.delays.note(self._step(), now_ns, began_ns, history)
        logits = self.strategy.predict(batch.dense, batch.rows.sparse)
        if logits.shape != (len(batch.rows),):
            raise InputError(
                f"strategy {self.found.spec.name}: found logits of shape {logits.shape} for "
                f"{len(batch.rows)} rows, expected one a row"
            )
        # The sigmoid of an infinite logit would pass for a sure prediction.
        if not np.isfinite(logits).all():
            return False
        self.scores.append(sigmoid(logits.astype(np.float64)).astype(np.float32))
        held = self.strategy.held_back(batch.rows.sparse) if self._slices else None
        if held is not None:
            self._held.append(held)
        return True

    def _step(self) -> int:
        """Return how many samples went into what is served now."""
        step = self.strategy.step
        if step is not None:
            return step
        return self.learner.samples if self.found.spec.learns else 0

    def take_scores(self) -> Floats:
        """Return the click probabilities since the last time."""
        found = np.concatenate(self.scores)
        self.scores.clear()
        return found

    def take_held(self) -> NDArray[np.int64] | None:
        """Return how many rows of each sample were held back since then; None where all is sent."""
        found = np.concatenate(self._held) if self._held else None
        self._held.clear()
        return found

    def told(self) -> None:
        """Write down what a window took."""
        self.found.learned, self.found.learn_s = self.trainer.samples, self.trainer.cpu_s
        if self._cluster is not None:
            self.found.cluster_learned = self._cluster.samples
            self.found.cluster_s = self._cluster.cpu_s

    def finish(self, last_ns: int, history: History) -> None:
        """Write down that the stream is over; `last_ns` is when the last batch was predicted."""
        self.told()
        delays = self.delays
        self.found.staleness_s = np.array(delays.staleness_s, np.float32)
        self.found.latency_s = np.concatenate([np.empty(0, np.float32), *delays.latency_s])
        waited = (last_ns - history.label_ns(delays.served, history.rows)) / NS
        self.found.waiting_s = waited[waited >= 0].astype(np.float32)
        self.found.finish(self.strategy)
