"""Rows on processors: which there are, what they share, and whether their clocks stand still."""

from collections import Counter

from lorabench.host.checks.check import Finding, Host, row
from lorabench.host.files import UnreadableError
from lorabench.host.formats import cpu_field, format_cpu_list
from lorabench.host.topology import SYSFS

_AREA = "processor"
_CPU = "/sys/devices/system/cpu"

# What the hot path and torch make use of, the widest first.
_VECTORS = ("avx512f", "avx512_bf16", "amx_tile", "avx2", "fma", "sve", "asimd")


@row(_AREA, "cpu", "have /proc mounted")
def cpu(host: Host) -> Finding:
    """Return which model it is and which vector instructions it has."""
    text = host.cpuinfo
    model = host.cpu or cpu_field(text, "model name", "Model", "cpu model", "CPU part")
    vectors = [flag for flag in _VECTORS if flag in host.flags | host.cpu_flags]
    evidence = "py-cpuinfo" if host.cpu else "/proc/cpuinfo"
    wide = {"avx512f", "avx2", "sve", "asimd"} & set(vectors)
    model = " ".join(model.split()) or "unknown"
    if not wide:
        return Finding(
            "restricted",
            f"{model}: no vector instructions that the kernels have a build for",
            f"{evidence}: no avx2, avx512f",
            "run on a processor with AVX2 or AVX-512",
        )
    return Finding("available", f"{model}: {' '.join(vectors)}", evidence)


@row(_AREA, "topology", "have /sys mounted, with the folders cpu0, cpu1, …")
def topology(host: Host) -> Finding:
    """Return whether what the machine says of itself goes together."""
    dropped = host.machine().dropped
    if not dropped:
        detail = "processors, caches and nodes go together"
        return Finding("available", detail, "/sys/devices/system: cpu, node")
    shown = ", ".join(dict.fromkeys(one.what for one in dropped))
    if any(one.what == SYSFS for one in dropped):
        enable = "have /sys mounted (a container or sandbox hides it)"
    else:
        enable = "update the firmware, or the hypervisor's or sandbox's description of the machine"
    return Finding(
        "restricted", f"left out: {shown}", f"{dropped[0].why.partition(': ')[0]}", enable
    )


@row(_AREA, "cores", "have /sys mounted, with the folders cpu0, cpu1, …")
def cores(host: Host) -> Finding:
    """Return how many physical cores this process may use."""
    machine = host.machine()
    usable = [core for core in machine.cores if core & machine.allowed]
    offline = f", {len(machine.cores)} online" if len(usable) < len(machine.cores) else ""
    detail = f"{len(usable)} physical core{_s(len(usable))} usable{offline}"
    source = f"{_CPU}/online" if host.files.is_folder(f"{_CPU}") else "/proc/cpuinfo"
    evidence = f"{source}: {format_cpu_list(machine.online)}"
    if machine.allowed != machine.online:
        evidence += f"; allowed: {format_cpu_list(machine.allowed)}"
    if len(usable) < 2:
        return Finding(
            "unavailable",
            f"{detail}: one to serve and one to train are needed",
            evidence,
            "give this process CPUs of two physical cores (taskset, cpuset, a larger machine)",
        )
    if machine.allowed != machine.online:
        return Finding(
            "restricted", detail, evidence, "start it without taskset, in a cpuset of all CPUs"
        )
    return Finding("available", detail, evidence)


@row(_AREA, "smt", "have /sys mounted, with the folders cpu0, cpu1, …")
def smt(host: Host) -> Finding:
    """Return whether a core is shared by hardware threads."""
    machine = host.machine()
    control = host.files.get(f"{_CPU}/smt/control")
    evidence = f"{_CPU}/smt/control: {control}" if control else f"{_CPU}/cpu*/topology"
    threads = max(len(siblings) for siblings in machine.siblings)
    if threads > 1:
        return Finding(
            "restricted",
            f"{threads} hardware threads share a core; the plan uses one of them",
            evidence,
            f"echo off > {_CPU}/smt/control as root, so that no other process runs on the siblings",
        )
    # A hypervisor can hide that its virtual CPUs are siblings.
    return Finding("available", "each CPU is a core of its own", evidence)


@row(_AREA, "core types", "have /sys mounted, with the folders cpu0, cpu1, …")
def core_types(host: Host) -> Finding:
    """Return whether all cores are alike."""
    kinds = host.machine().core_types
    if kinds:
        shown = ", ".join(f"{kind.name} on CPUs {format_cpu_list(kind.cpus)}" for kind in kinds)
        return Finding(
            "restricted",
            f"cores differ: {shown}",
            "/sys/devices/cpu_core, cpu_atom; cpu*/cpu_capacity",
            "keep to one type (--serving-cpus, --trainer-cpus) where runs are to be compared",
        )
    return Finding("available", "all cores are alike", "/sys/devices/cpu_core, cpu_atom: none")


@row(_AREA, "l3 domains", "have /sys mounted, with the folders cpu0, cpu1, …")
def l3_domains(host: Host) -> Finding:
    """Return whether the trainer can have a last-level cache to itself."""
    machine = host.machine()
    levels = [
        path
        for index in range(8)
        if host.files.get(path := f"{_CPU}/cpu{min(machine.online)}/cache/index{index}/level")
        == "3"
    ]
    if not levels:
        return Finding(
            "unavailable",
            "no L3 cache is named: all CPUs count as sharing one",
            f"{_CPU}/cpu*/cache: no index of level 3",
            "have the hypervisor pass the cache topology on (QEMU: -cpu host,l3-cache=on)",
        )
    usable = [domain for domain in machine.l3 if domain & machine.allowed]
    if any(one.what == "L3 caches" for one in machine.dropped):
        return Finding(
            "restricted",
            "left out, as they contradict each other: all CPUs count as sharing one",
            f"{_CPU}/cpu*/cache: see topology",
            "update the firmware, or keep servers and trainer on two sockets by hand "
            "(--serving-cpus, --trainer-cpus)",
        )
    evidence = f"{_CPU}/cpu*/cache: {len(usable)} domain{_s(len(usable))}"
    if len(usable) < 2:
        return Finding(
            "restricted",
            "one L3 cache for all: the trainer shares it with the servers",
            evidence,
            "divide it with CAT, or run on several sockets or CCDs",
        )
    return Finding(
        "available", f"{len(usable)} L3 domains: the trainer can have one to itself", evidence
    )


@row(_AREA, "governor", "a hypervisor hides it; on bare metal load a cpufreq driver")
def governor(host: Host) -> Finding:
    """Return whether the cores keep their clock when they have little to do."""
    numbers = sorted(host.topology.online if host.topology else ()) or [0]
    found = Counter(
        name
        for number in numbers
        if (name := host.files.get(f"{_CPU}/cpu{number}/cpufreq/scaling_governor"))
    )
    if not found:
        path = f"{_CPU}/cpu{numbers[0]}/cpufreq/scaling_governor"
        host.files.read(path)
        raise UnreadableError(path, "it is empty")
    shown = ", ".join(
        name if len(found) == 1 else f"{name} ({count})" for name, count in found.most_common()
    )
    evidence = f"{_CPU}/cpu*/cpufreq/scaling_governor: {shown}"
    if set(found) == {"performance"}:
        return Finding("available", "the clock does not follow the load", evidence)
    return Finding(
        "restricted",
        f"{shown}: a core that waits is slow when the next query comes",
        evidence,
        "cpupower frequency-set -g performance, as root",
    )


@row(_AREA, "steady clock", "a hypervisor hides it; on bare metal load a cpufreq driver")
def turbo(host: Host) -> Finding:
    """Return whether turbo makes the clock depend on the neighbours."""
    path, text = host.files.first(
        f"{_CPU}/intel_pstate/no_turbo", f"{_CPU}/cpufreq/boost", f"{_CPU}/cpu0/cpufreq/boost"
    )
    off = text == ("1" if path.endswith("no_turbo") else "0")
    if text not in ("0", "1"):
        raise UnreadableError(path, f"found {text:.40}, expected 0 or 1")
    if off:
        return Finding("available", "turbo is off", f"{path}: {text}")
    return Finding(
        "restricted",
        "turbo is on: a core's clock depends on what the others do",
        f"{path}: {text}",
        f"echo {'1' if path.endswith('no_turbo') else '0'} > {path}, as root",
    )


ROWS = (cpu, topology, cores, smt, core_types, l3_domains, governor, turbo)


def _s(count: int) -> str:
    return "" if count == 1 else "s"
