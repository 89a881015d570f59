"""A control group of resctrl that is ours: made, written, filled with processes, removed.

Groups bear the prefix ``lorabench-``; nobody else's is ever touched, the root group's included.
Tasks are threads to the kernel, so a process is moved thread by thread, until none is left outside.
Whatever is refused is one line, with the kernel's own reason (``info/last_cmd_status``), and leaves
nothing changed.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lorabench.errors import InputError, MachineError
from lorabench.host.owner import PREFIX
from lorabench.host.processes import threads
from lorabench.host.resctrl.info import groups, read_info
from lorabench.host.resctrl.mount import way_to_permission
from lorabench.host.resctrl.schemata import BANDWIDTH, Allocation, Line, Schemata

# kernfs takes no more at once (atomic_write_len, PAGE_SIZE); 64 domains can need more.
_WRITE_BYTES = 4096
# How often a process is looked at for threads outside before it counts as one that always has some.
_SCANS = 100
# The file system's permissions and flags, which the kernel looks at before it asks resctrl.
_NOT_REACHED = {errno.EACCES, errno.EROFS}


@dataclass(frozen=True)
class Group:
    """A control group. `Group.create` makes one; the constructor only names it.

    Parameters
    ----------
    root : Path
        Where resctrl is mounted.
    name : str
        The group's name; begins with ``lorabench-``.

    Raises
    ------
    ValueError
        The name is none of ours.
    """

    root: Path
    name: str

    def __post_init__(self) -> None:
        if not self.name.startswith(PREFIX) or "/" in self.name or "\n" in self.name:
            raise ValueError(f"found group {self.name!r}, expected one that begins with {PREFIX}")

    @property
    def path(self) -> Path:
        """The group's folder."""
        return self.root.absolute() / self.name

    @classmethod
    def create(
        cls,
        root: Path,
        name: str,
        schemata: Schemata,
    ) -> Self:
        """Make a group and write what it may use.

        Parameters
        ----------
        root : Path
            Where resctrl is mounted.
        name : str
            See `lorabench.host.owner.Owner.name`.
        schemata : Schemata
            What it may use; whatever it leaves out stays as the kernel makes it: all that no
            exclusive group holds.

        Raises
        ------
        MachineError
            The kernel refuses the group or the schemata; there is no group then.
        """
        group = cls(root, name)
        try:
            taken = group.path.exists()
        except OSError as error:
            raise MachineError(group._why_not_made(error)) from None
        if taken:
            raise MachineError(
                f"{group.path}: found a group of this name, expected none; lorabench doctor "
                f"--cleanup removes what a killed run left, rmdir {group.path} this one"
            )
        try:
            group.path.mkdir()
        except OSError as error:
            raise MachineError(group._why_not_made(error)) from None
        try:
            group.write(schemata)
        except BaseException:
            with contextlib.suppress(MachineError):  # the first error is the one to tell
                group.remove()
            raise
        return group

    def write(self, schemata: Schemata) -> Schemata:
        """Change what the group may use in the domains that a schemata names, and read it back.

        Returns
        -------
        Schemata
            What the kernel made of it: bandwidth is rounded up to its steps.

        Raises
        ------
        MachineError
            The kernel refuses; the group is as it was.
        """
        before = self._schemata()
        try:
            for part in _parts(schemata):
                self._put("schemata", part)
        except OSError as error:
            reason = self._refusal(error, schemata)
            # One write is all or nothing, but there may have been one before, and with mba_MBps the
            # kernel takes bandwidth over line by line.
            with contextlib.suppress(OSError):
                for part in _parts(_common(before, schemata)):
                    self._put("schemata", part)
            raise MachineError(
                f"{self.path}/schemata: found {_line(schemata)}, which the kernel refuses: {reason}"
            ) from None
        after = self._schemata()
        for resource, domains in schemata.values().items():
            for domain, mask in domains.items():
                kept = after.domains(resource).get(domain)
                if resource not in BANDWIDTH and kept != mask:
                    raise MachineError(
                        f"{self.path}/schemata: found {_line(after)} after {resource}:{domain}="
                        f"{mask:x} had been written; somebody else writes it, too"
                    )
        return after

    def count_traffic(self) -> None:
        """Have the group's traffic counted, where a counter counts for whom it is assigned to.

        So it is with AMD's ``mbm_event`` mode. The kernel assigns some to a new group, unless it is
        told not to (``mbm_assign_on_mkdir``) or has none left; then the counters say
        ``Unassigned``, and have no series.
        """
        try:
            shown = (self.path / "mbm_L3_assignments").read_text()
        except OSError:
            return
        for line in shown.splitlines():
            event, _, states = line.strip().partition(":")
            for state in states.split(";"):
                domain, _, assigned = state.strip().partition("=")
                if assigned == "_":
                    with contextlib.suppress(OSError):
                        self._put("mbm_L3_assignments", f"{event}:{domain}=e\n")

    def move(self, pid: int) -> None:
        """Move all threads of a process into the group.

        A thread that is started meanwhile inherits its maker's group, the old one or this; looking
        again until none is outside finds them all.

        Parameters
        ----------
        pid : int
            The process; it may be this one.

        Raises
        ------
        MachineError
            The kernel refuses; threads moved before stay until the group is removed.
        ProcessLookupError
            The process has ended.
        """
        for _ in range(_SCANS):
            outside = self.threads_outside(pid)
            if not outside:
                return
            for thread in sorted(outside):
                try:
                    self._put("tasks", f"{thread}\n")
                except ProcessLookupError:
                    continue  # it ended since it was listed
                except OSError as error:
                    reason = self._refusal(error)
                    if error.errno == errno.EPERM:
                        reason += "; run as root or as the user that the process belongs to"
                    raise MachineError(
                        f"{self.path}/tasks: cannot move thread {thread} of process {pid}: {reason}"
                    ) from None
        raise MachineError(
            f"{self.path}/tasks: found threads of process {pid} outside after {_SCANS} looks: it "
            "starts new ones faster than they can be moved, or somebody moves them back"
        )

    def threads_outside(self, pid: int) -> frozenset[int]:
        """List the threads of a process that are not in the group.

        Raises
        ------
        MachineError
            The group is gone.
        ProcessLookupError
            The process has ended.
        """
        alive = threads(pid)
        try:
            inside = frozenset(map(int, (self.path / "tasks").read_text().split()))
        except OSError as error:
            raise MachineError(f"{self.path}/tasks: {self._refusal(error)}") from None
        return alive - inside

    def verify(self, pid: int) -> None:
        """Make sure that every thread of a process is in the group.

        Raises
        ------
        MachineError
            Some are not; the message lists them.
        ProcessLookupError
            The process has ended.
        """
        outside = self.threads_outside(pid)
        if outside:
            raise MachineError(
                f"{self.path}/tasks: found threads {sorted(outside)} of process {pid} outside, "
                "expected all in; something moved them after they had been moved in"
            )

    def remove(self) -> None:
        """Remove the group; its tasks return to the root group. Nothing where it is gone.

        Raises
        ------
        MachineError
            The kernel refuses.
        """
        try:
            self.path.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            raise MachineError(
                f"{self.path}: cannot be removed: {self._refusal(error)}; remove it by hand: "
                f"rmdir {self.path}"
            ) from None

    def _schemata(self) -> Schemata:
        path = self.path / "schemata"
        try:
            return Schemata.parse(path.read_text())
        except OSError as error:
            raise MachineError(f"{path}: cannot be read: {self._refusal(error)}") from None
        except ValueError as error:
            raise MachineError(f"{path}: {error}") from None

    def _put(self, file: str, text: str) -> None:
        # In one write, as the kernel wants it; a file object might make two of it.
        descriptor = os.open(self.path / file, os.O_WRONLY)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)

    def _refusal(self, error: OSError, schemata: Schemata | None = None) -> str:
        """Return why the kernel refused, and the way out where there is one to name."""
        words = [_reason(self.root, error)]
        if schemata is not None and error.errno == errno.EINVAL:
            with contextlib.suppress(InputError):
                words += read_info(self.root).refusals(schemata)
        if error.errno in _NOT_REACHED:
            words.append(way_to_permission(self.root, error.errno == errno.EROFS))
        if error.errno in {errno.ENOENT, errno.ENODEV}:
            words.append("the group is gone: somebody else has removed it, or unmounted resctrl")
        return "; ".join(words)

    def _why_not_made(self, error: OSError) -> str:
        reason = _reason(self.root, error)
        if error.errno in _NOT_REACHED | {errno.EPERM}:
            reason += f"; {way_to_permission(self.root, error.errno == errno.EROFS)}"
        elif error.errno == errno.ENOSPC and not reason.startswith("No space on"):
            what = "RMIDs (ids of monitoring)" if "RMID" in reason else "CLOSIDs"
            taken = f"all {what} are taken"
            with contextlib.suppress(InputError):
                info = read_info(self.root)
                count = info.num_closids
                if "RMID" in reason and info.monitoring:
                    count = info.monitoring.num_rmids
                taken = (
                    f"all {count} {what} are taken by the root group and by groups "
                    f"{', '.join(groups(self.root))}"
                )
            reason = f"{taken}; remove one that nobody needs (rmdir {self.root}/NAME)"
        elif error.errno == errno.ENOSPC:
            reason += ": other groups hold it exclusively; remove one or make it shareable"
        elif error.errno == errno.EBUSY:
            reason += (
                "; the cache still holds lines of groups removed before: try again in some seconds"
            )
        return f"{self.path}: cannot be made: {reason}"


def _reason(root: Path, error: OSError) -> str:
    """Return what the kernel says of the command that it has just refused."""
    words = str(error.strerror)
    # What did not get as far as resctrl left the status of the command before.
    if error.errno in _NOT_REACHED | {errno.ENOENT}:
        return words
    try:
        status = (root / "info/last_cmd_status").read_text(errors="replace").strip()
    except OSError:
        return words
    return words if status in {"", "ok"} else "; ".join(status.splitlines())


def _line(schemata: Schemata) -> str:
    return repr(" ".join(str(schemata).split()))


def _common(before: Schemata, schemata: Schemata) -> Schemata:
    """Take from one schemata the values of the domains that another names."""
    return Schemata.of(
        {
            resource: {d: v for d, v in before.domains(resource).items() if d in domains}
            for resource, domains in schemata.values().items()
        }
    )


def _parts(schemata: Schemata) -> Iterator[str]:
    """Print it without padding, in as few writes as the kernel takes it in."""
    part = line = ""
    for resource, domains in schemata.values().items():
        for domain, value in domains.items():
            pair = str(Line(resource, (Allocation(domain, value),))).partition(":")[2]
            longer = f"{line};{pair}" if line else f"{resource}:{pair}"
            if (part or line) and len(part) + len(longer) + 1 > _WRITE_BYTES:
                yield part + (f"{line}\n" if line else "")
                part, longer = "", f"{resource}:{pair}"
            line = longer
        if line:
            part += f"{line}\n"
            line = ""
    if part:
        yield part
