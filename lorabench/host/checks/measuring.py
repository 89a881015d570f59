"""Rows on measuring: counters and clocks that results rest on."""

import re

from lorabench.host.checks.check import Finding, Host, row
from lorabench.host.files import UnreadableError

_AREA = "measuring"
_CLOCK = "/sys/devices/system/clocksource/clocksource0"
# Read in user mode, through the vDSO; the others take a system call or a trip over a bus.
_FAST_CLOCKS = {"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"}


@row(_AREA, "perf counters", "use a kernel built with CONFIG_PERF_EVENTS")
def perf_counters(host: Host) -> Finding:
    """Return whether the processor's counters may be read."""
    path = "/proc/sys/kernel/perf_event_paranoid"
    level = host.files.number(path)
    evidence = f"{path}: {level}"
    lower = "sysctl kernel.perf_event_paranoid=2 as root, or give CAP_PERFMON"
    if host.probes is None:
        if level > 2:
            return Finding("restricted", "for privileged processes only", evidence, lower)
        return Finding("available", "allowed to every user, in user mode", evidence)
    hardware, software = host.probes.perf, host.probes.perf_software
    if hardware.worked:
        return Finding("available", f"perf_event_open: cycles {hardware.said}", evidence)
    if software.worked:
        return Finding(
            "restricted",
            "the kernel's counters alone, none of the processor's",
            f"perf_event_open: {hardware.said}; {evidence}",
            "have the hypervisor pass the PMU on (QEMU: -cpu host,pmu=on), or use bare metal",
        )
    return Finding(
        "unavailable",
        f"refused: {software.said}",
        f"perf_event_open: {software.said}; {evidence}",
        lower if level > 2 else "allow perf_event_open in the container's seccomp profile",
    )


@row(_AREA, "psi", "use a kernel with CONFIG_PSI; where it is off by default, boot with psi=1")
def psi(host: Host) -> Finding:
    """Return whether the kernel tells how long work waited for a CPU."""
    path = "/proc/pressure/cpu"
    text = host.files.read(path)
    found = re.search(r"^some .*\btotal=[0-9]+", text, re.MULTILINE)
    if found is None:
        raise UnreadableError(path, f"found {text:.40}, expected a line some … total=N")
    average = re.search(r"avg60=([0-9.]+)", text)
    shown = f", {average[1]} % of the last minute" if average else ""
    return Finding("available", f"time that work waits for a CPU{shown}", path)


@row(_AREA, "schedstat", "use a kernel built with CONFIG_SCHED_INFO (any with CONFIG_SCHEDSTATS)")
def schedstat(host: Host) -> Finding:
    """Return whether the run-queue delay of a process can be read."""
    path = "/proc/self/schedstat"
    text = host.files.read(path)
    if not re.fullmatch("[0-9]+ [0-9]+ [0-9]+", text):
        raise UnreadableError(path, f"found {text:.40}, expected three numbers")
    return Finding("available", "run-queue delay of each thread", path)


@row(_AREA, "clock source", "have /sys mounted")
def clock_source(host: Host) -> Finding:
    """Return what time is read from."""
    path = f"{_CLOCK}/current_clocksource"
    name = host.files.read(path)
    others = (host.files.get(f"{_CLOCK}/available_clocksource") or "").split()
    evidence = f"{path}: {name or 'empty'}"
    if name in _FAST_CLOCKS:
        return Finding("available", f"{name}: read without a system call", evidence)
    better = "tsc" if "tsc" in others else ""
    return Finding(
        "restricted",
        f"{name or 'none'}: reading it takes a microsecond or more",
        evidence,
        f"echo {better} > {path}, as root" if better else "boot with tsc=reliable, if it is",
    )


@row(_AREA, "timers", "run it on the machine itself: only an attempt shows it")
def timers(host: Host) -> Finding:
    """Return how exactly a sleeping server can be woken."""
    if host.probes is None:
        raise UnreadableError("clock_getres", "a recorded tree cannot show it")
    resolution = host.probes.clock_resolution_s
    evidence = f"clock_getres(CLOCK_MONOTONIC): {resolution * 1e9:.3g} ns"
    if resolution <= 1e-6:
        return Finding("available", "high-resolution: servers wake at their deadline", evidence)
    return Finding(
        "restricted",
        f"servers wake up to {resolution * 1e3:.3g} ms late",
        evidence,
        "use a kernel with CONFIG_HIGH_RES_TIMERS; do not boot with highres=off",
    )


ROWS = (perf_counters, psi, schedstat, clock_source, timers)
