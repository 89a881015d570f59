"""Rows on scheduling: groups, classes and priorities that a trainer can be given."""

from lorabench.host.cgroups import Location, locate
from lorabench.host.files import UnreadableError
from lorabench.host.missing import Missing
from lorabench.isolation import cgroups
from lorabench.isolation.survey.capability import Finding, Host, Row, State, row

_AREA = "scheduling"
_DELEGATE = "run as root, or have a group delegated: systemd-run --user --scope -p Delegate=yes"


def _group(controller: str, name: str, does: str) -> Row:
    """Make the row of a controller in which the trainer could get a group of its own."""

    @row(_AREA, name, "have a cgroup file system mounted")
    def find(host: Host) -> Finding:
        host.files.read("/proc/mounts")
        found = [at for at in locate(host.files) if controller in at.controllers]
        if host.trials is not None:
            return _tried(getattr(host.trials.cgroups, controller), found, does)
        if not found:
            kinds = sorted({m.kind for m in host.mounts if m.kind in ("cgroup", "cgroup2")})
            return Finding(
                "unavailable",
                f"no mounted control group has {controller}",
                f"/proc/mounts: {', '.join(kinds) or 'no cgroup, no cgroup2'}",
                f"have the parent group hand {controller} on (cgroup.subtree_control), "
                "or mount it as version 1",
            )
        free = [place for place in found if _may_make_groups(host, place)]
        place = (free or found)[0]
        where = f"{place.folder} (version {place.version})"
        if free:
            return Finding("available", does, f"{where}: writable")
        detail = "this user may not make groups"
        return Finding("restricted", detail, f"{where}: not writable", _DELEGATE)

    return find


def _tried(offer: cgroups.Place | Missing, found: list[Location], does: str) -> Finding:
    """Say what `lorabench.isolation.cgroups` found out, which is who makes the groups."""
    if isinstance(offer, Missing):
        state: State = "restricted" if found else "unavailable"
        where = found[0].folder if found else "/proc/self/mountinfo"
        return Finding(state, offer.why, where, offer.enable)
    return Finding("available", does, f"{offer.folder} (version {offer.version}): writable")


def _may_make_groups(host: Host, place: Location) -> bool:
    files = host.files
    if not files.writable(place.folder):
        return False
    # Version 2 hands a controller to children by this file.
    return place.version == 1 or files.writable(f"{place.folder}/cgroup.subtree_control")


@row(_AREA, "sched_idle", "run it on the machine itself: only an attempt shows it")
def sched_idle(host: Host) -> Finding:
    """Say whether a thread that yields to all others may become an ordinary one again."""
    if host.trials is None:
        raise UnreadableError("sched_setscheduler", "a recorded tree cannot show it")
    refused = host.trials.leave_idle
    if refused is None:
        done = "sched_setscheduler: both ways"
        return Finding("available", "may be entered and left again", done)
    evidence = f"sched_setscheduler: refused; RLIMIT_NICE: {20 - host.trials.nice_limit}"
    return Finding("restricted", refused.why, evidence, refused.enable)


@row(_AREA, "priority", "run it on the machine itself: only a process has privileges")
def priority(host: Host) -> Finding:
    """Say whether servers may get a higher priority than ordinary processes."""
    if host.trials is None:
        raise UnreadableError("/proc/self/status", "a recorded tree has no process of this user")
    limit = host.trials.nice_limit
    evidence = f"/proc/self/status: {host.trials.nice.said}; RLIMIT_NICE: {20 - limit}"
    if host.trials.nice.worked:
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
    """Say whether the kernel keeps other processes and its own ticks off some CPUs."""
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
