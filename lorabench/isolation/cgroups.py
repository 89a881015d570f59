"""Control groups for servers and trainer: CPUs, memory nodes and CPU weight, v2 or v1.

Stronger than affinity, since no library can widen it from within, and the only way to weigh two
groups of threads against each other whatever their own classes are. Where groups can be made is
found out in `lorabench.isolation.places`; `grouped` makes them, and `tidy` takes away what a run
has made, whether it lives or not, by the names that it gave (`lorabench.host.owner`). The kernel's
rules are those of Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/cpusets.rst: v2 groups that
give controllers to their children hold no processes themselves (the root apart), and a v1 cpuset
takes no process before it has CPUs and memory nodes.

Attaching a process to a cpuset may reset the affinity of its threads: pin them afterwards.
"""

import errno
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lorabench.errors import MachineError
from lorabench.host.cgroups import Location, locate
from lorabench.host.files import Files
from lorabench.host.formats import CpuSet, format_cpu_list, parse_cpu_list
from lorabench.host.missing import Missing
from lorabench.host.owner import Owner, read_name
from lorabench.host.processes import read_threads, start_time
from lorabench.isolation.places import CgroupParent, Offer, processes_in, words_in
from lorabench.isolation.undoing import Report, undoing

# How often a thread outside of its group is looked at before it counts as one.
_LOOKS = 20
_BETWEEN_LOOKS_S = 0.002
# How often this run's processes are looked for in a group that they are to leave.
_ROUNDS = 10
# How long a cgroup may stay busy: processes that have just been killed count until they are gone.
_BUSY_S = 5.0

# Roles of groups that are there for the others: where the run's own processes go meanwhile, and
# which controllers were enabled for the others' sake.
_LEAF = "main"
_ENABLED = "enabled-"

_MACHINE = Files()

DEFAULT_WEIGHT = 100
"""What a group has unless somebody says otherwise (v2's ``cpu.weight``)."""


MOST_WEIGHT = 10_000
"""Of a group, against 100 of any other and of a thread in none."""


@dataclass(frozen=True)
class Limits:
    """What a group gets; None leaves it as it is for the group that ours is made in.

    Attributes
    ----------
    cpus, mems : frozenset of int or None
        CPUs and memory nodes.
    weight : int or None
        Share of a contended CPU, 1 to 10,000; any other group has 100.
    idle : bool
        The whole group gives way as SCHED_IDLE does; then it has no weight.
    """

    cpus: CpuSet | None = None
    mems: frozenset[int] | None = None
    weight: int | None = None
    idle: bool = False

    def __post_init__(self) -> None:
        if self.weight is not None and (self.idle or not 1 <= self.weight <= MOST_WEIGHT):
            raise ValueError(
                f"found weight {self.weight}, expected 1 to {MOST_WEIGHT}, and none if idle"
            )

    @property
    def controllers(self) -> tuple[str, ...]:
        """Those that it takes."""
        wanted = []
        if self.cpus is not None or self.mems is not None:
            wanted.append("cpuset")
        if self.weight is not None or self.idle:
            wanted.append("cpu")
        return tuple(wanted)


class Group:
    """A control group of ours: a folder in each hierarchy that it takes. Made by `grouped`."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(folders)
        # Who came from where: pid, start, folder, origin.
        self._members: list[tuple[int, int, Path, Path]] = []

    def add(self, pid: int) -> None:
        """Move a process into it, with all its threads and whatever it starts later.

        Raises
        ------
        MachineError
            The kernel refuses.
        ProcessLookupError
            The process has ended.
        """
        start = start_time(pid)
        if start is None:
            raise ProcessLookupError(f"there is no process {pid}")
        locations = locate(_MACHINE, str(pid))
        for folder in self.folders:
            origin = _in_hierarchy_of(folder, locations)
            if origin == folder:
                continue
            self._members.append((pid, start, folder, origin))
            try:
                _move(pid, folder)
            except OSError as error:
                raise MachineError(
                    f"cannot move process {pid} from cgroup {origin} to {folder}: {error.strerror};"
                    " expected a process of this user's own and a group that takes processes"
                ) from None
        self.verify(pid)

    def send_back(self) -> None:
        """Move those that were added, and that nobody has moved since, to where they came from."""
        for pid, start, folder, origin in reversed(self._members):
            inside = pid in processes_in(folder)
            if inside and start_time(pid) == start and origin.is_dir():
                _move(pid, origin)

    def verify(self, pid: int) -> None:
        """Make sure that every thread of a process is in the group.

        Raises
        ------
        MachineError
            Some are not; the message lists them.
        ProcessLookupError
            The process has ended.
        """
        strays = self._outside(pid)
        # The kernel shows a thread that is about to vanish in the root group: look again.
        for _ in range(_LOOKS):
            if not strays:
                return
            time.sleep(_BETWEEN_LOOKS_S)
            strays &= self._outside(pid)
        if strays:
            raise MachineError(
                f"process {pid}: found threads {sorted(strays)} outside of cgroup "
                f"{self.folders[0]}; something moved them"
            )

    def _outside(self, pid: int) -> set[int]:
        found = read_threads(
            pid, lambda thread: {Path(at.folder) for at in locate(_MACHINE, f"{pid}/task/{thread}")}
        )
        return {thread for thread, at in found.items() if not at.issuperset(self.folders)}


def _in_hierarchy_of(folder: Path, locations: Iterable[Location]) -> Path:
    within = [at for at in locations if folder.is_relative_to(at.point)]
    if not within:
        raise MachineError(f"cgroup {folder}: found it not mounted any more")
    # A mount may lie below another's: the hybrid set-up has v2 beside or above v1.
    return Path(max(within, key=lambda at: len(at.point)).folder)


@contextmanager
def grouped(limits: Mapping[str, Limits], offer: Offer) -> Iterator[dict[str, Group]]:
    """Make control groups for as long as the context lasts.

    Parameters
    ----------
    limits : mapping of str to Limits
        What each group gets, by its role: ``serving``, ``trainer``; verified after the fact.
    offer : Offer
        Where (`lorabench.isolation.places.survey`).

    Yields
    ------
    dict of str to Group
        By role, without processes. At the end those added go back to where they came from.

    Raises
    ------
    MachineError
        What the limits take is not on offer, or the kernel refuses or does not grant it all; or
        something cannot be undone.
    """
    wanted = {role: _places(limit, offer) for role, limit in limits.items()}
    parents = dict.fromkeys(place.folder for places in wanted.values() for place in places)
    groups: dict[str, Group] = {}

    def undo() -> None:
        report = Report(pids={os.getpid()})
        for role, group in groups.items():
            report.attempt(f"processes in {role}", group.send_back)
        for parent in parents:
            tidy(parent, Owner.this(), report)
        if report.failed:
            raise MachineError(f"could not undo {', '.join(report.failed)}")

    with undoing(undo):
        for role, limit in limits.items():
            groups[role] = _make(role, limit, wanted[role])
        yield groups


def _places(limits: Limits, offer: Offer) -> list[CgroupParent]:
    found = []
    for controller in limits.controllers:
        place = offer.cpuset if controller == "cpuset" else offer.cpu
        if isinstance(place, Missing):
            raise MachineError(f"{place.what}: {place.why}; {place.enable}")
        found.append(place)
    return found


def _make(role: str, limits: Limits, places: Sequence[CgroupParent]) -> Group:
    folders = []
    for parent in dict.fromkeys(place.folder for place in places):
        here = [place for place in places if place.folder == parent]
        folder = parent / Owner.this().name(role)
        try:
            if here[0].evacuate:
                _evacuate(parent)
            if here[0].version == 2:
                _enable(parent, [place.controller for place in here])
            folder.mkdir()
            for place in here:
                _limit(folder, place, limits)
        except OSError as error:
            raise MachineError(
                f"cannot set up a cgroup in {parent}: {error}; expected a group that this user "
                "may write to and that grants what the plan gives"
            ) from None
        folders.append(folder)
    return Group(folders)


def _evacuate(own: Path) -> None:
    """Have this run's processes leave their v2 group for a child of it."""
    leaf = own / Owner.this().name(_LEAF)
    leaf.mkdir(exist_ok=True)
    for _ in range(_ROUNDS):  # one may be started meanwhile, or be about to end
        for pid in processes_in(own):
            _move(pid, leaf)


def _enable(parent: Path, controllers: Iterable[str]) -> None:
    """Enable controllers for the children of a v2 group; a child without processes says which."""
    switch = parent / "cgroup.subtree_control"
    enabled = words_in(switch)
    lacking = [name for name in controllers if name not in enabled]
    if lacking:
        (parent / Owner.this().name(_ENABLED + "+".join(lacking))).mkdir()
        switch.write_text(" ".join(f"+{name}" for name in lacking))


def tidy(parent: Path, owner: Owner, report: Report, *, last: bool = False) -> None:
    """Take away what a run has made in a group, the later things first.

    Processes that are still there go to the child that the run's own had moved to, if it did, else
    to `parent`. May be cut short anywhere and done again.

    Parameters
    ----------
    parent : Path
        The group.
    owner : Owner
        The run.
    report : Report
        Is told what was undone and what was not.
    last : bool
        Whether to forget controllers that cannot be switched off, since others use them by now;
        else it is tried again later.
    """
    roles = {
        found[1]: at
        for at in _children(parent)
        if (found := read_name(at.name)) and found[0] == owner
    }
    leaf = roles.pop(_LEAF, None)
    switched = [role for role in roles if role.startswith(_ENABLED)]
    for role in roles.keys() - set(switched):
        report.attempt(f"cgroup {roles[role]}", partial(_dissolve, roles[role], leaf or parent))
    for role in switched:
        _disable(parent, role.removeprefix(_ENABLED).split("+"), roles[role], report, last=last)
    # Only now: a v2 group that gives controllers to its children takes no process back.
    if leaf is not None:
        report.attempt(f"cgroup {leaf}", partial(_dissolve, leaf, parent))


def _children(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # it is gone, and all that was in it
        return []


def _dissolve(folder: Path, home: Path) -> None:
    """Move a group's processes away and remove it; nothing where it is gone."""
    give_up = time.monotonic() + _BUSY_S
    while True:
        try:
            # 0 is a process outside this pid namespace; written back it would mean ourselves.
            for pid in set((folder / "cgroup.procs").read_text().split()) - {"0"}:
                _move(int(pid), home)
            folder.rmdir()
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            if error.errno == errno.ENODEV:  # it went between opening and reading
                return
            if error.errno != errno.EBUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)
        else:
            return


def _disable(
    parent: Path, controllers: Sequence[str], note: Path, report: Report, *, last: bool
) -> None:
    """Switch off what `_enable` switched on, unless somebody else uses it below by now."""
    switch = parent / "cgroup.subtree_control"
    what = f"controllers {' '.join(controllers)} in {switch}"

    def undo() -> None:
        ours = [name for name in controllers if name in words_in(switch)]
        try:
            if ours:
                switch.write_text(" ".join(f"-{name}" for name in ours))
        except OSError as error:
            # A group below has enabled one for its own children: it is theirs now, too.
            if error.errno != errno.EBUSY:
                raise
            report.notes.append(f"{what} were left enabled: another group uses them by now")
            if not last:
                return
        _dissolve(note, parent)

    report.attempt(what, undo)


def _move(pid: int, folder: Path) -> None:
    """Move a process with all its threads into a cgroup; nothing where it has ended."""
    with suppress(ProcessLookupError):
        (folder / "cgroup.procs").write_text(f"{pid}\n")


def _limit(folder: Path, place: CgroupParent, limits: Limits) -> None:
    if place.controller == "cpuset":
        _confine(folder, "cpus", limits.cpus, place)
        _confine(folder, "mems", limits.mems, place)
    elif limits.idle:
        # Kernels before 5.15 have none; the least share comes close.
        if not (folder / "cpu.idle").exists():
            _limit(folder, place, Limits(weight=1))
            return
        (folder / "cpu.idle").write_text("1")
    elif limits.weight is not None and place.version == 2:
        (folder / "cpu.weight").write_text(str(limits.weight))
    elif limits.weight is not None:
        (folder / "cpu.shares").write_text(str(shares(limits.weight)))


def _confine(folder: Path, what: str, wanted: frozenset[int] | None, place: CgroupParent) -> None:
    """Set a cpuset's CPUs or memory nodes, and make sure that the kernel grants all of them."""
    effective = f"cpuset.{what}.effective" if place.version == 2 else f"cpuset.effective_{what}"
    if wanted is None:
        if place.version == 2:  # empty means all that the parent has
            return
        wanted = parse_cpu_list((folder.parent / effective).read_text())
    (folder / f"cpuset.{what}").write_text(format_cpu_list(wanted))
    granted = parse_cpu_list((folder / effective).read_text())
    if granted != wanted:
        raise MachineError(
            f"cgroup {folder}: found {what} {format_cpu_list(granted) or 'none'} granted, expected "
            f"{format_cpu_list(wanted)}; plan with those that {folder.parent} has"
        )


def shares(weight: int) -> int:
    """Convert a v2 ``cpu.weight`` to v1's ``cpu.shares``, as the kernel does.

    Examples
    --------
    >>> shares(DEFAULT_WEIGHT)
    1024
    """
    return max(2, (weight * 1024 + DEFAULT_WEIGHT // 2) // DEFAULT_WEIGHT)
