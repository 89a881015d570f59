"""How each kind of change to the machine is taken back: the entries of the journal.

An entry is plain data, written down before the change is made (`lorabench.isolation.journal`), so
its `undo` may run in another process, hours later, and after any part of the change: the whole of
it, none of it, or an undo that was itself cut short. Each is therefore idempotent, touches only
what it can tell to be ours (a folder by its prefix, a setting by the value we gave it, a process by
its start time), and takes what has vanished for undone.
"""

import errno
import os
import re
import select
import signal
import time
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from lorabench.errors import MachineError
from lorabench.host.owned import PREFIX
from lorabench.host.processes import start_time
from lorabench.isolation.affinity import restore_threads, thread_affinities

# How long a process may take to vanish once it has been killed: it may have gigabytes to give back.
_GONE_S = 10.0
# How long a cgroup may stay busy: processes that have just been killed count until they are gone.
_BUSY_S = 5.0


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("expected an absolute path")
    return path


def _ours(path: Path) -> Path:
    if not path.name.startswith(PREFIX):
        raise ValueError(f"expected a folder whose name begins with {PREFIX}")
    return _absolute(path)


_AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
_OurFolder = Annotated[Path, AfterValidator(_ours)]


class _Change(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Setting(_Change):
    """A file of /proc or /sys that holds one value.

    `Setting.before(path, new)` reads the old one. Undone only while the file still has our value:
    what somebody has set since then is theirs.

    Attributes
    ----------
    path : Path
        The file.
    old, new : str
        Its value before and the one that we give it; of a choice such as ``always [madvise] never``
        the word in brackets.
    """

    kind: Literal["setting"] = "setting"
    path: _AbsolutePath
    old: str
    new: str

    @classmethod
    def before(cls, path: Path, new: str) -> Self:
        """Note a file's value before it is changed to `new`."""
        return cls(path=path, old=_value(path), new=new)

    def undo(self) -> str | None:
        """Write the old value back if the file still has ours."""
        try:
            found = _value(self.path)
            if found == self.old:
                return None
            if found != self.new:
                return f"{self} was left at {found!r}: somebody has changed it since"
            self.path.write_text(f"{self.old}\n")
            found = _value(self.path)
        except FileNotFoundError:
            return None
        if found != self.old:
            raise MachineError(f"the kernel kept {found!r} and did not take {self.old!r}")
        return None

    def __str__(self) -> str:
        return f"setting {self.path}"


def _value(path: Path) -> str:
    text = path.read_text().strip()
    chosen = re.search(r"\[([^\]]*)\]", text)
    return chosen[1] if chosen else text


class ResctrlGroup(_Change):
    """A resctrl control group that we make; the kernel returns its tasks to the default group."""

    kind: Literal["resctrl-group"] = "resctrl-group"
    path: _OurFolder

    def undo(self) -> str | None:
        """Remove the group."""
        try:
            self.path.rmdir()
        except FileNotFoundError:
            return None
        return None

    def __str__(self) -> str:
        return f"resctrl group {self.path}"


class Cgroup(_Change):
    """A cgroup that we make; whoever is still in it goes to `origin`.

    Attributes
    ----------
    path : Path
        Its folder.
    origin : Path
        The cgroup, of the same hierarchy, that our processes came from.
    """

    kind: Literal["cgroup"] = "cgroup"
    path: _OurFolder
    origin: _AbsolutePath

    def undo(self) -> str | None:
        """Move its processes back and remove it."""
        # An origin that has vanished was empty; what is above our own folder is there.
        home = self.origin if self.origin.is_dir() else self.path.parent
        give_up = time.monotonic() + _BUSY_S
        while True:
            try:
                # 0 is a process outside this pid namespace; written back it would mean ourselves.
                for pid in set((self.path / "cgroup.procs").read_text().split()) - {"0"}:
                    move_to_cgroup(int(pid), home)
                self.path.rmdir()
            except (FileNotFoundError, NotADirectoryError):
                return None
            except OSError as error:
                if error.errno == errno.ENODEV:  # it went between opening and reading
                    return None
                if error.errno != errno.EBUSY or time.monotonic() > give_up:
                    raise
                time.sleep(0.01)
            else:
                return None

    def __str__(self) -> str:
        return f"cgroup {self.path}"


class CgroupMember(_Change):
    """A process that we move into a cgroup of ours, out of `origin`."""

    kind: Literal["cgroup-member"] = "cgroup-member"
    pid: int
    start: int
    path: _OurFolder
    origin: _AbsolutePath

    def undo(self) -> str | None:
        """Move the process back if it is still in our cgroup."""
        try:
            inside = str(self.pid) in (self.path / "cgroup.procs").read_text().split()
        except FileNotFoundError:
            return None
        if not inside or start_time(self.pid) != self.start:
            return None
        if not self.origin.is_dir():
            return f"process {self.pid} cannot go back to {self.origin}: that cgroup is gone"
        move_to_cgroup(self.pid, self.origin)
        return None

    def __str__(self) -> str:
        return f"process {self.pid} in cgroup {self.path}"


def move_to_cgroup(pid: int, folder: Path) -> None:
    """Move a process with all its threads into a cgroup; nothing where it has ended.

    Raises
    ------
    OSError
        The kernel refuses.
    """
    try:
        (folder / "cgroup.procs").write_text(f"{pid}\n")
    except ProcessLookupError:
        return


class Controllers(_Change):
    """Controllers that we enable for the children of a cgroup (v2)."""

    kind: Literal["cgroup-controllers"] = "cgroup-controllers"
    path: _AbsolutePath
    names: Annotated[tuple[str, ...], Field(min_length=1)]

    def undo(self) -> str | None:
        """Disable them again, unless somebody else uses them below by now."""
        switch = self.path / "cgroup.subtree_control"
        try:
            ours = [name for name in self.names if name in switch.read_text().split()]
            if ours:
                switch.write_text(" ".join(f"-{name}" for name in ours))
        except FileNotFoundError:
            return None
        except OSError as error:
            # A group below has enabled one for its own children: it is theirs now, too.
            if error.errno != errno.EBUSY:
                raise
            return f"{self} were left enabled: another group uses them by now"
        return None

    def __str__(self) -> str:
        return f"controllers {' '.join(self.names)} in {self.path / 'cgroup.subtree_control'}"


class Affinity(_Change):
    """CPUs of the threads of a process that is not ours (our own take theirs to the grave).

    Attributes
    ----------
    pid, start : int
        The process, and when it started (`lorabench.host.processes.start_time`).
    old : dict of int to tuple of int
        CPUs of each thread before.
    new : tuple of int
        CPUs that we give to all of them.
    """

    kind: Literal["affinity"] = "affinity"
    pid: int
    start: int
    old: dict[int, tuple[int, ...]]
    new: tuple[int, ...]

    @classmethod
    def before(cls, pid: int, cpus: frozenset[int]) -> Self:
        """Note where the threads of a process may run before they are confined to `cpus`.

        Raises
        ------
        ProcessLookupError
            The process has ended.
        """
        return cls(
            pid=pid,
            start=_started(pid),
            old={t: tuple(sorted(c)) for t, c in thread_affinities(pid).items()},
            new=tuple(sorted(cpus)),
        )

    def undo(self) -> str | None:
        """Put the threads that still have our CPUs back where they were.

        A thread that has been started since goes where the process's first thread was.
        """
        if start_time(self.pid) != self.start:
            return None
        try:
            found = thread_affinities(self.pid)
        except ProcessLookupError:
            return None
        first = self.old.get(self.pid)
        ours = [thread for thread, cpus in found.items() if cpus == frozenset(self.new)]
        restore_threads(
            {t: frozenset(cpus) for t in ours if (cpus := self.old.get(t, first)) is not None}
        )
        return None

    def __str__(self) -> str:
        return f"CPUs of process {self.pid}"


class Process(_Change):
    """A process that we start and that must not outlive the run."""

    kind: Literal["process"] = "process"
    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """Note a process that runs.

        Raises
        ------
        ProcessLookupError
            It has ended.
        """
        return cls(pid=pid, start=_started(pid))

    def undo(self) -> str | None:
        """Kill it, and wait until it is gone."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        except OSError as error:
            # Before Linux 5.3, or forbidden: a pid that is given again meanwhile is all but
            # impossible right behind the look at its start time.
            if error.errno not in (errno.ENOSYS, errno.EPERM):
                raise
            self._kill_by_pid()
            return None
        try:
            # The handle holds on to the process; only now is it certain whose it is.
            if start_time(self.pid) != self.start:
                return None
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            gone = select.poll()
            gone.register(handle, select.POLLIN)
            if not gone.poll(_GONE_S * 1e3):
                raise MachineError(f"it was killed and has not ended within {_GONE_S:.0f} s")
        except ProcessLookupError:
            return None
        finally:
            os.close(handle)
        return None

    def _kill_by_pid(self) -> None:
        give_up = time.monotonic() + _GONE_S
        while start_time(self.pid) == self.start:
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                return
            if time.monotonic() > give_up:
                raise MachineError(f"it was killed and has not ended within {_GONE_S:.0f} s")
            time.sleep(0.01)

    def __str__(self) -> str:
        return f"process {self.pid}"


def _started(pid: int) -> int:
    start = start_time(pid)
    if start is None:
        raise ProcessLookupError(f"there is no process {pid}")
    return start


Undo = Annotated[
    Setting | ResctrlGroup | Cgroup | CgroupMember | Controllers | Affinity | Process,
    Field(discriminator="kind"),
]
"""Any entry of the journal.

Its ``undo()`` takes the change back and returns None, or a note where it left something as it found
it; it raises OSError or MachineError where the change cannot be taken back. Its text names what was
changed.
"""
