"""Control groups for servers and trainer: CPUs, memory nodes and CPU weight, v2 or v1.

Stronger than affinity, since no library can widen it from within, and the only way to weigh two
groups of threads against each other whatever their own classes are. `survey` finds out where groups
could be made, or why not, and changes nothing; `make` makes one through the journal. The kernel's
rules are those of Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/cpusets.rst: v2 groups that
give controllers to their children hold no processes themselves (the root apart), and a v1 cpuset
takes no process before it has CPUs and memory nodes.

Attaching a process to a cpuset may reset the affinity of its threads: pin them afterwards.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lorabench.errors import MachineError
from lorabench.host.cgroups import Location, locate
from lorabench.host.files import Files
from lorabench.host.missing import Missing
from lorabench.host.owned import PREFIX
from lorabench.host.processes import read_threads, start_time
from lorabench.host.topology import CpuSet, format_cpu_list, parse_cpu_list
from lorabench.isolation.journal import Journal
from lorabench.isolation.undo import Cgroup, CgroupMember, Controllers, move_to_cgroup

# How often a thread outside of its group is looked at before it counts as one.
_LOOKS = 20
_BETWEEN_LOOKS_S = 0.002

_MACHINE = Files()

DEFAULT_WEIGHT = 100
"""What a group has unless somebody says otherwise (v2's ``cpu.weight``)."""


@dataclass(frozen=True)
class Place:
    """Where groups with one controller can be made.

    Attributes
    ----------
    version : int
        1 or 2.
    controller : str
        ``cpuset`` or ``cpu``.
    folder : Path
        The group that ours become children of.
    origin : Path
        The group that this process is in.
    evacuate : bool
        Its own processes, this run's all of them, have to leave `folder` for a child first.
    """

    version: Literal[1, 2]
    controller: str
    folder: Path
    origin: Path
    evacuate: bool = False


@dataclass(frozen=True)
class Offer:
    """What control groups this process can make: where, or why not."""

    cpuset: Place | Missing
    cpu: Place | Missing


def survey(files: Files = _MACHINE) -> Offer:
    """Find out where groups could be made; changes nothing."""
    locations = [at for at in locate(files) if at.visible]
    return Offer(find_place("cpuset", locations), find_place("cpu", locations))


def find_place(controller: str, locations: Sequence[Location]) -> Place | Missing:
    """Find where groups with a controller could be made, or say why nowhere.

    v1 is asked where v2 does not have the controller: a controller is in one hierarchy at a time.
    """
    what = f"cgroup {controller}"
    for at in locations:
        if at.version == 1 and controller in at.controllers:
            folder = Path(at.folder)
            if _writable(folder):
                return Place(1, controller, folder, folder)
            return Missing(
                what,
                f"the v1 cgroup {folder} is not writable",
                "run as root, or have root give the folder to this user",
            )
    v2 = [at for at in locations if at.version == 2]
    if not v2:
        return Missing(
            what,
            "/proc/self/mountinfo lists no cgroup file system that holds this process and offers "
            f"{controller}",
            "mount cgroup2 on /sys/fs/cgroup, or give the container access to its cgroup",
        )
    return _find_v2(what, controller, v2[0])


def _find_v2(what: str, controller: str, at: Location) -> Place | Missing:
    own = Path(at.folder)
    if _is_root(own):
        choices = [(own, False)]
    else:
        # In a group of our own nobody else notices; beside it, the parent's other children do.
        choices = [(own, True)] + [(own.parent, False)] * (at.folder != at.point)
    reasons = []
    for folder, evacuate in choices:
        obstacle = next(_obstacles(folder, controller, evacuate), None)
        if obstacle is None:
            return Place(2, controller, folder, own, evacuate)
        reasons.append(obstacle)
    return Missing(
        what,
        "; ".join(reasons),
        "start it as systemd-run --user --scope -p Delegate=yes lorabench ... (with cpuset among "
        "the controllers delegated to user@.service), or as root without --user",
    )


def _obstacles(folder: Path, controller: str, evacuate: bool) -> Iterator[str]:
    """Say what keeps us from making groups with a controller in a v2 group."""
    offered = _words(folder / "cgroup.controllers")
    switch = folder / "cgroup.subtree_control"
    enabled = controller in _words(switch)
    if controller not in offered:
        yield f"{folder} is offered {' '.join(offered) or 'no controller'}, not {controller}"
    if not _writable(folder) or not _writable(folder / "cgroup.procs"):
        yield f"{folder} is not writable"
    if not enabled and not _writable(switch):
        yield f"{switch} does not enable {controller} and is not writable"
    if _is_root(folder):
        return
    kind = " ".join(_words(folder / "cgroup.type"))
    if kind != "domain":
        yield f"{folder} is of type {kind or 'unknown'}, not domain"
    inside = set(_processes(folder))
    if evacuate:
        inside -= _descendants()
    if inside and (evacuate or not enabled):
        yield (
            f"{folder} holds other processes ({', '.join(map(str, sorted(inside)[:5]))}): a v2 "
            "group with processes cannot give its children controllers"
        )


def _is_root(folder: Path) -> bool:
    """Whether it is the machine's v2 root group, which may hold processes beside its children."""
    return not (folder / "cgroup.type").exists()


def _writable(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=True)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _processes(folder: Path) -> list[int]:
    return [int(word) for word in _words(folder / "cgroup.procs")]


def _descendants() -> set[int]:
    """List this process and all that it has started, directly or not."""
    import psutil

    return {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}


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
        if self.weight is not None and (self.idle or not 1 <= self.weight <= 10_000):
            raise ValueError(f"found weight {self.weight}, expected 1 to 10000, and none if idle")

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
    """A control group of ours: a folder in each hierarchy that it takes. Made by `make`."""

    def __init__(self, journal: Journal, folders: Sequence[Path]) -> None:
        self._journal = journal
        self.folders = tuple(folders)

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
            self._journal.record(CgroupMember(pid=pid, start=start, path=folder, origin=origin))
            try:
                move_to_cgroup(pid, folder)
            except OSError as error:
                raise MachineError(
                    f"cannot move process {pid} from cgroup {origin} to {folder}: {error.strerror};"
                    " expected a process of this user's own and a group that takes processes"
                ) from None
        self.verify(pid)

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


def make(journal: Journal, name: str, limits: Limits, offer: Offer) -> Group:
    """Make a control group.

    Parameters
    ----------
    journal : Journal
        Undoes it.
    name : str
        ``serving`` or ``trainer``.
    limits : Limits
        What the group gets; verified after the fact.
    offer : Offer
        Where (`survey`).

    Raises
    ------
    MachineError
        What the limits take is not on offer, or the kernel refuses or does not grant it all. What
        was made until then is left to the journal.
    """
    places: list[Place] = []
    for controller in limits.controllers:
        place = offer.cpuset if controller == "cpuset" else offer.cpu
        if isinstance(place, Missing):
            raise MachineError(f"{place.what}: {place.why}; {place.enable}")
        places.append(place)
    folders = []
    for parent in dict.fromkeys(place.folder for place in places):
        here = [place for place in places if place.folder == parent]
        origin = here[0].origin
        try:
            if here[0].evacuate:
                origin = _evacuate(journal, parent)
            if here[0].version == 2:
                _enable(journal, parent, [place.controller for place in here])
            folder = _make_folder(journal, parent, name, origin)
            for place in here:
                _limit(folder, place, limits)
        except OSError as error:
            raise MachineError(
                f"cannot set up a cgroup in {parent}: {error}; expected a group that this user "
                "may write to and that grants what the plan gives"
            ) from None
        folders.append(folder)
    return Group(journal, folders)


def _make_folder(journal: Journal, parent: Path, name: str, origin: Path) -> Path:
    folder = parent / f"{PREFIX}{os.getpid()}-{name}"
    journal.record(Cgroup(path=folder, origin=origin))
    folder.mkdir()
    return folder


_ROUNDS = 10


def _evacuate(journal: Journal, own: Path) -> Path:
    """Have this run's processes leave their v2 group for a child of it, which is returned."""
    leaf = own / f"{PREFIX}{os.getpid()}-conductor"
    if not leaf.exists():
        _make_folder(journal, own, "conductor", own)
    for _ in range(_ROUNDS):  # one may be started meanwhile, or be about to end
        for pid in _processes(own):
            start = start_time(pid)
            if start is not None:
                journal.record(CgroupMember(pid=pid, start=start, path=leaf, origin=own))
                move_to_cgroup(pid, leaf)
    return leaf


def _enable(journal: Journal, parent: Path, controllers: Iterable[str]) -> None:
    switch = parent / "cgroup.subtree_control"
    enabled = _words(switch)
    lacking = tuple(name for name in controllers if name not in enabled)
    if lacking:
        journal.record(Controllers(path=parent, names=lacking))
        switch.write_text(" ".join(f"+{name}" for name in lacking))


def _limit(folder: Path, place: Place, limits: Limits) -> None:
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


def _confine(folder: Path, what: str, wanted: frozenset[int] | None, place: Place) -> None:
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
