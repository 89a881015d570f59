"""Rows on what stands between the bench and the machine: hypervisor, container, their limits."""

import re

from lorabench.host.cgroups import memory_limit
from lorabench.host.checks.check import Finding, Host, row
from lorabench.host.files import UnreadableError
from lorabench.host.formats import format_bytes
from lorabench.host.quota import cpu_quota, hides_groups, read_throttled

_AREA = "host"
_DMI = "/sys/class/dmi/id"
# How hypervisors name themselves to a guest, in DMI's vendor and product.
_VENDORS = {
    "qemu": "QEMU",
    "kvm": "KVM",
    "vmware": "VMware",
    "virtualbox": "VirtualBox",
    "innotek": "VirtualBox",
    "virtual machine": "Hyper-V",
    "xen": "Xen",
    "amazon ec2": "Amazon EC2",
    "google compute": "Google Compute Engine",
    "firecracker": "Firecracker",
    "bochs": "Bochs",
    "parallels": "Parallels",
}
# Below this share of time the hypervisor's other guests are not what shows in a p99.
_QUIET_STEAL = 0.001


@row(_AREA, "bare metal", "have /proc mounted")
def bare_metal(host: Host) -> Finding:
    """Return whether a hypervisor is in between, and which."""
    kind = host.files.get("/sys/hypervisor/type")
    dmi = " ".join(
        host.files.get(f"{_DMI}/{name}") or "" for name in ("sys_vendor", "product_name")
    )
    named = next((name for mark, name in _VENDORS.items() if mark in dmi.lower()), "")
    clocks = host.files.get("/sys/devices/system/clocksource/clocksource0/available_clocksource")
    name = "a hypervisor"
    if kind:
        name, evidence = kind.capitalize(), f"/sys/hypervisor/type: {kind}"
    elif "hypervisor" in host.flags:
        evidence = "/proc/cpuinfo: hypervisor"
        if named:
            name, evidence = named, f"{evidence}; {_DMI}: {dmi.strip()}"
        elif "kvm-clock" in (clocks or ""):
            name, evidence = "KVM", f"{evidence}; clocksource: kvm-clock"
        elif "hyperv" in (clocks or ""):
            name, evidence = "Hyper-V", f"{evidence}; clocksource: hyperv"
    elif named and "amazon ec2" not in dmi.lower():
        # Amazon's bare-metal machines bear its name too; a processor would show its flag.
        name, evidence = named, f"{_DMI}: {dmi.strip()}"
    else:
        if not host.cpuinfo:
            raise UnreadableError("/proc/cpuinfo", "it is empty")
        return Finding("available", "no hypervisor shows", "/proc/cpuinfo: no hypervisor")
    return Finding(
        "restricted",
        f"a guest of {name}: caches, cores and clocks may be shared with others unseen",
        evidence,
        "run on bare metal, or on dedicated cores, before you trust small differences",
    )


@row(_AREA, "no steal", "have /proc mounted")
def steal(host: Host) -> Finding:
    """Return how much time the hypervisor has given to others since boot."""
    fraction = steal_fraction(host)
    evidence = f"/proc/stat: steal {100 * fraction:.2g} % since boot"
    if fraction <= _QUIET_STEAL:
        return Finding("available", "the hypervisor took no time worth naming", evidence)
    return Finding(
        "restricted",
        f"the hypervisor took {100 * fraction:.2g} % of the time since boot",
        evidence,
        "use an instance with dedicated cores; every result records the steal of its rounds",
    )


def steal_fraction(host: Host) -> float:
    """Read the share of all time since boot that was stolen.

    Raises
    ------
    UnreadableError
        ``/proc/stat`` does not say.
    """
    path = "/proc/stat"
    found = re.search(r"^cpu +([0-9 ]+)$", host.files.read(path), re.MULTILINE)
    ticks = [int(field) for field in found[1].split()[:8]] if found else []
    if len(ticks) < 8:
        raise UnreadableError(path, "found no line cpu with eight times")
    if not sum(ticks):
        raise UnreadableError(path, "all CPU times are 0: this kernel gives none, as gVisor")
    return ticks[7] / sum(ticks)


@row(_AREA, "cpu quota", "have /proc and the cgroup file systems mounted")
def quota(host: Host) -> Finding:
    """Return whether a control group stops this process when it has used up a share."""
    host.files.read("/proc/mounts")
    found = cpu_quota(host.files)
    unseen = "; groups above this container's own cannot be seen" * hides_groups(host.files)
    if found is None:
        evidence = f"cpu.max, cpu.cfs_quota_us: none set{unseen}"
        return Finding("available", "no limit", evidence)
    so_far = ""
    throttled = read_throttled(host.files, found.group)
    if throttled is not None and throttled.stopped:
        so_far = (
            f"; stopped in {throttled.stopped:,} of {throttled.periods:,} periods since it was "
            f"made, {throttled.stopped_s:.1f} s in all"
        )
    return Finding(
        "restricted",
        f"{found.cpus:.4g} CPUs: servers are stopped for the rest of a period once that is used up",
        f"{found.path}: {found.cpus:.4g} CPUs{so_far}{unseen}",
        "start the container without --cpus (Kubernetes: no CPU limit); give it a cpuset instead",
    )


@row(_AREA, "memory limit", "have /proc and the cgroup file systems mounted")
def limit(host: Host) -> Finding:
    """Return whether a control group bounds the tables."""
    host.files.read("/proc/mounts")
    found = memory_limit(host.files)
    if found is None:
        return Finding("available", "no limit", "memory.max, memory.limit_in_bytes: none set")
    size, path = found
    return Finding(
        "restricted",
        f"{format_bytes(size)} for tables, adapter and rings together",
        f"{path}: {size}",
        "start the container with more memory where the tables need it",
    )


ROWS = (bare_metal, steal, quota, limit)
