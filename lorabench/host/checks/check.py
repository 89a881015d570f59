"""What a row of the capability table is, what it is made from, and how one that cannot be is said.

A row is written by a function from `Host` to `Finding`; `row` turns one that ran into an unreadable
file into a row as well, so that half a machine still gives a whole table.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from lorabench.errors import InputError
from lorabench.host.checks.probes import Probes
from lorabench.host.files import Files, UnreadableError
from lorabench.host.formats import cpu_flags, parse_release
from lorabench.host.missing import Missing
from lorabench.host.mounts import unwritable
from lorabench.host.resctrl import Info, find_mount, groups
from lorabench.host.topology import Topology

State = Literal["available", "restricted", "unavailable"]


@dataclass(frozen=True)
class Capability:
    """A row of the table.

    Attributes
    ----------
    name : str
        What the bench would use.
    state : str
        ``available``; ``restricted``: there, but not all of it, or a setting or a permission stands
        in the way; ``unavailable``.
    evidence : str
        The path or flag that was read, and what it said.
    enable : str
        What would make it available, or more of it; empty where there is nothing to do.
    detail : str
        What was found, in words.
    area : str
        The heading that it belongs under.
    """

    name: str
    state: State
    evidence: str
    enable: str
    detail: str
    area: str = ""


@dataclass(frozen=True)
class Finding:
    """What a row's function has to say; the fields are those of `Capability`."""

    state: State
    detail: str
    evidence: str
    enable: str = ""


@dataclass(frozen=True)
class Host:
    """The machine that is looked at.

    Attributes
    ----------
    files : Files
        What lies under its root.
    topology : Topology or None
        None where sysfs has none.
    no_topology : str
        Why, then.
    probes : Probes or None
        What was tried out on it; None for a recorded tree.
    tried : mapping of str to Missing or None
        What of isolation was tried and refused (`lorabench.isolation.machine.try_out`); None for a
        recorded tree.
    groups : mapping of str to (str or Missing)
        Controller -> where control groups with it can be made, or why not.
    cpu : str
        The processor's name by py-cpuinfo; empty where that was not asked.
    cpu_flags : frozenset of str
        Its flags by py-cpuinfo, which has them from the processor itself, too.
    """

    files: Files
    topology: Topology | None
    no_topology: str = ""
    probes: Probes | None = None
    tried: Mapping[str, Missing] | None = None
    groups: Mapping[str, str | Missing] = field(default_factory=dict)
    cpu: str = ""
    cpu_flags: frozenset[str] = frozenset()

    @cached_property
    def cpuinfo(self) -> str:
        """Text of ``/proc/cpuinfo``.

        Raises
        ------
        UnreadableError
            There is none.
        """
        return self.files.read("/proc/cpuinfo")

    @cached_property
    def flags(self) -> frozenset[str]:
        """Flags of the processor; none where they cannot be read."""
        return cpu_flags(self.files.get("/proc/cpuinfo") or "")

    @cached_property
    def release(self) -> str:
        """Release of the kernel; empty where the tree does not say."""
        text = self.files.get("/proc/sys/kernel/osrelease")
        if text:
            return text
        words = (self.files.get("/proc/version") or "").split()
        return words[2] if words[:2] == ["Linux", "version"] and len(words) > 2 else ""

    @cached_property
    def resctrl(self) -> "Resctrl | None":
        """The mounted resctrl; None where none is.

        Raises
        ------
        UnreadableError
            What is mounted there does not read as one.
        """
        found = find_mount(self.files.root)
        if found is None:
            return None
        point = f"/{found.root.relative_to(self.files.root)}"
        try:
            why = unwritable(self.files, point)
            return Resctrl(point, found.info(), len(groups(found.root)), why)
        except InputError as error:
            raise UnreadableError(point, self.files.as_named(str(error))) from None
        except OSError as error:
            raise UnreadableError(point, f"it cannot be read ({error.strerror})") from None

    @property
    def kernel(self) -> tuple[int, int] | None:
        """Major and minor number of the kernel."""
        return parse_release(self.release)

    def machine(self) -> Topology:
        """Return the topology.

        Raises
        ------
        UnreadableError
            There is none.
        """
        if self.topology is None:
            why = self.files.as_named(self.no_topology)
            raise UnreadableError("/sys/devices/system/cpu", why)
        if not self.topology.online:
            raise UnreadableError("/sys/devices/system/cpu/online", "no CPU is online")
        return self.topology


@dataclass(frozen=True)
class Resctrl:
    """The mounted resctrl.

    Attributes
    ----------
    point : str
        Where.
    info : Info
        What it offers.
    taken : int
        Groups that there are beside the root group, anybody's.
    unwritable : str or None
        Why this user can make no groups; None where he can.
    """

    point: str
    info: Info
    taken: int
    unwritable: str | None


Row = Callable[[Host], Capability]


def row(area: str, name: str, otherwise: str) -> Callable[[Callable[[Host], Finding]], Row]:
    """Make a function that finds something into a row of the table.

    Parameters
    ----------
    area, name : str
        Of the row.
    otherwise : str
        What would help where a file that it needs cannot be read.
    """

    def wrap(find: Callable[[Host], Finding]) -> Row:
        def capability(host: Host) -> Capability:
            try:
                found = find(host)
            except UnreadableError as error:
                found = Finding("unavailable", f"unknown: {error.why}", error.path, otherwise)
            return Capability(
                name=name,
                state=found.state,
                evidence=found.evidence,
                enable=found.enable,
                detail=found.detail,
                area=area,
            )

        return capability

    return wrap
