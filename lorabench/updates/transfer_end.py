"""One end of a trial of the link: a process that sends or receives by gloo when it is asked to.

Started by `lorabench.updates.transfer`, which calls the methods of `Sender` and `Receiver` by name
over a socket whose other end only it holds. It dies with its parent, whatever kills that. Heavy
imports come after that promise is made, and after this process has entered its namespace, since
threads stay in the one that they were started in.
"""

import os
import time
import traceback
import zlib
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from lorabench.errors import told
from lorabench.isolation.lifetime import die_with_parent
from lorabench.isolation.undoing import leave_to_parent
from lorabench.updates import shaped

if TYPE_CHECKING:
    from lorabench.updates.trial import Format

LOOPBACK = "lo"
# How long the ends may take to find each other, or one of them to say anything at all.
_MEET_S = 60.0


class End:
    """What both ends do.

    Parameters
    ----------
    rank : int
        0 sends, 1 receives.
    """

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._device = LOOPBACK

    def enter(self) -> None:
        """Enter a network namespace of its own."""
        shaped.enter_namespace()
        self._device = shaped.DEVICE

    def meet(self, store: int) -> None:
        """Join the other end, and wait until it has joined.

        Parameters
        ----------
        store : int
            Descriptor of a file that both have, by which they tell each other their addresses.
        """
        import torch
        import torch.distributed as dist
        from torch._C._distributed_c10d import FileStore

        torch.set_num_threads(1)
        os.environ["GLOO_SOCKET_IFNAME"] = self._device
        within = timedelta(seconds=_MEET_S)
        dist.init_process_group(
            "gloo",
            store=FileStore(f"/proc/self/fd/{store}", 2),
            rank=self._rank,
            world_size=2,
            timeout=within,
        )


class Sender(End):
    """The shaped end."""

    def lay_wire(self, peer: int) -> None:
        """Lay the wire to the other end's process."""
        shaped.lay_wire(peer)

    def shape(self, bits_per_s: float) -> None:
        """Let so much pass from now on."""
        shaped.shape(bits_per_s)

    def prepare(self, form: "Format", size: int, seed: int) -> tuple[int, float, int]:
        """Draw what is to be sent, and encode it.

        Returns
        -------
        size : int
            Bytes, `size` or a little less where only whole rows fit.
        encode_s : float
            What encoding took; 0 of bytes without meaning.
        checksum : int
            CRC-32.
        """
        import torch

        from lorabench.updates.trial import draw_bytes, draw_delta, encode

        if form.content == "bytes":
            buffer, encode_s = draw_bytes(size, seed), 0.0
        else:
            delta = draw_delta(form.rows(size), form.dim, seed)
            begin = time.monotonic()
            buffer = encode(delta, form)
            encode_s = time.monotonic() - begin
        self._buffer = torch.from_numpy(buffer)
        return len(buffer), encode_s, zlib.crc32(buffer.data)

    def send(self) -> int:
        """Send what was prepared; when it began, in ns of the machine's monotonic clock."""
        import torch.distributed as dist

        begin = time.monotonic_ns()
        dist.send(self._buffer, dst=1)
        return begin


class Receiver(End):
    """The end whose clock says when all has come."""

    def join(self) -> None:
        """Take the wire that has been laid to here."""
        shaped.bring_up(shaped.ADDRESSES[1])

    def expect(self, size: int) -> None:
        """Get ready to receive so many bytes.

        Into memory that has been written to, as the buffer of whoever applies pushes has.
        """
        import torch
        import torch.distributed as dist

        self._buffer = torch.zeros(size, dtype=torch.uint8)
        self._work: Any = dist.irecv(self._buffer, src=0)

    def receive(self, form: "Format") -> tuple[int, int, float]:
        """Wait for it.

        Returns
        -------
        end_ns : int
            When all had come, by the machine's monotonic clock.
        checksum : int
            CRC-32 of what came.
        decode_s : float
            What decoding took; 0 of bytes without meaning.
        """
        from lorabench.updates.trial import decode

        self._work.wait()
        end = time.monotonic_ns()
        buffer, decode_s = self._buffer.numpy(), 0.0
        if form.content != "bytes":
            begin = time.monotonic()
            decode(buffer, form)
            decode_s = time.monotonic() - begin
        return end, zlib.crc32(buffer.data), decode_s


def main(arguments: list[str]) -> None:
    """Be one end, until the parent hangs up."""
    descriptor, parent, rank = map(int, arguments)
    die_with_parent(parent)
    leave_to_parent()
    link = Connection(descriptor)
    end = (Sender, Receiver)[rank](rank)
    try:
        while True:
            name, values = link.recv()
            try:
                link.send(("answer", getattr(end, name)(*values)))
            except Exception as error:  # noqa: BLE001 - the parent is to show it, whatever it was
                if (known := told(error)) is not None:
                    link.send(("refused", str(known)))
                else:
                    link.send(("failed", traceback.format_exc()))
    except (EOFError, ConnectionError):
        # The parent hung up. Nothing is said to the other end, which may be gone already.
        os._exit(0)
