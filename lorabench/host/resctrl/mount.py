"""Where resctrl is mounted, and why it cannot be used where it cannot.

Reads; it never mounts anything: that takes privilege, and is the administrator's decision.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from lorabench.errors import InputError
from lorabench.host.files import Files
from lorabench.host.formats import cpu_field
from lorabench.host.missing import Missing
from lorabench.host.mounts import read_mounts, unwritable
from lorabench.host.owner import PREFIX
from lorabench.host.resctrl.info import Info, groups, read_info

# Flags of /proc/cpuinfo by which Intel RDT and AMD QoS show that they can allocate cache or memory
# bandwidth. Arm's MPAM shows none: there the kernel's list of file systems alone says it.
_FLAGS = {"cat_l3", "cat_l2", "mba"}
_MOUNT = "as root: mount -t resctrl resctrl /sys/fs/resctrl"


@dataclass(frozen=True)
class ResctrlMount:
    """A mounted resctrl.

    Attributes
    ----------
    root : Path
        Where, under the sysroot.
    options : frozenset of str
        Mount options; of interest are ``cdp``, ``cdpl2`` and ``mba_MBps``.
    """

    root: Path
    options: frozenset[str]

    def info(self) -> Info:
        """Read what it offers.

        Raises
        ------
        InputError
            Its files do not parse.
        """
        return read_info(self.root, "mba_MBps" in self.options)


def find_mount(sysroot: Path = Path("/")) -> ResctrlMount | None:
    """Return where resctrl is mounted; None where it is not.

    Parameters
    ----------
    sysroot : Path
        Where ``proc/mounts`` lies; the mount is looked for under it, too.
    """
    mounts = [mount for mount in read_mounts(Files(sysroot)) if mount.kind == "resctrl"]
    if not mounts:
        return None
    return ResctrlMount(sysroot / mounts[-1].point.lstrip("/"), mounts[-1].options)


def availability(sysroot: Path = Path("/"), needed: int = 2) -> ResctrlMount | Missing:
    """Return whether cache or bandwidth can be partitioned here: the first thing that is missing.

    Parameters
    ----------
    sysroot : Path
        The machine; this one by default.
    needed : int
        Groups that have to be free: one for the servers, one for the trainer.
    """
    mount = find_mount(sysroot)
    if mount is None:
        return _unmounted(sysroot)
    root = mount.root
    try:
        info = mount.info()
        taken = groups(root)
    except InputError as error:
        return _missing(f"{error}", f"mount it anew ({_MOUNT})")
    return _obstacle(sysroot, mount, info, taken, needed) or mount


def _obstacle(
    sysroot: Path, mount: ResctrlMount, info: Info, taken: tuple[str, ...], needed: int
) -> Missing | None:
    root = mount.root
    if not info.caches and info.bandwidth is None:
        if info.dropped:
            return _missing(info.dropped[0].why, f"mount it anew ({_MOUNT})")
        return _missing(
            f"the resctrl mounted on {root} can only monitor: it offers neither L3, L2 nor MB",
            "run on a machine whose processor can allocate cache or memory bandwidth",
        )
    if why := unwritable(Files(sysroot), f"/{root.relative_to(sysroot)}"):
        read_only = "ro" in mount.options
        return _missing(
            f"the resctrl on {root} is {why}"
            if read_only
            else f"user {_user()} may not make groups in {root}",
            way_to_permission(root, read_only),
        )
    confined = _own_group(sysroot)
    if confined:
        return _missing(
            f"somebody has put this process into the resctrl group {confined}, and partitions of "
            "our own would take the run out of it",
            f"start it in the root group; as root, of its shell: echo PID > {root}/tasks",
        )
    if info.num_closids - 1 - len(taken) < needed:
        return _taken(root, info.num_closids, taken, needed)
    return None


def _missing(why: str, enable: str) -> Missing:
    return Missing("resctrl", why, enable)


def _unmounted(sysroot: Path) -> Missing:
    files = Files(sysroot)
    shown = cpu_field(files.get("/proc/cpuinfo") or "", "flags")
    found = sorted(_FLAGS.intersection(shown.split()))
    known = "resctrl" in files.words("/proc/filesystems")
    if shown and not found:
        return _missing(
            f"the processor shows none of the flags {', '.join(sorted(_FLAGS))}: no cache or "
            "memory-bandwidth allocation, or a hypervisor hides it",
            "run on bare metal with Intel RDT, AMD QoS or Arm MPAM",
        )
    offers = f"the processor offers {', '.join(found)}, but " if found else ""
    if not known:
        return _missing(
            f"{offers}the kernel has no resctrl file system",
            "use a kernel built with CONFIG_X86_CPU_RESCTRL (Arm: CONFIG_ARM64_MPAM)",
        )
    return _missing(f"{offers}resctrl is not mounted", _MOUNT)


def _taken(root: Path, closids: int, taken: tuple[str, ...], needed: int) -> Missing:
    free = max(0, closids - 1 - len(taken))
    enable = f"remove a group that nobody needs (rmdir {root}/NAME)"
    if any(name.startswith(PREFIX) for name in taken):
        enable += f"; lorabench doctor --cleanup removes a killed run's, {PREFIX}*"
    if not taken:
        return _missing(
            f"the resctrl on {root} allows {closids - 1} groups, {needed} are needed", enable
        )
    few = "all" if free == 0 else f"{closids - free} of"
    return _missing(
        f"{few} {closids} CLOSIDs of the resctrl on {root} are taken by the root group and by "
        f"groups {', '.join(taken)}; {needed} more are needed",
        enable,
    )


def way_to_permission(root: Path | str, read_only: bool = False) -> str:
    """Return how a user may come to make groups: who makes one owns its files."""
    if read_only:
        return f"as root: mount -o remount,rw {root} (of a container: have it mounted so)"
    return f"run as root, or have root run: chown {_user()} {root}"


def _own_group(sysroot: Path) -> str:
    """Read which control group this process was put into; empty for the root group."""
    text = Files(sysroot).get("/proc/self/cpu_resctrl_groups") or ""
    found = re.search("^res:(.*)$", text, re.MULTILINE)
    name = found[1].strip() if found else ""
    return "" if name == "/" or name.startswith(PREFIX) else name


def _user() -> str:
    # Not by name: a container's user often has none.
    return str(os.geteuid())
