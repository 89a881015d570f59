"""What of a serving node stays the same throughout a run, and how a round's processes are started.

Model, adapter, how queries are served; `NodeSetup.round` makes the memory that a round shares and
gives its `lorabench.targets.node.processes.NodeProcesses`.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from lorabench.lora.layout import AdapterPlan
from lorabench.model.prepare import Prepared
from lorabench.strategies.base import StrategySpec
from lorabench.targets.node.launch import Fleet
from lorabench.targets.node.memory import PlacedMemory, RoundMemory
from lorabench.targets.node.messages import (
    LoadGeneratorSetup,
    ModelSetup,
    ServerSetup,
    TrainerSetup,
)
from lorabench.targets.node.model import model_setup
from lorabench.targets.node.processes import NodeProcesses
from lorabench.targets.node.settings import Serving
from lorabench.targets.trace import NS
from lorabench.workload.block import Block
from lorabench.workload.features import DenseSpec


@dataclass(frozen=True)
class NodeSetup:
    """What stays the same throughout a run.

    Parameters
    ----------
    prepared : Prepared
        Tables and weights.
    serving : Serving
        How queries are served.
    adapter : AdapterPlan
        Slots and rank.
    strategy : StrategySpec
        What the trainer learns by; one that is `colocatable`.
    train_batch : int
        Most samples that it takes at once.
    label_delay_s : float
        From a prediction to its label.
    replay_bytes : int
        Bytes of each replay ring.
    dense : DenseSpec
        How dense values become the model's inputs.
    """

    prepared: Prepared
    serving: Serving
    adapter: AdapterPlan
    strategy: StrategySpec
    train_batch: int
    label_delay_s: float
    replay_bytes: int
    dense: DenseSpec

    @contextmanager
    def round(
        self,
        rows: Block,
        server_cpus: Sequence[frozenset[int]],
        *,
        seats: int,
        placed: PlacedMemory | None = None,
        load_generator: bool = False,
    ) -> Iterator[NodeProcesses]:
        """Start fresh processes that serve `rows`; end them when the context is left.

        Parameters
        ----------
        rows : Block
            What is served.
        server_cpus : sequence of frozenset of int
            Of each server.
        seats : int
            Adapters, each with its rings: one for each case that learns. 0 for servers alone.
        placed : PlacedMemory, optional
            Take memory from these nodes, and make sure that it is there; None lets it come from
            wherever it is first touched.
        load_generator : bool
            There is one to run load tests, on this process's CPUs.

        Raises
        ------
        MachineError
            The kernel does not place the memory as it is told.
        """
        plan = None if placed is None else placed.plan
        with closing(
            RoundMemory.create(
                rows,
                self.dense,
                self.adapter,
                ring_bytes=self.replay_bytes,
                servers=len(server_cpus),
                seats=seats,
                plan=plan,
            )
        ) as memory:
            if plan is not None:
                memory.verify(plan)
            generator = LoadGeneratorSetup(memory.exchange.handle)
            with Fleet(
                self._servers(memory, server_cpus, placed),
                self._trainer(memory, placed) if seats else None,
                pins=[seat.adapter.pins.mapping for seat in memory.seats],
                load_generator=generator if load_generator else None,
            ) as fleet:
                yield NodeProcesses(fleet, memory.exchange, self.serving, rows.label, server_cpus)

    def _model(self, placed: PlacedMemory | None) -> ModelSetup:
        tables = self.prepared.tables if placed is None else placed.tables
        return model_setup(tables, self.prepared.net)

    def _servers(
        self,
        memory: RoundMemory,
        cpus: Sequence[frozenset[int]],
        placed: PlacedMemory | None,
    ) -> list[ServerSetup]:
        model = self._model(placed)
        return [
            ServerSetup(
                model=model,
                feed=memory.feed.handle,
                adapters=tuple(seat.adapter.handle.reader for seat in memory.seats),
                rings=tuple(seat.rings[number].handle for seat in memory.seats),
                load=memory.load.handle,
                exchange=memory.exchange.handle,
                server=number,
                cpus=own,
                query_rows=self.serving.query_rows,
                max_batch=self.serving.max_batch,
            )
            for number, own in enumerate(cpus)
        ]

    def _trainer(self, memory: RoundMemory, placed: PlacedMemory | None) -> TrainerSetup:
        return TrainerSetup(
            model=self._model(placed),
            labels=memory.labels.handle,
            adapters=tuple(seat.adapter.handle for seat in memory.seats),
            rings=tuple(tuple(ring.handle for ring in seat.rings) for seat in memory.seats),
            load=memory.load.handle,
            num_dense=memory.feed.dense.shape[1],
            label_delay_ns=int(self.label_delay_s * NS),
            strategy=self.strategy,
            batch=self.train_batch,
            memory_nodes=None if placed is None else placed.trainer_nodes,
        )
