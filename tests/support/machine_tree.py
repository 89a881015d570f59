"""A machine's proc and sys as a test wants them: one that has everything, and changes to it."""

from collections.abc import Mapping
from pathlib import Path

from lorabench.errors import InputError
from lorabench.host.checks import Host
from lorabench.host.checks.probes import ProbeResult, Probes
from lorabench.host.files import Files
from lorabench.host.missing import Missing
from lorabench.host.topology import read_topology
from lorabench.isolation.checks import groups as groups_of

CPU = "sys/devices/system/cpu"
NODE = "sys/devices/system/node"
RESCTRL = "sys/fs/resctrl"
GROUP = "sys/fs/cgroup/user.slice"
HUGE = "sys/kernel/mm/hugepages/hugepages-2048kB"
THP = "sys/kernel/mm/transparent_hugepage"
CLOCK = "sys/devices/system/clocksource/clocksource0"

_FLAGS = "fpu avx2 fma avx512f cat_l3 cat_l2 cdp_l3 mba cqm_occup_llc cqm_mbm_total cqm_mbm_local"
_MOUNTS = (
    "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\nresctrl /sys/fs/resctrl resctrl rw,cdp 0 0\n"
)


def cpuinfo(flags: str = _FLAGS) -> str:
    """Text of /proc/cpuinfo."""
    one = f"vendor_id\t: GenuineIntel\nmodel name\t: Xeon  (test)\nflags\t\t: {flags}\n"
    return "\n".join(f"processor\t: {cpu}\n{one}" for cpu in range(4))


def complete() -> dict[str, str]:
    """Files of a two-socket machine, two cores a socket, that offers all there is."""
    files = {
        "proc/cpuinfo": cpuinfo(),
        "proc/filesystems": "nodev\tsysfs\nnodev\tresctrl\n\text4\n",
        "proc/mounts": _MOUNTS,
        "proc/self/cgroup": "0::/user.slice\n",
        "proc/self/schedstat": "1 2 3\n",
        "proc/self/status": "CapEff:\t0000000000000000\n",
        "proc/sys/kernel/osrelease": "6.8.0-test\n",
        "proc/sys/kernel/perf_event_paranoid": "2\n",
        "proc/pressure/cpu": "some avg10=0.00 avg60=1.50 avg300=0.00 total=12\n",
        "proc/stat": "cpu  100 0 100 9800 0 0 0 0 0 0\ncpu0 25 0 25 2450 0 0 0 0 0 0\n",
        f"{CPU}/online": "0-3\n",
        f"{CPU}/smt/control": "off\n",
        f"{CPU}/isolated": "2-3\n",
        f"{CPU}/nohz_full": "2-3\n",
        f"{CPU}/intel_pstate/no_turbo": "1\n",
        f"{THP}/enabled": "always [madvise] never\n",
        f"{THP}/shmem_enabled": "always within_size [advise] never deny force\n",
        f"{HUGE}/free_hugepages": "8\n",
        f"{HUGE}/nr_overcommit_hugepages": "0\n",
        f"{CLOCK}/current_clocksource": "tsc\n",
        f"{CLOCK}/available_clocksource": "tsc hpet acpi_pm\n",
        f"{GROUP}/cgroup.controllers": "cpuset cpu memory\n",
        f"{GROUP}/cgroup.subtree_control": "\n",
        f"{GROUP}/cpu.max": "max 100000\n",
        f"{GROUP}/memory.max": "max\n",
        f"{RESCTRL}/schemata": (
            "L2:0=ff;1=ff\nL3CODE:0=fff;1=fff\nL3DATA:0=fff;1=fff\nMB:0=100;1=100\n"
        ),
        f"{RESCTRL}/info/MB/num_closids": "8\n",
        f"{RESCTRL}/info/MB/bandwidth_gran": "10\n",
        f"{RESCTRL}/info/MB/min_bandwidth": "10\n",
        f"{RESCTRL}/info/MB/delay_linear": "1\n",
        f"{RESCTRL}/info/L3_MON/num_rmids": "64\n",
        f"{RESCTRL}/info/L3_MON/mon_features": "llc_occupancy\nmbm_total_bytes\nmbm_local_bytes\n",
    }
    for name, mask in (("L2", "ff"), ("L3CODE", "fff"), ("L3DATA", "fff")):
        files[f"{RESCTRL}/info/{name}/num_closids"] = "4\n"
        files[f"{RESCTRL}/info/{name}/cbm_mask"] = f"{mask}\n"
        files[f"{RESCTRL}/info/{name}/min_cbm_bits"] = "1\n"
    for cpu in range(4):
        socket = f"{cpu // 2 * 2}-{cpu // 2 * 2 + 1}\n"
        base = f"{CPU}/cpu{cpu}"
        files[f"{base}/topology/core_cpus_list"] = f"{cpu}\n"
        files[f"{base}/topology/package_cpus_list"] = socket
        files[f"{base}/topology/physical_package_id"] = f"{cpu // 2}\n"
        files[f"{base}/topology/core_id"] = f"{cpu % 2}\n"
        files[f"{base}/cache/index3/level"] = "3\n"
        files[f"{base}/cache/index3/type"] = "Unified\n"
        files[f"{base}/cache/index3/id"] = f"{cpu // 2}\n"
        files[f"{base}/cache/index3/shared_cpu_list"] = socket
        files[f"{base}/cpufreq/scaling_governor"] = "performance\n"
    for node in range(2):
        base = f"{NODE}/node{node}"
        files[f"{base}/cpulist"] = f"{2 * node}-{2 * node + 1}\n"
        files[f"{base}/meminfo"] = f"Node {node} MemTotal: 8388608 kB\n"
        files[f"{base}/distance"] = "10 21\n" if node == 0 else "21 10\n"
    return files


WORKED = Probes(
    hugetlb=ProbeResult(True, "a reserved huge page was mapped"),
    collapse=ProbeResult(True, "a filled memfd moved onto a huge page"),
    tables=ProbeResult(True, "hugetlb"),
    perf=ProbeResult(True, "counted 12,345"),
    perf_software=ProbeResult(True, "counted 12,345"),
    nice=ProbeResult(True, "CapEff 000001ffffffffff"),
    nice_limit=20,
    clock_resolution_s=1e-9,
)


def write(root: Path, files: dict[str, str | None]) -> Path:
    """Write the machine that has everything, with other files; None leaves one out."""
    for path, text in (complete() | files).items():
        if text is not None:
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
    return root


def host(
    root: Path,
    probes: Probes | None = WORKED,
    cpu: str = "",
    *,
    tried: Mapping[str, Missing] | None = None,
    groups: Mapping[str, str | Missing] | None = None,
) -> Host:
    """Take in a tree as if it were this machine: with attempts, which went as given.

    Without `probes` it is a recorded one, on which nothing is tried.
    """
    topology, why = None, ""
    try:
        topology = read_topology(root)
    except InputError as error:
        why = str(error)
    return Host(
        Files(root),
        topology,
        why,
        probes,
        None if probes is None else tried or {},
        groups_of(Files(root)) if groups is None else groups,
        cpu,
    )
