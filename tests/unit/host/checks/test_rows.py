"""Every row of the capability table in every state that it can take, and on broken trees."""

import os
import re
import shutil
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import machine_tree
import pytest
from machine_tree import CLOCK, CPU, GROUP, HUGE, NODE, RESCTRL, THP, WORKED, cpuinfo

from lorabench.host.checks import Capability, run_checks
from lorabench.host.checks.probes import ProbeResult, Probes
from lorabench.host.missing import Missing

NO_MBIND = Missing("placement of memory", "mbind is forbidden", "allow mbind")
REFUSED = ProbeResult(False, "operation not permitted")
NO_GROUPS = Missing("cgroup", "/sys/fs/cgroup/user.slice is not writable", "start it as root")
NO_OFFER = {"groups": {"cpuset": NO_GROUPS, "cpu": NO_GROUPS}}
RECORDED = None  # in place of attempts
GOVERNORS = [f"{CPU}/cpu{cpu}/cpufreq/scaling_governor" for cpu in range(4)]
INDEXES = [f"{CPU}/cpu{cpu}/cache/index3/level" for cpu in range(4)]
BARE = "fpu avx2"
# What docker gives a container.
READ_ONLY = {
    "proc/mounts": (
        "cgroup /sys/fs/cgroup cgroup2 ro,nosuid,nodev,noexec,relatime 0 0\n"
        "resctrl /sys/fs/resctrl resctrl ro,relatime,cdp 0 0\n"
    )
}
NO_MOUNT = {"proc/mounts": "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"}
V1 = {
    "proc/mounts": (
        "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n"
        "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
    ),
    "proc/self/cgroup": "3:cpu,cpuacct:/job\n2:memory:/job\n",
}


def table(
    root: Path, probes: Probes | None = WORKED, cpu: str = "", **found
) -> dict[str, Capability]:
    host = machine_tree.host(root, probes, cpu, **found)
    return {row.name: row for row in run_checks(host)}


SIBLINGS = {
    f"{CPU}/cpu{n}/topology/{name}": text
    for n in range(4)
    for name, text in (("core_cpus_list", f"{n // 2 * 2}-{n // 2 * 2 + 1}\n"), ("core_id", "0\n"))
}

NO_SYSFS = {path: None for path in machine_tree.complete() if path.startswith(CPU)}

# Row, what is changed of the machine that has everything (files, trials), state, what it says.
CASES = [
    ("cpu", {}, {}, "available", "Xeon (test): avx512f avx2 fma"),
    ("cpu", {"proc/cpuinfo": cpuinfo("fpu sse2")}, {}, "restricted", "no vector instructions"),
    ("cpu", {"proc/cpuinfo": None}, {}, "unavailable", "unknown: no such file"),
    ("topology", {}, {}, "available", "go together"),
    ("topology", {f"{NODE}/node1/cpulist": "1-3\n"}, {}, "restricted", "left out: node 1"),
    ("topology", NO_SYSFS, {}, "restricted", "left out: sysfs"),
    ("topology", NO_SYSFS | {"proc/cpuinfo": None}, {}, "unavailable", "found no CPU"),
    ("cores", {}, {}, "available", "4 physical cores usable"),
    ("cores", NO_SYSFS, {}, "available", "4 physical cores usable"),
    ("cores", {f"{CPU}/online": "0\n"}, {}, "unavailable", "one to serve and one to train"),
    ("smt", {}, {}, "available", "a core of its own"),
    (
        "smt",
        SIBLINGS,
        {},
        "restricted",
        "2 hardware threads",
    ),
    ("core types", {}, {}, "available", "alike"),
    (
        "core types",
        {"sys/devices/cpu_core/cpus": "0-1\n", "sys/devices/cpu_atom/cpus": "2-3\n"},
        {},
        "restricted",
        "0-1",
    ),
    (
        "core types",
        {f"{CPU}/cpu{n}/cpu_capacity": f"{1024 if n < 2 else 512}\n" for n in range(4)},
        {},
        "restricted",
        "efficiency on CPUs 2-3",
    ),
    ("l3 domains", {}, {}, "available", "2 L3 domains"),
    (
        "l3 domains",
        {f"{CPU}/cpu{n}/cache/index3/shared_cpu_list": "0-3\n" for n in range(4)}
        | {f"{CPU}/cpu{n}/cache/index3/id": "0\n" for n in range(4)},
        {},
        "restricted",
        "one L3 cache for all",
    ),
    (
        "l3 domains",
        {f"{CPU}/cpu3/cache/index3/shared_cpu_list": "1-3\n"},
        {},
        "restricted",
        "left out, as they contradict each other",
    ),
    ("l3 domains", dict.fromkeys(INDEXES, "2\n"), {}, "unavailable", "no L3 cache is named"),
    ("governor", {}, {}, "available", "does not follow the load"),
    (
        "governor",
        dict.fromkeys(GOVERNORS[:1], "powersave\n"),
        {},
        "restricted",
        "performance (3), powersave (1)",
    ),
    ("governor", dict.fromkeys(GOVERNORS), {}, "unavailable", "no such file"),
    ("steady clock", {}, {}, "available", "turbo is off"),
    ("steady clock", {f"{CPU}/intel_pstate/no_turbo": "0\n"}, {}, "restricted", "turbo is on"),
    (
        "steady clock",
        {f"{CPU}/intel_pstate/no_turbo": None, f"{CPU}/cpufreq/boost": "0\n"},
        {},
        "available",
        "turbo is off",
    ),
    (
        "steady clock",
        {f"{CPU}/intel_pstate/no_turbo": "yes\n"},
        {},
        "unavailable",
        "expected 0 or 1",
    ),
    ("numa", {}, {}, "available", "2 nodes, memory can be bound"),
    ("numa", {}, {"tried": {"placement": NO_MBIND}}, "restricted", "but mbind is forbidden"),
    (
        "numa",
        {f"{NODE}/node1/{name}": None for name in ("cpulist", "meminfo", "distance")},
        {},
        "unavailable",
        "1 node: there is no nearer memory",
    ),
    ("thp", {}, {}, "available", "where asked for"),
    ("thp", {f"{THP}/enabled": "always madvise [never]\n"}, {}, "restricted", "never given"),
    ("thp", {f"{THP}/enabled": "never\n"}, {}, "unavailable", "expected a choice"),
    ("shmem thp", {}, {}, "available", "on first touch"),
    (
        "shmem thp",
        {f"{THP}/shmem_enabled": "always within_size advise never [deny] force\n"},
        {},
        "restricted",
        "MADV_COLLAPSE gives them afterwards",
    ),
    ("shmem thp", {f"{THP}/shmem_enabled": None}, {}, "unavailable", "no such file"),
    ("hugetlb", {}, {}, "available", "8 pages of 2 MiB free"),
    ("hugetlb", {f"{HUGE}/free_hugepages": "0\n"}, {}, "restricted", "0 pages of 2 MiB free"),
    (
        "hugetlb",
        {f"{HUGE}/free_hugepages": "0\n", f"{HUGE}/nr_overcommit_hugepages": "64\n"},
        {},
        "available",
        "more on demand",
    ),
    ("hugetlb", {}, {"hugetlb": REFUSED}, "restricted", "MFD_HUGETLB is refused"),
    (
        "hugetlb",
        {f"{HUGE}/free_hugepages": "many\n"},
        {},
        "unavailable",
        "found many, expected a number",
    ),
    ("collapse", {}, {}, "available", "onto a huge page"),
    ("collapse", {}, {"collapse": REFUSED}, "restricted", "is refused"),
    (
        "collapse",
        {"proc/sys/kernel/osrelease": "5.15.0\n"},
        {"collapse": ProbeResult(False, "invalid argument")},
        "unavailable",
        "invalid argument",
    ),
    ("table pages", {}, {}, "available", "2 MiB, by MFD_HUGETLB"),
    ("table pages", {}, {"tables": ProbeResult(False, "4k")}, "restricted", "4 KiB"),
    ("resctrl", {}, {}, "available", "groups for servers and trainer can be made"),
    ("resctrl", NO_MOUNT, {}, "restricted", "not mounted"),
    (
        "resctrl",
        {f"{RESCTRL}/{name}/tasks": "" for name in ("a", "b", "c")},
        {},
        "restricted",
        "all 4 CLOSIDs",
    ),
    (
        "resctrl",
        NO_MOUNT | {"proc/filesystems": "nodev\tresctrlish\n"},
        {},
        "unavailable",
        "has no resctrl file system",
    ),
    (
        "resctrl",
        NO_MOUNT | {"proc/filesystems": "\text4\n", "proc/cpuinfo": cpuinfo(BARE)},
        {},
        "unavailable",
        "none of the flags",
    ),
    (
        "resctrl",
        {f"{RESCTRL}/info/MB/num_closids": "eight\n"},
        {},
        "restricted",
        "resctrl's MB is left out: /sys/fs/resctrl/info/MB/num_closids: found 'eight'",
    ),
    ("resctrl", {f"{RESCTRL}/schemata": "L3 f\n"}, {}, "unavailable", "found 'L3 f'"),
    ("cat l3", {f"{RESCTRL}/info/MB/num_closids": "x\n"}, {}, "available", "can be divided"),
    (
        "mbm",
        {
            f"{RESCTRL}/info/L3_MON/mbm_assign_mode": "[mbm_event]\ndefault\n",
            f"{RESCTRL}/info/L3_MON/available_mbm_cntrs": "0=30;1=3\n",
        },
        {},
        "restricted",
        "too few counters are free",
    ),
    ("cat l3", {}, {}, "available", "L3 cache can be divided"),
    ("cat l3", NO_MOUNT, {}, "restricted", "once resctrl is mounted"),
    ("cat l3", NO_MOUNT | {"proc/cpuinfo": cpuinfo(BARE)}, {}, "unavailable", "not offered"),
    ("cat l2", {}, {}, "available", "L2 cache can be divided"),
    (
        "cat l2",
        {f"{RESCTRL}/info/L2/{n}": None for n in ("num_closids", "cbm_mask", "min_cbm_bits")},
        {},
        "restricted",
        "resctrl does not offer it",
    ),
    ("cat l2", NO_MOUNT | {"proc/cpuinfo": cpuinfo(BARE)}, {}, "unavailable", "not offered"),
    ("cdp", {}, {}, "available", "code and data"),
    (
        "cdp",
        {
            f"{RESCTRL}/info/{name}/{file}": None
            for name in ("L3CODE", "L3DATA")
            for file in ("num_closids", "cbm_mask", "min_cbm_bits")
        },
        {},
        "restricted",
        "mounted without it",
    ),
    ("cdp", NO_MOUNT | {"proc/cpuinfo": cpuinfo(BARE)}, {}, "unavailable", "not offered"),
    ("mba", {}, {}, "available", "bandwidth can be limited"),
    ("mba", NO_MOUNT, {}, "restricted", "once resctrl is mounted"),
    ("mba", NO_MOUNT | {"proc/cpuinfo": cpuinfo(BARE)}, {}, "unavailable", "not offered"),
    ("cache monitor", {}, {}, "available", "L3 bytes"),
    ("cache monitor", NO_MOUNT, {}, "restricted", "once resctrl is mounted"),
    ("cache monitor", NO_MOUNT | {"proc/cpuinfo": cpuinfo(BARE)}, {}, "unavailable", "not offered"),
    ("mbm", {}, {}, "available", "memory traffic"),
    ("mbm", NO_MOUNT, {}, "restricted", "once resctrl is mounted"),
    ("mbm", NO_MOUNT | {"proc/cpuinfo": cpuinfo(BARE)}, {}, "unavailable", "not offered"),
    ("cgroup cpuset", {}, {}, "available", "confined to CPUs"),
    ("cgroup cpuset", {}, NO_OFFER, "restricted", "user.slice is not writable"),
    ("cgroup cpuset", V1, NO_OFFER, "unavailable", "user.slice is not writable"),
    ("cgroup cpuset", {}, RECORDED, "available", "confined to CPUs"),
    (
        "cgroup cpuset",
        {f"{GROUP}/cgroup.controllers": "cpu\n"},
        RECORDED,
        "unavailable",
        "is offered cpu, not cpuset",
    ),
    ("cgroup cpuset", READ_ONLY, RECORDED, "restricted", "is mounted read-only"),
    ("cgroup weight", READ_ONLY, RECORDED, "restricted", "is mounted read-only"),
    ("resctrl", READ_ONLY, RECORDED, "restricted", "is mounted read-only"),
    ("cat l3", READ_ONLY, RECORDED, "restricted", "but it is mounted read-only"),
    ("mba", READ_ONLY, RECORDED, "restricted", "but it is mounted read-only"),
    (
        "cgroup weight",
        V1
        | {"proc/mounts": V1["proc/mounts"].replace(" rw,", " ro,")}
        | {"sys/fs/cgroup/cpu,cpuacct/job/tasks": ""},
        RECORDED,
        "restricted",
        "cpuacct/job is mounted read-only",
    ),
    ("cgroup cpuset", V1, RECORDED, "unavailable", "no cgroup file system is mounted"),
    ("cgroup weight", {}, {}, "available", "small share"),
    ("cgroup weight", {}, NO_OFFER, "restricted", "user.slice is not writable"),
    (
        "cgroup weight",
        V1 | {"sys/fs/cgroup/cpu,cpuacct/job/tasks": ""},
        RECORDED,
        "available",
        "small share",
    ),
    (
        "cgroup weight",
        {f"{GROUP}/cgroup.subtree_control": None},
        RECORDED,
        "restricted",
        "is not writable",
    ),
    ("cgroup weight", {"proc/mounts": None}, {}, "unavailable", "no such file"),
    ("sched_idle", {}, {}, "available", "left again"),
    (
        "sched_idle",
        {},
        {"tried": {"idle": Missing("leaving SCHED_IDLE", "the kernel refuses", "raise the limit")}},
        "restricted",
        "the kernel refuses",
    ),
    ("priority", {}, {}, "available", "CAP_SYS_NICE"),
    ("priority", {}, {"nice": REFUSED, "nice_limit": -5}, "available", "nice -5"),
    ("priority", {}, {"nice": REFUSED}, "restricted", "not raised"),
    ("isolated cpus", {}, {}, "available", "CPUs 2-3, without ticks: 2-3"),
    (
        "isolated cpus",
        {f"{CPU}/isolated": "\n", f"{CPU}/nohz_full": "(null)\n"},
        {},
        "unavailable",
        "none",
    ),
    ("perf counters", {}, {}, "available", "counted 12,345"),
    ("perf counters", {}, {"perf": REFUSED}, "restricted", "none of the processor's"),
    ("perf counters", {}, {"perf": REFUSED, "perf_software": REFUSED}, "unavailable", "refused"),
    ("psi", {}, {}, "available", "1.50 % of the last minute"),
    ("psi", {"proc/pressure/cpu": "none\n"}, {}, "unavailable", "expected a line some"),
    ("schedstat", {}, {}, "available", "run-queue delay"),
    ("schedstat", {"proc/self/schedstat": "0 0\n"}, {}, "unavailable", "expected three numbers"),
    ("clock source", {}, {}, "available", "tsc"),
    (
        "clock source",
        {f"{CLOCK}/current_clocksource": "hpet\n"},
        {},
        "restricted",
        "a microsecond or more",
    ),
    ("clock source", {f"{CLOCK}/current_clocksource": None}, {}, "unavailable", "no such file"),
    ("timers", {}, {}, "available", "high-resolution"),
    ("timers", {}, {"clock_resolution_s": 0.004}, "restricted", "4 ms late"),
    ("bare metal", {}, {}, "available", "no hypervisor"),
    ("bare metal", {"proc/cpuinfo": cpuinfo("fpu hypervisor")}, {}, "restricted", "a hypervisor"),
    (
        "bare metal",
        {
            "proc/cpuinfo": cpuinfo("fpu hypervisor"),
            "sys/class/dmi/id/sys_vendor": "QEMU\n",
            "sys/class/dmi/id/product_name": "Standard PC\n",
        },
        {},
        "restricted",
        "a guest of QEMU",
    ),
    (
        "bare metal",
        {
            "proc/cpuinfo": cpuinfo("fpu hypervisor"),
            f"{CLOCK}/available_clocksource": "tsc kvm-clock\n",
        },
        {},
        "restricted",
        "a guest of KVM",
    ),
    ("bare metal", {"sys/hypervisor/type": "xen\n"}, {}, "restricted", "a guest of Xen"),
    ("bare metal", {"proc/cpuinfo": None}, {}, "unavailable", "no such file"),
    ("no steal", {}, {}, "available", "no time worth naming"),
    ("no steal", {"proc/stat": "cpu  100 0 100 700 0 0 0 100 0 0\n"}, {}, "restricted", "10 %"),
    ("no steal", {"proc/stat": "cpu 1 2\n"}, {}, "unavailable", "found no line cpu"),
    ("cpu quota", {}, {}, "available", "no limit"),
    ("cpu quota", {f"{GROUP}/cpu.max": "150000 100000\n"}, {}, "restricted", "1.5 CPUs"),
    (
        "cpu quota",
        {
            "sys/fs/cgroup/cpu.max": "50000 100000\n",
            "sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
        },
        {},
        "restricted",
        "0.5 CPUs",
    ),
    (
        "cpu quota",
        V1
        | {
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "200000\n",
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "50000\n",
        },
        {},
        "restricted",
        "4 CPUs",
    ),
    (
        "cpu quota",
        {f"{GROUP}/cpu.max": "all of it\n"},
        {},
        "unavailable",
        "expected a quota and a period",
    ),
    ("memory limit", {}, {}, "available", "no limit"),
    ("memory limit", {f"{GROUP}/memory.max": f"{3 << 30}\n"}, {}, "restricted", "3 GiB"),
    (
        "memory limit",
        V1 | {"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"},
        {},
        "available",
        "no limit",
    ),
    ("memory limit", {f"{GROUP}/memory.max": "lots\n"}, {}, "unavailable", "found lots"),
]

# What a row cannot be: nothing to be missing (or in the way) that would not be its whole subject.
NEVER = {
    "smt": {"unavailable"},
    "core types": {"unavailable"},
    "cores": {"restricted"},  # by this process's affinity: below
    "table pages": {"unavailable"},  # of a recorded tree: below
    "sched_idle": {"unavailable"},
    "priority": {"unavailable"},
    "timers": {"unavailable"},
    "isolated cpus": {"restricted"},
    "psi": {"restricted"},
    "schedstat": {"restricted"},
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}: {case[4]}")
def test_a_row_says_what_the_machine_says(tmp_path: Path, case: tuple) -> None:
    name, files, attempts, state, says = case
    machine_tree.write(tmp_path, files)
    if attempts is RECORDED:
        row = table(tmp_path, None)[name]
    else:
        found = {key: attempts[key] for key in ("tried", "groups") if key in attempts}
        probes = replace(WORKED, **{k: v for k, v in attempts.items() if k not in found})
        row = table(tmp_path, probes, **found)[name]
    assert row.state == state
    assert says in row.detail
    assert row.evidence
    assert bool(row.enable) == (state != "available")
    assert str(tmp_path) not in f"{row.evidence} {row.detail} {row.enable}"


def test_every_row_is_tried_in_every_state_that_it_can_take() -> None:
    reached = defaultdict(set)
    for name, _, _, state, _ in CASES:
        reached[name].add(state)
    everything = {"available", "restricted", "unavailable"}
    rows = {row.name for row in run_checks(machine_tree.host(Path("/nowhere")))}
    assert {name: everything - reached[name] for name in rows} == {
        name: NEVER.get(name, set()) for name in rows
    }


def test_the_machine_that_has_everything_lacks_nothing(tmp_path: Path) -> None:
    machine_tree.write(tmp_path, {})
    assert {row.state for row in table(tmp_path).values()} == {"available"}


def test_cpus_that_this_process_may_not_use_restrict_its_cores(tmp_path: Path) -> None:
    host = machine_tree.host(machine_tree.write(tmp_path, {}))
    assert host.topology is not None
    for allowed, state in ((frozenset({0, 1, 2}), "restricted"), (frozenset({3}), "unavailable")):
        less = replace(host, topology=replace(host.topology, allowed=allowed))
        row = next(row for row in run_checks(less) if row.name == "cores")
        assert row.state == state
        assert "4 online" in row.detail
        assert "allowed: " in row.evidence


def test_py_cpuinfo_names_the_processor_where_it_was_asked(tmp_path: Path) -> None:
    row = table(machine_tree.write(tmp_path, {}), cpu="Xeon Platinum")["cpu"]
    assert row.detail == "Xeon Platinum: avx512f avx2 fma"
    assert row.evidence == "py-cpuinfo"


def test_a_recorded_tree_says_what_only_the_machine_could_show(tmp_path: Path) -> None:
    rows = table(machine_tree.write(tmp_path, {}), probes=None)
    for name in ("table pages", "sched_idle", "priority", "timers"):
        assert rows[name].state == "unavailable"
        assert "a recorded tree" in rows[name].detail
        assert "on the machine itself" in rows[name].enable
    assert rows["numa"].detail == "2 nodes"
    assert rows["collapse"].detail == "the kernel has MADV_COLLAPSE"
    assert rows["perf counters"].state == "available"
    old = {"proc/sys/kernel/osrelease": None, "proc/version": "Linux version 5.3.0-rc7 (me)\n"}
    old |= {"proc/sys/kernel/perf_event_paranoid": "3\n"}
    rows = table(machine_tree.write(tmp_path / "old", old), probes=None)
    assert rows["collapse"].detail == "MADV_COLLAPSE came with Linux 6.1"
    assert rows["perf counters"].state == "restricted"


def test_a_group_outside_of_what_a_container_has_mounted_is_read_at_the_mount(
    tmp_path: Path,
) -> None:
    files = {
        "proc/self/cgroup": "0::/docker/0123\n",
        "sys/fs/cgroup/cgroup.controllers": "cpuset cpu memory\n",
        "sys/fs/cgroup/cpu.max": "100000 100000\n",
    }
    row = table(machine_tree.write(tmp_path, files))["cpu quota"]
    assert row.evidence == "/sys/fs/cgroup/cpu.max: 1 CPUs"


def test_a_quota_says_how_often_it_has_stopped_the_group_so_far(tmp_path: Path) -> None:
    files = {
        f"{GROUP}/cpu.max": "120000 100000\n",
        f"{GROUP}/cpu.stat": "nr_periods 1712\nnr_throttled 257\nthrottled_usec 9000000\n",
    }
    row = table(machine_tree.write(tmp_path, files))["cpu quota"]
    assert row.evidence == (
        "/sys/fs/cgroup/user.slice/cpu.max: 1.2 CPUs; stopped in 257 of 1,712 periods since it was "
        "made, 9.0 s in all"
    )


def garbage(path: Path) -> None:
    path.write_bytes(b"\xff\x00[] -1 \x80\n" * 3)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nowhere"))


def empty(path: Path) -> None:
    path.write_text("")


@pytest.mark.parametrize("spoil", [garbage, folder, dangling, empty, Path.unlink])
def test_whatever_is_wrong_with_one_file_the_table_is_whole(tmp_path: Path, spoil) -> None:
    names = list(table(machine_tree.write(tmp_path, {})))
    for name, text in machine_tree.complete().items():
        if re.search("cpu[1-3]/|node1/", name):
            continue  # as those of CPU 0 and node 0
        path = tmp_path / name
        spoil(path)
        assert list(table(tmp_path)) == names
        if path.is_dir():
            path.rmdir()
        path.unlink(missing_ok=True)
        path.write_text(text)


def test_a_named_pipe_in_a_tree_is_not_waited_for(tmp_path: Path) -> None:
    machine_tree.write(tmp_path, {"proc/stat": None})
    os.mkfifo(tmp_path / "proc/stat")
    assert table(tmp_path)["no steal"].detail == "unknown: it is no regular file"


@pytest.mark.parametrize("part", ["proc", "sys", "sys/devices", "sys/fs", "sys/kernel"])
def test_half_a_machine_gives_a_whole_table(tmp_path: Path, part: str) -> None:
    names = list(table(machine_tree.write(tmp_path, {})))
    shutil.rmtree(tmp_path / part)
    rows = table(tmp_path)
    assert list(rows) == names
    assert any(row.detail.startswith("unknown: ") for row in rows.values())


def test_files_that_may_not_be_read_are_named_with_that_reason(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything: make unit as an ordinary user")
    machine_tree.write(tmp_path, {})
    (tmp_path / "proc/cpuinfo").chmod(0)
    (tmp_path / "sys/fs/resctrl").chmod(0o500)
    rows = table(tmp_path)
    assert rows["cpu"].detail == "unknown: this user may not read it"
    assert "may not make groups in /sys/fs/resctrl" in rows["resctrl"].detail
    assert rows["cat l3"].state == "restricted"
    (tmp_path / "sys/fs/resctrl").chmod(0)
    assert table(tmp_path)["resctrl"].state == "unavailable"


def test_this_machine_lets_itself_be_tried_out() -> None:
    found = Probes.attempt()
    assert found.clock_resolution_s > 0
    assert -20 <= found.nice_limit <= 20
    assert found.tables.said in ("hugetlb", "thp", "collapse", "4k")
    # Nothing is left behind: this thread is what it was, and no memfd is open.
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
    with os.scandir("/proc/self/fd") as entries:
        links = [str(Path(entry).readlink()) for entry in entries]
    assert not [link for link in links if "lorabench-trial" in link]
