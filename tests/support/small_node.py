"""A whole serving node in one process: tables, net, adapter, ring, server and trainer."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorabench._kernels.serve import LOAD_BYTES, LoadLine
from lorabench.lora.layout import plan_adapter
from lorabench.lora.learner import Learner, LearnerConfig
from lorabench.lora.spectrum import rows_of
from lorabench.lora.writer import Adapter, AdapterOwner, attach_reader
from lorabench.memory import Region
from lorabench.model.dlrm import DenseNet, DlrmShape
from lorabench.model.tables import TableLayout, TableSet
from lorabench.targets.node.exchange import Bell
from lorabench.targets.node.memory import Feed
from lorabench.targets.node.replay import Replay
from lorabench.targets.node.server import Server
from lorabench.targets.node.trainer import Trainer

SHAPE = DlrmShape(num_dense=3, num_sparse=2, dim=8, bottom=(8,), top=(16,))
ROWS = 4
DELAY_NS = 10_000_000


@dataclass
class Clock:
    """A clock that stands still until it is told."""

    now: int = 0

    def __call__(self) -> int:
        return self.now


@dataclass
class Node:
    """The parts, wired as an experiment wires them."""

    tables: TableSet
    net: DenseNet
    feed: Feed
    labels: NDArray[np.int8]
    state: AdapterOwner
    replay: Replay
    trainer: Trainer
    server: Server
    clock: Clock

    def predict(self, query: int) -> NDArray[np.float32]:
        """Click probabilities of a query from base tables and A B, without kernels or buffers."""
        import torch

        rows = slice(query * ROWS, (query + 1) * ROWS)
        vectors = []
        hotness = self.tables.kernels.hotness
        for f, table in enumerate(self.tables.arrays):
            A, B, adapted = self.state.writer.arrays(f)
            full = table.astype(np.float64)
            if len(adapted):
                full[adapted] += A.astype(np.float64) @ B
            vectors.append(full[rows_of(self.feed.sparse[rows], f, hotness)].sum(axis=1))
        embeddings = torch.from_numpy(np.stack(vectors, axis=1).astype(np.float32))
        with torch.no_grad():
            logits = self.net(torch.from_numpy(self.feed.dense[rows].copy()), embeddings)
        return torch.sigmoid(logits).numpy()


def small_node(
    queries: int = 64,
    *,
    batch: int = 64,
    hotness: tuple[int, ...] = (),
    bell: Bell | None = None,
    **config: float,
) -> Node:
    """Build a node over random rows whose labels follow one of the features."""
    rng = np.random.default_rng(0)
    layout = TableLayout((300, 500), SHAPE.dim, hotness)
    tables, net = TableSet.create(layout), DenseNet(SHAPE)
    for table in tables.arrays:
        table[:] = rng.normal(scale=0.3, size=table.shape)
    net.initialise(0)
    n = queries * ROWS
    dense = rng.normal(size=(n, SHAPE.num_dense)).astype(np.float32)
    columns = zip(layout.rows, hotness or (1, 1), strict=True)
    sparse = np.concatenate([rng.integers(0, v, (n, hot)) for v, hot in columns], axis=1)
    sparse = sparse.astype(np.int32)
    labels = (sparse[:, 0] % 2).astype(np.int8)
    feed = Feed.create(dense, sparse)
    adapter = Adapter(plan_adapter(layout, 4, 1, 5.0))
    memory = Region.create("ring", 1 << 20)
    state = AdapterOwner(adapter.handle)
    clock = Clock()
    replay = Replay(
        [memory],
        tables.kernels,
        labels,
        label_delay_ns=DELAY_NS,
        batch=batch,
        num_dense=SHAPE.num_dense,
    )
    settings = {"basis_samples": 64, "guard_window": 512, **config}
    trainer = Trainer(
        Learner(tables.kernels, net, state, LearnerConfig(rank=4, **settings)),  # type: ignore[arg-type]
        state,
        replay,
        clock=clock,
    )
    server = Server(
        tables.kernels,
        net,
        feed,
        query_rows=ROWS,
        max_batch=4,
        readers=[attach_reader(adapter.handle.reader, 0)],
        rings=[memory],
        load=LoadLine(Region.create("load", LOAD_BYTES).mapping, 0),
        bell=bell,
    )
    return Node(tables, net, feed, labels, state, replay, trainer, server, clock)
