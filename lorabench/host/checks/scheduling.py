"""Rows on scheduling: groups, classes and priorities that a trainer can be given."""

from lorabench.host.cgroups import locate
from lorabench.host.checks.check import Finding, Host, Row, State, row
from lorabench.host.files import UnreadableError
from lorabench.host.missing import Missing

_AREA = "scheduling"


def _group(controller: str, name: str, does: str) -> Row:
    """Make the row of a controller in which the trainer could get a group of its own."""

    @row(_AREA, name, "have a cgroup file system mounted")
    def find(host: Host) -> Finding:
        host.files.read("/proc/mounts")
        place = host.groups[controller]
        if not isinstance(place, Missing):
            return Finding("available", does, f"{place}: writable")
        here = [at for at in locate(host.files) if controller in at.controllers]
        state: State = "restricted" if here else "unavailable"
        evidence = here[0].folder if here else "/proc/self/cgroup, /proc/mounts"
        named = host.files.as_named
        return Finding(state, named(place.why), named(evidence), named(place.enable))

    return find


@row(_AREA, "sched_idle", "run it on the machine itself: only an attempt shows it")
def sched_idle(host: Host) -> Finding:
    """Return whether a thread that yields to all others may become an ordinary one again."""
    if host.tried is None or host.probes is None:
        raise UnreadableError("sched_setscheduler", "a recorded tree cannot show it")
    refused = host.tried.get("idle")
    if refused is None:
        done = "sched_setscheduler: both ways"
        return Finding("available", "may be entered and left again", done)
    evidence = f"sched_setscheduler: refused; RLIMIT_NICE: {20 - host.probes.nice_limit}"
    return Finding("restricted", refused.why, evidence, refused.enable)


@row(_AREA, "priority", "run it on the machine itself: only a process has privileges")
def priority(host: Host) -> Finding:
    """Return whether servers may get a higher priority than ordinary processes."""
    if host.probes is None:
        raise UnreadableError("/proc/self/status", "a recorded tree has no process of this user")
    limit = host.probes.nice_limit
    evidence = f"/proc/self/status: {host.probes.nice.said}; RLIMIT_NICE: {20 - limit}"
    if host.probes.nice.worked:
        return Finding("available", "may be raised: CAP_SYS_NICE is held", evidence)
    if limit < 0:
        return Finding("available", f"may be raised to nice {limit}", evidence)
    return Finding(
        "restricted",
        "may be lowered, not raised",
        evidence,
        "give CAP_SYS_NICE, or nice -20 in limits.conf",
    )


@row(_AREA, "isolated cpus", "use a kernel newer than 4.2")
def isolated_cpus(host: Host) -> Finding:
    """Return whether the kernel keeps other processes and its own ticks off some CPUs."""
    path = "/sys/devices/system/cpu/isolated"
    isolated = host.files.read(path)
    ticks = (host.files.get("/sys/devices/system/cpu/nohz_full") or "").strip("()")
    quiet = "" if ticks in ("", "null") else f", without ticks: {ticks}"
    if isolated:
        return Finding("available", f"CPUs {isolated}{quiet}", f"{path}: {isolated}")
    return Finding(
        "unavailable",
        f"none: any process may run on any CPU{quiet}",
        f"{path}: empty",
        "boot with isolcpus=LIST nohz_full=LIST",
    )


ROWS = (
    _group("cpuset", "cgroup cpuset", "the trainer can be confined to CPUs"),
    _group("cpu", "cgroup weight", "the trainer can be given a small share"),
    sched_idle,
    priority,
    isolated_cpus,
)
