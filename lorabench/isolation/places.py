"""Where control groups can be made, or why not; changes nothing.

The kernel's rules are those of Documentation/admin-guide/cgroup-v2.rst: groups that give
controllers to their children hold no processes themselves, the root apart. Groups are made in
`lorabench.isolation.cgroups`.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lorabench.host.cgroups import Location, locate
from lorabench.host.files import Files
from lorabench.host.missing import Missing
from lorabench.host.mounts import unwritable
from lorabench.host.processes import descendants

_MACHINE = Files()
_READ_ONLY = "mounted read-only"


@dataclass(frozen=True)
class CgroupParent:
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

    cpuset: CgroupParent | Missing
    cpu: CgroupParent | Missing


def survey(files: Files = _MACHINE) -> Offer:
    """Find out where groups could be made; of a recorded tree, as far as its files tell."""
    locations = [at for at in locate(files) if at.visible]
    return Offer(find_place("cpuset", locations, files), find_place("cpu", locations, files))


def find_place(
    controller: str, locations: Sequence[Location], files: Files = _MACHINE
) -> CgroupParent | Missing:
    """Return where groups with a controller could be made, or why nowhere.

    v1 is asked where v2 does not have the controller: a controller is in one hierarchy at a time.
    """
    what = f"cgroup {controller}"
    for at in locations:
        if at.version == 1 and controller in at.controllers:
            folder = files.under(at.folder)
            why = unwritable(files, at.folder)
            if why is None:
                return CgroupParent(1, controller, folder, folder)
            return Missing(what, f"the v1 cgroup {folder} is {why}", _way(why, at.point))
    v2 = next((at for at in locations if at.version == 2), None)
    if v2 is None:
        return Missing(
            what,
            f"no cgroup file system is mounted that holds this process and offers {controller}",
            "mount cgroup2 on /sys/fs/cgroup, or give the container access to its cgroup",
        )
    own = files.under(v2.folder)
    choices = [(own, False)]
    if not _is_root(own):
        # In a group of our own nobody else notices; beside it, the parent's other children do.
        choices = [(own, True)] + [(own.parent, False)] * (v2.folder != v2.point)
    reasons = []
    for folder, evacuate in choices:
        obstacle = next(_obstacles(folder, controller, evacuate, files), None)
        if obstacle is None:
            return CgroupParent(2, controller, folder, own, evacuate)
        reasons.append(obstacle)
    if (why := unwritable(files, v2.folder)) == _READ_ONLY:
        return Missing(what, f"{own} is {why}", _way(why, v2.point))
    return Missing(
        what,
        "; ".join(reasons),
        "start it as systemd-run --user --scope -p Delegate=yes lorabench ... (with cpuset among "
        "the controllers delegated to user@.service), or as root without --user",
    )


def _way(why: str, point: str) -> str:
    """Return how a user may come to write there."""
    if why == _READ_ONLY:
        return (
            f"as root: mount -o remount,rw {point}; of a container: start it with its control "
            "groups writable (docker run --privileged, or -v /sys/fs/cgroup:/sys/fs/cgroup:rw)"
        )
    return "run as root, or have root give the folder to this user"


def _obstacles(folder: Path, controller: str, evacuate: bool, files: Files) -> Iterator[str]:
    """List what keeps us from making groups with a controller in a v2 group.

    Recordings leave files out, and their processes are not ours to compare with.
    """
    offered = words_in(folder / "cgroup.controllers")
    switch = folder / "cgroup.subtree_control"
    enabled = controller in words_in(switch)
    if controller not in offered:
        yield f"{folder} is offered {' '.join(offered) or 'no controller'}, not {controller}"
    names = (folder, folder / "cgroup.procs") if files.here else (folder,)
    if why := next(filter(None, (unwritable(files, _named(files, name)) for name in names)), None):
        yield f"{folder} is {why}"
    if not enabled and (why := unwritable(files, _named(files, switch))):
        yield f"{switch} does not enable {controller} and is {why}"
    if _is_root(folder) or not files.here:
        return
    kind = " ".join(words_in(folder / "cgroup.type"))
    if kind != "domain":
        yield f"{folder} is of type {kind or 'unknown'}, not domain"
    inside = set(processes_in(folder))
    if evacuate:
        inside -= descendants(os.getpid())
    if inside and (evacuate or not enabled):
        yield (
            f"{folder} holds other processes ({', '.join(map(str, sorted(inside)[:5]))}): a v2 "
            "group with processes cannot give its children controllers"
        )


def _is_root(folder: Path) -> bool:
    """Whether it is the machine's v2 root group, which may hold processes beside its children."""
    return not (folder / "cgroup.type").exists()


def _named(files: Files, path: Path) -> str:
    """Return what the machine itself calls a path."""
    return f"/{path.relative_to(files.root)}"


def words_in(path: Path) -> list[str]:
    """Read the words of a file; none where that is impossible."""
    try:
        return path.read_text(errors="replace").split()
    except OSError:
        return []


def processes_in(folder: Path) -> list[int]:
    """List the processes of a group; 0 is one outside of this namespace of pids."""
    return [int(word) for word in words_in(folder / "cgroup.procs")]
