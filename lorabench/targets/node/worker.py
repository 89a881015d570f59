"""A child process of an experiment: one server, or the trainer.

Started by the conductor (`lorabench.targets.node.launch`) with the descriptors that it may map, and
told what to do by pickled messages over a socket whose other end only the conductor holds. It dies
with its parent, whatever kills that: by the kernel's signal first of all, and by the socket's end
if that signal should be missed. Heavy imports come after that promise is made. An exception is sent
to the conductor as text.
"""

import functools
import os
import signal
import time
import traceback
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from lorabench.errors import LorabenchError
from lorabench.isolation.lifetime import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from lorabench.lora.learner import LearnerConfig
    from lorabench.lora.writer import AdapterHandle
    from lorabench.memory import PageSizes, RegionHandle
    from lorabench.model.dlrm import DenseNet, DlrmShape
    from lorabench.model.tables import TablesHandle
    from lorabench.targets.node.memory import FeedHandle
    from lorabench.targets.node.replay import ReuseBytes
    from lorabench.targets.node.settings import TrainerSettings
    from lorabench.targets.node.throttle import Pacer
    from lorabench.targets.node.trainer import Trainer, TrainLog

# How long the trainer rests when nothing is due, and how often it looks for threads that libraries
# have started since and that are not where its plan says.
_REST_S = 0.0005
_RESCAN_S = 1.0


@dataclass(frozen=True)
class ModelSetup:
    """What servers and trainer share."""

    tables: "TablesHandle"
    shape: "DlrmShape"
    weights: "dict[str, NDArray[np.float32]]"
    adapter: "AdapterHandle"
    rings: "tuple[RegionHandle, ...]"
    load: "RegionHandle"


@dataclass(frozen=True)
class ServerSetup:
    """Become server number `server`, on `cpus` for good."""

    model: ModelSetup
    feed: "FeedHandle"
    server: int
    cpus: frozenset[int]
    query_rows: int
    max_batch: int


@dataclass(frozen=True)
class TrainerSetup:
    """Become the trainer; where it runs is said anew for each condition.

    With `memory_nodes` its private memory comes from these nodes.
    """

    model: ModelSetup
    labels: "RegionHandle"
    num_dense: int
    label_delay_ns: int
    config: "LearnerConfig"
    batch: int
    memory_nodes: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Prepare:
    """Trainer: start over with an empty adapter, placed like this.

    With `drain` it learns from all that the rings hold, however old: for measuring how fast it is
    when nothing keeps it waiting.
    """

    place: "TrainerSettings"
    drain: bool = False


@dataclass(frozen=True)
class Train:
    """Trainer: learn until told to stop."""


@dataclass(frozen=True)
class Stop:
    """Trainer: stop and report."""


@dataclass(frozen=True)
class Ready:
    """The worker is set up; `table_pages` is what it maps the tables with."""

    table_pages: "PageSizes"


@dataclass(frozen=True)
class TrainReport:
    """What the trainer did in one condition.

    `throttle` is what the throttle did (`lorabench.targets.node.throttle.Pacer.trace`), empty
    without one; `reuse` what data reuse saved and cost, None without it.
    """

    log: "TrainLog"
    publish_deferred: int
    replay_dropped: int
    replay_skipped: int
    slots_used: tuple[int, ...]
    epoch: int
    throttle: "NDArray[np.float64]"
    reuse: "ReuseBytes | None"


@dataclass(frozen=True)
class Failed:
    """The worker met an exception; `text` is its traceback, or what the user can act on."""

    text: str
    actionable: bool = False


def _dense_net(setup: ModelSetup) -> "DenseNet":
    import torch

    from lorabench.model.dlrm import DenseNet

    net = DenseNet(setup.shape)
    net.load_state_dict({name: torch.from_numpy(value) for name, value in setup.weights.items()})
    return net


def run_server(setup: ServerSetup, link: Connection) -> None:
    """Serve jobs until the conductor hangs up."""
    from lorabench._hotpath import LoadLine
    from lorabench.isolation.affinity import pin_threads, verify
    from lorabench.lora.writer import attach_reader
    from lorabench.memory import Region
    from lorabench.model.tables import TableSet
    from lorabench.targets.node.memory import Feed
    from lorabench.targets.node.server import Server, use_one_thread

    pin_threads(os.getpid(), setup.cpus)
    use_one_thread()
    tables = TableSet.attach(setup.model.tables)
    load = Region.attach(setup.model.load, writable=True)
    server = Server(
        tables.kernels,
        _dense_net(setup.model),
        Feed.attach(setup.feed),
        query_rows=setup.query_rows,
        max_batch=setup.max_batch,
        reader=attach_reader(setup.model.adapter, setup.server),
        ring=Region.attach(setup.model.rings[setup.server], writable=True),
        load=LoadLine(load.mapping, setup.server),
    )
    server.warm()
    verify(os.getpid(), setup.cpus)
    link.send(Ready(tables.region.page_sizes()))
    while True:
        job = link.recv()
        # A CPU that went offline is found out here, and a cpuset that came and went is undone.
        pin_threads(os.getpid(), setup.cpus)
        verify(os.getpid(), setup.cpus)
        link.send(server.serve(job))


def run_trainer(setup: TrainerSetup, link: Connection) -> None:
    """Train, condition by condition, until the conductor hangs up."""
    if setup.memory_nodes is not None:
        from lorabench.isolation.numa import bind_process

        # Threads that libraries start inherit it, so it comes before they are imported.
        bind_process(setup.memory_nodes)
    import numpy as np
    import torch

    from lorabench._hotpath import LoadLines
    from lorabench.isolation.affinity import verify
    from lorabench.isolation.numa import verify_process
    from lorabench.isolation.scheduling import verify_classes
    from lorabench.lora.writer import AdapterOwner
    from lorabench.memory import Region
    from lorabench.model.tables import TableSet
    from lorabench.targets.node.replay import Replay
    from lorabench.targets.node.throttle import Pacer, Throttle
    from lorabench.targets.node.trainer import Trainer

    tables = TableSet.attach(setup.model.tables)
    labels = Region.attach(setup.labels, writable=False)
    load = Region.attach(setup.model.load, writable=True)
    lines = LoadLines(load.mapping, len(setup.model.rings))
    replay = Replay(
        [Region.attach(handle, writable=True) for handle in setup.model.rings],
        tables.kernels,
        labels.array(np.int8, (setup.labels.length,)),
        label_delay_ns=setup.label_delay_ns,
        batch=setup.batch,
        num_dense=setup.num_dense,
    )
    state = AdapterOwner(setup.model.adapter)
    trainer = Trainer(tables.kernels, _dense_net(setup.model), state, replay, setup.config)
    pid, pages = os.getpid(), tables.region.page_sizes()
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    link.send(Ready(pages))
    while True:
        prepare: Prepare = link.recv()
        place = prepare.place
        torch.set_num_threads(place.threads)
        trainer.reset(place.rerank_s, reuse=place.reuse)
        replay.drain = prepare.drain
        replay.batch = setup.batch if place.batch is None else place.batch
        _put(place, nice)
        verify(pid, place.cpus)
        verify_classes(pid, replace(place.scheduling, nice=nice))
        if setup.memory_nodes is not None:
            verify_process(pid, setup.memory_nodes)
        rule = place.throttle
        lines.reset(0 if rule is None else round(rule.limit_s * 1e9))
        link.send(Ready(pages))
        link.recv()
        pacer = Pacer(
            place.duty,
            place.threads,
            throttle=None if rule is None else Throttle(rule, len(setup.model.rings)),
            read=lines.read,
        )
        _train(trainer, pacer, functools.partial(_put, place, nice), link)
        link.send(
            TrainReport(
                log=trainer.log,
                publish_deferred=state.writer.deferred,
                replay_dropped=replay.dropped,
                replay_skipped=replay.skipped,
                slots_used=tuple(state.writer.used),
                epoch=state.writer.epoch,
                throttle=pacer.trace,
                reuse=replay.reuse_bytes,
            )
        )


def _put(place: "TrainerSettings", nice: int) -> None:
    """Put all threads of this process where, and into the class that, the condition says.

    The nice value stays the one that the run was started with.
    """
    from lorabench.isolation.affinity import pin_threads
    from lorabench.isolation.scheduling import schedule_threads

    pin_threads(os.getpid(), place.cpus)
    schedule_threads(os.getpid(), replace(place.scheduling, nice=nice))


def _train(trainer: "Trainer", pacer: "Pacer", put: "Callable[[], None]", link: Connection) -> None:
    """Learn, at the pace that is allowed, until told to stop."""
    scanned = time.monotonic()
    while not link.poll():
        rest_s = pacer.wait_s()
        begun_s = time.process_time()
        if rest_s == 0.0 and trainer.step() == 0:
            rest_s = _REST_S
        pacer.worked(time.process_time() - begun_s)
        if rest_s > 0.0:
            time.sleep(rest_s)
        if time.monotonic() - scanned > _RESCAN_S:
            put()
            scanned = time.monotonic()
    link.recv()


def main(arguments: list[str]) -> None:
    """Run one worker to its end."""
    descriptor, parent = map(int, arguments)
    die_with_parent(parent)
    # Ctrl-C goes to the whole process group; what it means is the conductor's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    link = Connection(descriptor)
    try:
        setup = link.recv()
        if isinstance(setup, ServerSetup):
            run_server(setup, link)
        else:
            run_trainer(setup, link)
    except (EOFError, ConnectionError):
        return  # the conductor hung up: nothing is left to do
    except LorabenchError as error:
        link.send(Failed(str(error), actionable=True))
    except Exception:  # noqa: BLE001 - the conductor is to show it, whatever it was
        link.send(Failed(traceback.format_exc()))
