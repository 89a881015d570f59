"""The processes of a node, as their parent sees them.

Fresh interpreters, started from the parent's main thread (the kernel ties the children's death
signal to the thread that started them), which inherit the descriptors of the shared memory that
they map, and no others. Not threads: the interpreter lock's switch interval alone would ruin a p99.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Self, TypeVar

from lorabench._kernels.adapter import clear_pin
from lorabench._kernels.memory import Mapping
from lorabench.errors import LorabenchError, MachineError
from lorabench.targets.node.messages import (
    Failed,
    FromLoadGenerator,
    FromServer,
    FromTrainer,
    Issued,
    LoadGeneratorSetup,
    Ready,
    Served,
    ServerSetup,
    ToLoadGenerator,
    ToServer,
    ToTrainer,
    TrainerSetup,
)
from lorabench.targets.training import TrainReport

AnswerT = TypeVar("AnswerT", Ready, Served, TrainReport, Issued)

# A worker imports torch and maps gigabytes before it is ready.
_START_S = 120.0

_ENTRY = "import sys; from lorabench.targets.node.worker import main; main(sys.argv[1:])"


class WorkerDiedError(LorabenchError):
    """A server or the trainer ended before its time, for example killed for want of memory."""

    exit_code = 1


class Worker:
    """One child process and the link to it.

    Parameters
    ----------
    name : str
        For messages: ``server 0``, ``trainer``.
    setup : ServerSetup, TrainerSetup or LoadGeneratorSetup
        What it is to become.
    """

    def __init__(self, name: str, setup: ServerSetup | TrainerSetup | LoadGeneratorSetup) -> None:
        self.name = name
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _ENTRY, str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno(), *setup.descriptors],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        self.link = Connection(ours.detach())
        self.send(setup)

    @property
    def pid(self) -> int:
        """Of its process."""
        return self.process.pid

    def send(self, message: ToServer | ToTrainer | ToLoadGenerator) -> None:
        """Tell the worker something."""
        try:
            self.link.send(message)
        except OSError:
            self._died()

    def receive(self, kind: type[AnswerT], timeout_s: float = _START_S) -> AnswerT:
        """Wait for the worker's next message, which is to be of this kind.

        Raises
        ------
        WorkerDiedError
            It has ended, or says nothing for `timeout_s`.
        MachineError
            The machine refused it something.
        RuntimeError
            It met any other exception, or says something else: a bug. The message is its
            traceback, or what it said.
        """
        if not self.link.poll(timeout_s):
            raise WorkerDiedError(f"{self.name}: no answer within {timeout_s:.0f} s")
        try:
            message: FromServer | FromTrainer | FromLoadGenerator = self.link.recv()
        except (EOFError, ConnectionError):
            self._died()
        match message:
            case Failed(text, actionable=True):
                raise MachineError(f"{self.name}: {text}")
            case Failed(text):
                raise RuntimeError(f"{self.name} failed:\n{text}")
        if isinstance(message, kind):
            return message
        raise RuntimeError(f"{self.name}: found {message!r}, expected {kind.__name__}")

    def _died(self) -> None:
        code = self.process.wait()
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        raise WorkerDiedError(f"{self.name} ended {how} before its time")

    def stop(self) -> None:
        """End the process now and collect it."""
        self.link.close()
        self.process.kill()
        self.process.wait()


class Fleet:
    """The servers and the trainer of a round; leaving the context ends them all.

    Parameters
    ----------
    servers : sequence of ServerSetup
        One a server.
    trainer : TrainerSetup or None
        None for a round of servers alone.
    pins : sequence of Mapping
        The adapters' pin lines. A server that died may have left its own set, which would make
        the trainer defer for ever: they are taken back once the server has been collected.
    load_generator : LoadGeneratorSetup or None
        None where queries come from schedules alone.
    """

    def __init__(
        self,
        servers: Sequence[ServerSetup],
        trainer: TrainerSetup | None,
        pins: Sequence[Mapping],
        load_generator: LoadGeneratorSetup | None = None,
    ) -> None:
        self._pins = pins
        self._all: list[Worker] = []
        try:
            for setup in servers:
                self._all.append(Worker(f"server {setup.server}", setup))
            self.servers = list(self._all)
            self.trainer: Worker | None = None
            if trainer is not None:
                self.trainer = Worker("trainer", trainer)
                self._all.append(self.trainer)
            self.load_generator: Worker | None = None
            if load_generator is not None:
                self.load_generator = Worker("load generator", load_generator)
                self._all.append(self.load_generator)
            self.ready = [worker.receive(Ready) for worker in self._all]
        except BaseException:
            self.stop()
            raise

    @property
    def pids(self) -> list[int]:
        """Of all workers, the servers first."""
        return [worker.pid for worker in self._all]

    def gather(self, kind: type[AnswerT], timeout_s: float) -> list[AnswerT]:
        """Wait for one message of each server; notice any worker that dies meanwhile."""
        found = self._gather(dict.fromkeys(self.servers, kind), timeout_s)
        return [found[worker] for worker in self.servers]

    def gather_issued(self, timeout_s: float) -> tuple[list[Served], Issued]:
        """Wait likewise until a load generator's test is over; for it and for the servers."""
        assert self.load_generator is not None
        awaited: dict[Worker, type[Any]] = dict.fromkeys(self.servers, Served)
        awaited[self.load_generator] = Issued
        found = self._gather(awaited, timeout_s)
        return [found[worker] for worker in self.servers], found[self.load_generator]

    def _gather(self, awaited: dict[Worker, type[Any]], timeout_s: float) -> dict[Worker, Any]:
        found: dict[Worker, Any] = {}
        while not awaited.keys() <= found.keys():
            waiting = [worker for worker in self._all if worker not in found]
            heard = wait([worker.link for worker in waiting], timeout_s)
            if not heard:
                silent = ", ".join(w.name for w in awaited if w not in found)
                raise WorkerDiedError(f"{silent}: no answer within {timeout_s:.0f} s")
            for worker in waiting:
                if worker.link in heard:
                    # Of who is not asked, as a trainer, this is the end or what it failed by.
                    found[worker] = self._receive(worker, awaited.get(worker, Served))
        return found

    def _receive(self, worker: Worker, kind: type[AnswerT]) -> AnswerT:
        try:
            return worker.receive(kind)
        except WorkerDiedError:
            if worker in self.servers:
                for pins in self._pins:
                    clear_pin(pins, self.servers.index(worker))
            raise

    def stop(self) -> None:
        """End all processes now."""
        for worker in self._all:
            with contextlib.suppress(ProcessLookupError):
                worker.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
