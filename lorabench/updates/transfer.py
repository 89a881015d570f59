"""Real transfers between two processes of this machine, to hold the model of the link against.

Two fresh interpreters send and receive by the gloo backend of torch.distributed, over a shaped wire
between two network namespaces (`lorabench.updates.shaped`), or over loopback as it is. The time of
a transfer runs from when the sender hands the buffer to gloo to when the receiver has all of it;
both read the monotonic clock of the machine, which is one for all its processes and namespaces.
The receiver is ready before that clock starts.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from lorabench.errors import LorabenchError, MachineError

if TYPE_CHECKING:
    from lorabench.updates.trial import Format

_ENTRY = "import sys; from lorabench.updates.transfer_end import main; main(sys.argv[1:])"
# An end imports torch before it answers, and the two wait for each other.
_ANSWER_S = 120.0
_SENDS, _RECEIVES = 0, 1


class TransferError(LorabenchError):
    """An end has died, says nothing, or received something else than was sent."""

    exit_code = 1


@dataclass(frozen=True)
class Transfer:
    """What one took.

    Attributes
    ----------
    size : int
        Bytes of payload.
    encode_s, transfer_s, decode_s : float
        One after the other; of bytes without meaning there is nothing to encode and decode.
    """

    size: int
    encode_s: float
    transfer_s: float
    decode_s: float


class _End:
    """One of the two processes, as their parent sees it."""

    def __init__(self, rank: int, store: int) -> None:
        self.name = ("sender", "receiver")[rank]
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _ENTRY, *map(str, (theirs.fileno(), os.getpid(), rank))],
                pass_fds=[theirs.fileno(), store],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        self._link = Connection(ours.detach())

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, what: str, *values: object) -> None:
        """Call one of the process's methods; `answer` waits for what comes of it."""
        try:
            self._link.send((what, values))
        except OSError:
            self._died()

    def answer(self, timeout_s: float = _ANSWER_S) -> Any:
        if not self._link.poll(timeout_s):
            raise TransferError(f"{self.name}: no answer within {timeout_s:.0f} s")
        try:
            kind, value = self._link.recv()
        except (EOFError, ConnectionError):
            self._died()
        if kind == "refused":
            raise MachineError(value)
        if kind == "failed":
            raise RuntimeError(f"{self.name} failed:\n{value}")
        return value

    def call(self, what: str, *values: object) -> Any:
        self.ask(what, *values)
        return self.answer()

    def _died(self) -> None:
        code = self._process.wait()
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        raise TransferError(f"{self.name} ended {how} before its time")

    def stop(self) -> None:
        self._link.close()
        self._process.kill()
        self._process.wait()


class TransferPair:
    """A sender and a receiver; leaving the context ends both, and their wire.

    Make it in the main thread, to which the kernel ties the life of the two.

    Parameters
    ----------
    on_wire : bool
        Over a wire that can be shaped; else over loopback.

    Raises
    ------
    MachineError
        There can be no such wire, and why.
    TransferError
        A process ended before its time.
    """

    def __init__(self, *, on_wire: bool) -> None:
        self._on_wire = on_wire
        self._ends: list[_End] = []
        store = os.memfd_create("lorabench-store")
        try:
            for rank in (_SENDS, _RECEIVES):
                self._ends.append(_End(rank, store))
            self._sender, self._receiver = self._ends
            if on_wire:
                self._both("enter")
                self._sender.call("lay_wire", self._receiver.pid)
                self._receiver.call("join")
            self._both("meet", store)
        except BaseException:
            self.stop()
            raise
        finally:
            os.close(store)

    @property
    def pids(self) -> tuple[int, int]:
        """Of the sender and of the receiver."""
        return self._sender.pid, self._receiver.pid

    def shape(self, bits_per_s: float) -> None:
        """Let so much pass the wire from now on, headers included.

        Raises
        ------
        MachineError
            The kernel refuses.
        """
        assert self._on_wire  # else it would be a device of the machine's own namespace
        self._sender.call("shape", bits_per_s)

    def transfer(self, form: "Format", size: int, seed: int, within_s: float) -> Transfer:
        """Send a buffer of about so many bytes, drawn anew by its seed.

        Parameters
        ----------
        form : Format
            What it holds.
        size : int
            Bytes; of rows, as many whole ones as fit.
        seed : int
            What its content is drawn by.
        within_s : float
            How long it may take.

        Raises
        ------
        TransferError
            A process ended, it took longer, or something else arrived than was sent.
        """
        size, encode_s, sent = self._sender.call("prepare", form, size, seed)
        self._receiver.call("expect", size)
        self._receiver.ask("receive", form)
        self._sender.ask("send")
        end_ns, came, decode_s = self._receiver.answer(within_s)
        begin_ns = self._sender.answer()
        if came != sent:
            raise TransferError(
                f"found a checksum of {came:08x} at the receiver, expected {sent:08x} as sent"
            )
        return Transfer(size, encode_s, (end_ns - begin_ns) / 1e9, decode_s)

    def _both(self, what: str, *values: object) -> None:
        for end in self._ends:
            end.ask(what, *values)
        for end in self._ends:
            end.answer()

    def stop(self) -> None:
        """End both now."""
        for end in self._ends:
            with contextlib.suppress(ProcessLookupError):
                end.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
