"""The journal: what a run changes on the machine, noted before it is changed, so that it is undone.

A run holds the lock and the journal in the run-time folder. It notes each change, with what is
needed to take it back (`lorabench.isolation.undo`), on disk before it makes it. On leaving the
context, for whatever reason, all of it is undone in reverse order. A run that was killed leaves its
journal; the next run, or `cleanup`, finds the lock free and the journal there, and undoes it first.
A write-ahead log as databases keep it, one JSON line an entry: nothing is ever overwritten, an
entry that was undone is followed by a line that says so, and a line that was cut off by a crash
counts as not written, since its change had not been made.

Two locks, both of which the kernel frees when their holder ends, however it ends: ``flock`` on a
file in the run-time folder guards the journal, and a name in the abstract socket namespace guards
the machine, across users, whose run-time folders differ. Commands that only read take neither.
``LORABENCH_RUN_DIR`` names another folder for both, for runs that cannot measure each other:
containers with cores of their own, tests.
"""

import contextlib
import errno
import fcntl
import os
import signal
import socket
import stat
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lorabench.errors import MachineError
from lorabench.host.processes import start_time
from lorabench.isolation.undo import Undo

_LOCK = "lock"
_JOURNAL = "journal.jsonl"
_MACHINE = "\0lorabench.run"
# How long the holder of a lock may take to say who it is.
_INTRODUCTION_S = 1.0


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Header(_Line):
    """The first line: whose journal it is.

    Attributes
    ----------
    pid, start : int
        The run, and when it started in clock ticks since boot.
    boot : str
        Which boot of the machine; nothing that is journalled outlives it.
    command : str
        What was run.
    """

    kind: Literal["header"] = "header"
    version: Literal[1] = 1
    pid: int
    start: int
    boot: str
    command: str

    @classmethod
    def of(cls, command: str) -> Self:
        """Introduce this process."""
        start = start_time(os.getpid())
        assert start is not None  # it runs
        return cls(pid=os.getpid(), start=start, boot=_boot(), command=" ".join(command.split()))


class _Undone(_Line):
    kind: Literal["undone"] = "undone"
    number: Annotated[int, Field(ge=0)]


_Entry: TypeAdapter[Undo | _Undone] = TypeAdapter(
    Annotated[Undo | _Undone, Field(discriminator="kind")]
)


@dataclass(frozen=True)
class Contents:
    """What a journal holds.

    Attributes
    ----------
    header : Header or None
        None where not even the first line was finished.
    changes : tuple of Undo
        Every change noted, in order.
    undone : frozenset of int
        Indices of those that have been undone.
    length : int
        Bytes of the finished lines.
    """

    header: Header | None
    changes: tuple[Undo, ...]
    undone: frozenset[int]
    length: int


def parse(data: bytes) -> Contents:
    """Read a journal; what follows its last newline was cut off by a crash and is left out.

    Raises
    ------
    ValueError
        A finished line is none of ours; the message names it.
    """
    length = data.rfind(b"\n") + 1
    header: Header | None = None
    changes: list[Undo] = []
    undone = set()
    for number, line in enumerate(data[:length].splitlines(), start=1):
        try:
            if header is None:
                header = Header.model_validate_json(line)
                continue
            entry = _Entry.validate_json(line)
        except ValidationError as error:
            what = error.errors(include_url=False)[0]["msg"]
            raise ValueError(f"line {number}: found {line[:80]!r}: {what}") from None
        if not isinstance(entry, _Undone):
            changes.append(entry)
        elif entry.number < len(changes):
            undone.add(entry.number)
        else:
            raise ValueError(
                f"line {number}: found entry {entry.number} undone, "
                f"expected one of the {len(changes)} before it"
            )
    return Contents(header, tuple(changes), frozenset(undone), length)


@dataclass(frozen=True)
class Report:
    """What was undone; its text is one line.

    Attributes
    ----------
    run : str
        Whose changes they were.
    undone : tuple of str
        What is now as it was before.
    notes : tuple of str
        What was left as found, since somebody else has changed it in the meantime.
    failed : tuple of str
        What could not be undone, and why; it is still in the journal.
    """

    run: str = ""
    undone: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = []
        if self.undone:
            parts.append(f"undid what {self.run} had changed: {', '.join(self.undone)}")
        parts += self.notes
        if self.failed:
            parts.append(f"could not undo what {self.run} had changed: {', '.join(self.failed)}")
        return "; ".join(parts) or "nothing had been left behind"


class Journal:
    """The journal of this run. Use `Journal.open`, as a context."""

    def __init__(
        self,
        folder: "_Folder",
        locks: contextlib.ExitStack,
        command: str,
        say: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._locks = locks
        self._say = say
        self._file = folder.open(_JOURNAL, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND)
        locks.callback(os.close, self._file)
        self._write(Header.of(command))
        folder.sync()

    @classmethod
    def open(cls, command: str, say: Callable[[str], None], folder: Path | None = None) -> Self:
        """Become the one run of this machine; first undo what a killed one left.

        Parameters
        ----------
        command : str
            What is run, for those who are refused meanwhile.
        say : callable
            Is told, in a line, what had to be undone for a killed run, and what could not be undone
            at the end where an exception is under way that must not be replaced.
        folder : Path or None
            Where lock and journal lie; None takes this user's run-time folder, and holds the lock
            of the machine, too.

        Raises
        ------
        MachineError
            Another run is under way; the folder belongs to somebody else; or what a killed run
            left cannot be undone, or not be understood.
        """
        with contextlib.ExitStack() as locks:
            held = _lock(locks, folder, command)
            report = _recover(held)
            if report.failed:
                raise MachineError(
                    f"{report}; undo it by hand and remove {held.path / _JOURNAL}, or run "
                    "lorabench doctor --cleanup as a user who may undo it"
                )
            if report.undone or report.notes:
                say(str(report))
            journal = cls(held, locks, command, say)
            journal._locks = locks.pop_all()
        return journal

    def record(self, change: Undo) -> None:
        """Note a change on disk. Call it before the change is made, for it may be cut short.

        Raises
        ------
        MachineError
            It cannot be noted, so it must not be made.
        """
        self._write(change)

    def _write(self, line: BaseModel) -> None:
        try:
            _append(self._file, line)
        except OSError as error:
            raise MachineError(
                f"{self._folder.path / _JOURNAL}: cannot be written ({error.strerror}), and nothing"
                " is changed that could not be undone"
            ) from None

    @contextlib.contextmanager
    def scope(self) -> Iterator[Self]:
        """Undo at the end what was noted within: a condition's changes, say, in a longer run.

        Raises
        ------
        MachineError
            Something cannot be undone. It stays in the journal.
        """
        start = len(_contents(self._folder, self._file).changes)
        try:
            yield self
        except BaseException:
            self._undo(start, replaceable=False)
            raise
        self._undo(start, replaceable=True)

    def _undo(self, start: int, *, replaceable: bool) -> Report:
        with _signals_held():
            report = _undo(self._folder, self._file, start)
        if report.notes or report.failed:
            line = str(Report(report.run, (), report.notes, report.failed))
            if report.failed:
                line += "; the next run, or lorabench doctor --cleanup, tries again"
            if report.failed and replaceable:
                raise MachineError(line)
            self._say(line)
        return report

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._locks, _signals_held():
            if not self._undo(0, replaceable=error is None).failed:
                self._folder.remove(_JOURNAL)


def cleanup(folder: Path | None = None) -> Report:
    """Undo what a killed run left.

    Parameters
    ----------
    folder : Path or None
        As of `Journal.open`.

    Returns
    -------
    Report
        What was undone and what could not be; empty where nothing had been left.

    Raises
    ------
    MachineError
        A run is under way; or the journal is somebody else's or cannot be understood.
    """
    with contextlib.ExitStack() as locks:
        return _recover(_lock(locks, folder, "lorabench doctor --cleanup"))


def _recover(folder: "_Folder") -> Report:
    """Undo the journal in a folder whose lock we hold, so that its owner is dead."""
    try:
        file = folder.open(_JOURNAL, os.O_RDWR | os.O_APPEND)
    except FileNotFoundError:
        return Report()
    try:
        header = _contents(folder, file).header
        # What was changed ended with the boot: settings, cgroups and resctrl groups, processes.
        report = Report()
        if header is not None and header.boot == _boot():
            with _signals_held():
                report = _undo(folder, file, 0)
        if not report.failed:
            folder.remove(_JOURNAL)
    finally:
        os.close(file)
    return report


def _contents(folder: "_Folder", file: int) -> Contents:
    try:
        return parse(os.pread(file, os.fstat(file).st_size, 0))
    except ValueError as error:
        raise MachineError(
            f"{folder.path / _JOURNAL}: {error}; expected the journal of this version of lorabench:"
            " clean up with the version that wrote it, or undo by hand what it lists and remove it"
        ) from None


def _undo(folder: "_Folder", file: int, start: int) -> Report:
    """Undo, from the last to entry number `start`, what is not undone; note it entry by entry."""
    contents = _contents(folder, file)
    os.ftruncate(file, contents.length)
    undone, notes, failed = [], [], []
    for number in reversed(range(start, len(contents.changes))):
        if number in contents.undone:
            continue
        change = contents.changes[number]
        try:
            note = change.undo()
        except (OSError, ValueError, MachineError) as error:
            failed.append(f"{change} ({error})")
            continue
        with contextlib.suppress(OSError):  # a full disk: it is undone, and once more does no harm
            _append(file, _Undone(number=number))
        if note is None:
            undone.append(str(change))
        else:
            notes.append(note)
    header = contents.header
    run = "a run" if header is None else f"the run of pid {header.pid} ({header.command})"
    return Report(run, tuple(undone), tuple(notes), tuple(failed))


def _append(file: int, line: BaseModel) -> None:
    data = line.model_dump_json().encode() + b"\n"
    size = os.fstat(file).st_size
    if os.write(file, data) != len(data):
        os.ftruncate(file, size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(file)


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Let SIGINT and SIGTERM wait, so that a second Ctrl-C does not cut the undoing short."""
    if threading.current_thread() is not threading.main_thread():  # Python interrupts only that one
        yield
        return
    waiting = []

    def hold(signum: int, _: FrameType | None) -> None:
        waiting.append(signum)

    old = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number, handler in old.items():
            if handler is not None:  # None is one that Python did not set and cannot set again
                signal.signal(number, hold)
        yield
    finally:
        for number, handler in old.items():
            if handler is not None:
                signal.signal(number, handler)
        for signum in waiting[:1]:
            signal.raise_signal(signum)


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def run_time_folder() -> Path:
    """Tell where this user's lock and journal lie.

    ``$XDG_RUNTIME_DIR/lorabench`` if that folder is this user's own (under sudo it may still be
    the caller's, who could then make root undo whatever he writes there); else ``/run/lorabench``
    for root, and a folder of the user's own under the temporary one for everybody else.
    """
    user = os.geteuid()
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    with contextlib.suppress(OSError):
        if given.startswith("/") and Path(given).stat().st_uid == user:
            return Path(given) / "lorabench"
    if user == 0:
        return Path("/run/lorabench")
    return Path(tempfile.gettempdir()) / f"lorabench-{user}"


class _Folder:
    """The run-time folder, by descriptor: what was checked is what is used.

    Raises
    ------
    MachineError
        It cannot be made, or somebody else owns it or may write to it: whoever writes the journal
        decides what is undone with our rights.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with contextlib.suppress(FileExistsError):
                path.mkdir(mode=0o700)
            self.descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            raise MachineError(
                f"{path}: cannot be used as run-time folder ({error.strerror}), expected a folder "
                "of this user's own; remove it, or set XDG_RUNTIME_DIR to one that is"
            ) from None
        try:
            self._check(path, os.fstat(self.descriptor))
        except MachineError:
            self.close()
            raise

    def _check(self, path: Path, found: os.stat_result) -> None:
        if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise MachineError(
                f"{path}: found owner {found.st_uid} and mode {stat.S_IMODE(found.st_mode):04o}, "
                f"expected user {os.geteuid()}'s own and writable by nobody else; remove it, or "
                "set XDG_RUNTIME_DIR to a folder of your own"
            )

    def open(self, name: str, flags: int) -> int:
        """Open a file in it that is nobody else's.

        Raises
        ------
        FileNotFoundError
            There is none and none is to be made.
        MachineError
            It is a link, or somebody else's, or cannot be opened.
        """
        path = self.path / name
        try:
            file = os.open(name, flags | os.O_NOFOLLOW, 0o600, dir_fd=self.descriptor)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise MachineError(
                f"{path}: cannot be opened ({error.strerror}), expected a file of this user's own"
            ) from None
        try:
            self._check(path, os.fstat(file))
        except MachineError:
            os.close(file)
            raise
        return file

    def remove(self, name: str) -> None:
        os.unlink(name, dir_fd=self.descriptor)

    def sync(self) -> None:
        os.fsync(self.descriptor)

    def close(self) -> None:
        os.close(self.descriptor)


def _lock(locks: contextlib.ExitStack, path: Path | None, command: str) -> _Folder:
    """Take the locks, to be given back by `locks`.

    Raises
    ------
    MachineError
        Another run has one of them.
    """
    given = os.environ.get("LORABENCH_RUN_DIR")
    if path is None and given:
        path = Path(given)
    elif path is None:
        locks.enter_context(_machine_lock())
        path = run_time_folder()
    folder = _Folder(path)
    locks.callback(folder.close)
    file = folder.open(_LOCK, os.O_RDWR | os.O_CREAT)
    locks.callback(os.close, file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _refusal(_holder(file)) from None
    data = Header.of(command).model_dump_json().encode()
    os.pwrite(file, data, 0)
    os.ftruncate(file, len(data))
    return folder


def _holder(file: int) -> str:
    """Who holds the lock, as it wrote into the file once it had it."""
    give_up = time.monotonic() + _INTRODUCTION_S
    while True:
        with contextlib.suppress(ValidationError):
            found = Header.model_validate_json(os.pread(file, 1 << 16, 0))
            if start_time(found.pid) == found.start:
                return f"pid {found.pid}: {found.command}"
        if time.monotonic() > give_up:
            return "a process that does not say which"
        time.sleep(0.01)


def _machine_lock() -> socket.socket:
    """Take the name that one process at a time can have, whatever its user.

    Raises
    ------
    MachineError
        Another run has it.
    """
    ours = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        ours.bind(_MACHINE)
        ours.listen(socket.SOMAXCONN)
    except OSError as error:
        ours.close()
        if error.errno != errno.EADDRINUSE:
            raise MachineError(f"cannot take the machine's lock ({error.strerror})") from None
        raise _refusal(_listener()) from None
    return ours


def _listener() -> str:
    """Who has the name: the kernel tells whoever connects."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as ours:
        ours.settimeout(_INTRODUCTION_S)
        try:
            ours.connect(_MACHINE)
        except OSError:  # it has not come to listen yet, or has just ended
            return "a process that does not say which"
        size = struct.calcsize("3i")
        pid, user, _ = struct.unpack(
            "3i", ours.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        )
    if pid == 0:
        return "a process outside this container"
    words = b""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0")
    command = words.replace(b"\0", b" ").decode(errors="replace")
    return f"pid {pid} of user {user}" + (f": {command}" if command else "")


def _refusal(holder: str) -> MachineError:
    # A command line may hold anything, and this is to be one line on a terminal.
    line = "".join(c for c in " ".join(holder.split()) if c.isprintable())
    return MachineError(
        f"a run is under way on this machine ({line[:200]}), expected none: two would measure each "
        "other; wait until it ends, or end it"
    )
