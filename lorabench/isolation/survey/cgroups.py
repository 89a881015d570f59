"""Where this process is in the control groups, and what their limits come to.

Reads version 1 and version 2, mounted anywhere, hybrid set-ups included (cgroups(7),
``Documentation/admin-guide/cgroup-v2.rst``). Changes nothing.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath

from lorabench.host.files import UnreadableError
from lorabench.isolation.survey.capability import Host

# What version 1 says where there is no limit: the largest number of whole pages.
_NO_LIMIT = 1 << 60


@dataclass(frozen=True)
class Place:
    """The group of this process in one hierarchy.

    Attributes
    ----------
    version : int
        1 or 2.
    mount : str
        Where the hierarchy is mounted.
    folder : str
        The group's folder; the mount where the group lies outside of what is mounted.
    """

    version: int
    mount: str
    folder: str

    def above(self) -> list[str]:
        """List the group's folder and those above it, up to the mount."""
        found = [self.folder]
        while found[-1] != self.mount:
            found.append(str(PurePosixPath(found[-1]).parent))
        return found


def places(host: Host, controller: str) -> list[Place]:
    """Find this process's groups that have a controller, version 2 first."""
    found: list[Place] = []
    for mount in host.mounts:
        if mount.kind == "cgroup2":
            place = Place(2, mount.point, _folder(host, mount.point, host.membership.get("")))
            listed = host.files.get(f"{place.folder}/cgroup.controllers")
            if listed is None:  # recordings leave files of the group out
                listed = host.files.get(f"{mount.point}/cgroup.controllers") or ""
            if controller in listed.split():
                found.insert(0, place)
        elif mount.kind == "cgroup" and controller in mount.options:
            path = host.membership.get(controller)
            found.append(Place(1, mount.point, _folder(host, mount.point, path)))
    return found


def _folder(host: Host, mount: str, path: str | None) -> str:
    if not path or path == "/" or ".." in path.split("/"):
        return mount
    # A container sees its group's name from outside but has only the inside mounted.
    folder = mount.rstrip("/") + path.rstrip("/")
    return folder if host.files.is_folder(folder) else mount


def cpu_quota(host: Host) -> tuple[float, str] | None:
    """Find the tightest limit on CPU time: CPUs and the file that sets it; None without one.

    Raises
    ------
    UnreadableError
        A limit does not parse.
    """
    found = []
    for place in places(host, "cpu"):
        for folder in place.above():
            if place.version == 2:
                path = f"{folder}/cpu.max"
                words = (host.files.get(path) or "max").split()
                quota, period = words[0], words[1] if len(words) > 1 else "100000"
            else:
                path = f"{folder}/cpu.cfs_quota_us"
                quota = host.files.get(path) or "-1"
                period = host.files.get(f"{folder}/cpu.cfs_period_us") or "100000"
            if quota in ("max", "-1"):
                continue
            if not (quota.isdecimal() and period.isdecimal() and int(period) > 0):
                raise UnreadableError(
                    path, f"found {quota:.20} of {period:.20}, expected a quota and a period"
                )
            found.append((int(quota) / int(period), path))
    return min(found, default=None)


def memory_limit(host: Host) -> tuple[int, str] | None:
    """Find the tightest limit on memory: bytes and the file that sets it; None without one.

    Raises
    ------
    UnreadableError
        A limit does not parse.
    """
    found = []
    for place in places(host, "memory"):
        name = "memory.max" if place.version == 2 else "memory.limit_in_bytes"
        for folder in place.above():
            path = f"{folder}/{name}"
            text = host.files.get(path) or "max"
            if text == "max":
                continue
            if not text.isdecimal():
                raise UnreadableError(path, f"found {text:.20}, expected bytes or max")
            if int(text) < _NO_LIMIT:
                found.append((int(text), path))
    return min(found, default=None)
