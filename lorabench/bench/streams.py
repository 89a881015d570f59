"""What the command writes to: any encoding, a full disk, a reader that has gone, no stream at all.

What stdout does not take is a `StreamError`, so that no other error of the system is mistaken for
it. What stderr does not take is dropped: it tells how a run gets on, and a run of an hour must not
end because its terminal has. Descriptors that are closed are opened on nothing, or the next file
would be what libraries print to.
"""

import io
import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn, TextIO

from lorabench.errors import StreamError
from lorabench.report.marks import HANDLER


class _Stdout(io.TextIOWrapper):
    """Standard output, whose errors are told from those of other files."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise StreamError(error) from None

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise StreamError(error) from None


class _Stderr(io.TextIOWrapper):
    """Standard error, which goes on without a reader."""

    def write(self, text: str, /) -> int:
        with suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


_replaced: list[TextIO | None] = []


def prepare() -> None:
    """Take the streams as they are; one that somebody else has put in its place stays."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest that is free, which is this one. Writing to it fails as it did.
            os.open(os.devnull, os.O_RDONLY)
    # What nobody refers to any more is closed, and with it the buffer that the new ones share.
    _replaced.extend((sys.stdout, sys.stderr))
    sys.stdout = _as(_Stdout, sys.stdout, 1)
    sys.stderr = _as(_Stderr, sys.stderr, 2)


def _as(kind: type[io.TextIOWrapper], stream: TextIO | None, descriptor: int) -> TextIO:
    if stream is None:
        return kind(open(descriptor, "wb", closefd=False), encoding="utf-8", errors=HANDLER)
    if type(stream) is not io.TextIOWrapper:
        return stream
    stream.flush()
    return kind(
        stream.buffer,
        encoding=stream.encoding,
        errors=HANDLER,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def give_up() -> None:
    """Send what stdout did not take nowhere: the interpreter's end would try it once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def end_unread() -> NoReturn:
    """End as other programs do whose reader has gone: by SIGPIPE, without a word."""
    give_up()
    sys.stderr.flush()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.raise_signal(signal.SIGPIPE)
    os._exit(128 + signal.SIGPIPE)  # where it is blocked


def interrupt_on_signals() -> None:
    """Let SIGTERM, and SIGHUP of a terminal that closes, unwind a run as Ctrl-C does.

    It keeps what it has finished and ends its processes. Not SIGHUP under ``nohup``.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _interrupt)


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt(f"by {signal.Signals(number).name}")
