"""Rows on RDT: what of cache and memory bandwidth can be divided and watched, and by whom.

Intel RDT, AMD QoS and Arm MPAM all show in resctrl. Where that is mounted its own files are the
evidence; where not, the processor's flags are, and the row says what is missing.
"""

from lorabench.host.checks.check import Finding, Host, Resctrl, Row, State, row
from lorabench.host.missing import Missing
from lorabench.host.resctrl import Info, availability
from lorabench.host.resctrl.mount import way_to_permission

_AREA = "RDT"
_MOUNT = "as root: mount -t resctrl resctrl /sys/fs/resctrl"
_KERNEL = "use a kernel built with CONFIG_X86_CPU_RESCTRL (Arm: CONFIG_ARM64_MPAM)"
_OTHER_MACHINE = "run on bare metal with Intel RDT, AMD QoS or Arm MPAM that has it"
_FREE_COUNTERS = (
    "as root, take counters from groups that need none (their mbm_L3_assignments), or: "
    "echo default > info/L3_MON/mbm_assign_mode"
)


@row(_AREA, "resctrl", _KERNEL)
def resctrl(host: Host) -> Finding:
    """Return whether the file system is there, may be written, and has a group left."""
    known = "resctrl" in host.files.read("/proc/filesystems").split()
    mounted = host.resctrl
    if mounted is None:
        evidence = f"/proc/filesystems: {'' if known else 'no '}resctrl; /proc/mounts: none"
    else:
        # The root group has one of the CLOSIDs.
        most = mounted.info.num_closids - 1
        evidence = f"{mounted.point}: {mounted.taken} of {most} groups taken"
    found = availability(host.files.root)
    if isinstance(found, Missing):
        state: State = "restricted" if known or mounted else "unavailable"
        why, enable = host.files.as_named(found.why), host.files.as_named(found.enable)
        return Finding(state, why, evidence, enable)
    if dropped := found.info().dropped:
        what = ", ".join(one.what for one in dropped)
        why = f"groups can be made, but {what} is left out: {host.files.as_named(dropped[0].why)}"
        return Finding("restricted", why, evidence, f"mount it anew ({_MOUNT})")
    return Finding("available", "groups for servers and trainer can be made", evidence)


def _part(name: str, flags: tuple[str, ...], does: str) -> Row:
    """Make the row of something that resctrl may offer."""

    @row(_AREA, name, _OTHER_MACHINE)
    def find(host: Host) -> Finding:
        shown = [flag for flag in flags if flag in host.flags]
        mounted = host.resctrl
        if mounted is None:
            return _unmounted(flags, shown, does)
        if offer := _OFFERS[name](mounted.info):
            return _offered(mounted, name, does, f"{mounted.point}/info: {offer}")
        if not shown:
            # Arm shows no flags, and later features of x86 have none.
            evidence = f"{mounted.point}/info: none; /proc/cpuinfo: no {', '.join(flags)}"
            return Finding("unavailable", "not offered", evidence, _OTHER_MACHINE)
        evidence = f"/proc/cpuinfo: {' '.join(shown)}"
        if name == "cdp":
            return Finding(
                "restricted",
                "the processor has it, but resctrl is mounted without it",
                evidence,
                "mount -t resctrl resctrl -o cdp /sys/fs/resctrl, as root, once unmounted",
            )
        return Finding(
            "restricted",
            "the processor has it, but resctrl does not offer it",
            f"{evidence}; {mounted.point}/info: none",
            "see the kernel's boot option rdt=",
        )

    return find


def _unmounted(flags: tuple[str, ...], shown: list[str], does: str) -> Finding:
    if not shown:
        evidence = f"/proc/cpuinfo: no {', '.join(flags)}"
        return Finding("unavailable", "not offered", evidence, _OTHER_MACHINE)
    return Finding(
        "restricted",
        f"{does}, once resctrl is mounted",
        f"/proc/cpuinfo: {' '.join(shown)}",
        _MOUNT,
    )


def _offered(mounted: Resctrl, name: str, does: str, evidence: str) -> Finding:
    if name == "mbm" and mounted.info.monitoring and not mounted.info.monitoring.countable(2):
        does = f"{does}, but too few counters are free for two groups more"
        return Finding("restricted", does, evidence, _FREE_COUNTERS)
    if mounted.unwritable is None or name in _MONITORS:
        return Finding("available", does, evidence)
    return Finding(
        "restricted",
        f"{does}, but it is {mounted.unwritable}",
        evidence,
        way_to_permission(mounted.point, "read-only" in mounted.unwritable),
    )


def _cache(info: Info, level: str) -> str:
    return ", ".join(f"{cache.name} {cache.ways} ways" for cache in info.cache(level))


def _features(info: Info, *names: str) -> str:
    if info.monitoring is None:
        return ""
    shown = ", ".join(name for name in names if name in info.monitoring.features)
    free = info.monitoring.free_counters
    if shown and info.monitoring.assigned and "mbm_total_bytes" in names:
        shown += f" (counters are assigned to groups; free: {min(free.values(), default=0)})"
    return shown


_OFFERS = {
    "cat l3": lambda info: _cache(info, "L3"),
    "cat l2": lambda info: _cache(info, "L2"),
    "cdp": lambda info: ", ".join(c.name for c in info.caches if c.name != c.level),
    "mba": lambda info: (
        f"{info.bandwidth.name} in steps of {info.bandwidth.bandwidth_gran}"
        if info.bandwidth
        else ""
    ),
    "cache monitor": lambda info: _features(info, "llc_occupancy"),
    "mbm": lambda info: _features(info, "mbm_total_bytes", "mbm_local_bytes"),
}
_MONITORS = {"cache monitor", "mbm"}

ROWS = (
    resctrl,
    _part("cat l3", ("cat_l3",), "the L3 cache can be divided by ways"),
    _part("cat l2", ("cat_l2",), "the L2 cache can be divided by ways"),
    _part("cdp", ("cdp_l3", "cdp_l2"), "code and data can be divided apart"),
    _part("mba", ("mba",), "memory bandwidth can be limited"),
    _part("cache monitor", ("cqm_occup_llc",), "the L3 bytes of each group are counted"),
    _part("mbm", ("cqm_mbm_total", "cqm_mbm_local"), "the memory traffic of each group is counted"),
)
