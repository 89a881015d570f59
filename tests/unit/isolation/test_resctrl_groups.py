"""The acting half, on the double of resctrl: groups, real processes moved, refusals, counters."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from children import process
from hypothesis import given
from hypothesis import strategies as st
from resctrl_double import Bandwidth, Cache, Machine, Monitoring

from lorabench.errors import MachineError
from lorabench.host.files import Files
from lorabench.host.missing import Missing
from lorabench.host.resctrl import (
    Schemata,
    availability,
    find_mount,
    groups,
    read_counters,
)
from lorabench.isolation.cleanup import sweep
from lorabench.isolation.resctrl import Group, Monitor, group

NAME = "lorabench-1-trainer"
LOW = Schemata.of({"L3": {0: 0xF, 1: 0xF}, "MB": {0: 30}})
NOBODY = 65534

# Starts as many threads as a line says, which stay, and as many that end at once.
THREADS = """
import sys, threading
stay = threading.Event()
print(flush=True)
for line in sys.stdin:
    short = [threading.Thread(target=int) for _ in range(int(line))]
    for thread in short:
        threading.Thread(target=stay.wait, daemon=True).start()
        thread.start()
    for thread in short:
        thread.join()
    print(flush=True)
"""


def start_threads(child: subprocess.Popen[str], count: int) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(f"{count}\n")
    child.stdin.flush()
    child.stdout.readline()


def schemata_of(group: Group) -> Schemata:
    return Schemata.parse((group.path / "schemata").read_text())


def tasks_of(group: Group) -> set[int]:
    return set(map(int, (group.path / "tasks").read_text().split()))


def root_state(root: Path) -> tuple[str, ...]:
    return (*groups(root), (root / "schemata").read_text(), (root / "mode").read_text())


def test_a_group_may_use_what_it_was_given(resctrl):
    before = root_state(resctrl)
    made = Group.create(resctrl, NAME, LOW)
    assert groups(resctrl) == (NAME,)
    assert schemata_of(made).values() == {"MB": {0: 30, 1: 100}, "L3": {0: 0xF, 1: 0xF}}
    assert tasks_of(made) == set()
    made.remove()
    made.remove()
    assert root_state(resctrl) == before


def test_a_write_changes_the_domains_it_names_and_gives_back_what_was_made_of_it(resctrl):
    made = Group.create(resctrl, NAME, LOW)
    after = made.write(Schemata.of({"L3": {1: 0xF00}, "MB": {1: 41}}))
    assert after.values() == {"MB": {0: 30, 1: 50}, "L3": {0: 0xF, 1: 0xF00}}
    assert made.write(Schemata()) == after


@pytest.mark.parametrize("name", ["trainer", "", "lorabench-a/b", "lorabench-\n", ".."])
def test_nobody_elses_group_can_be_named(resctrl, name):
    with pytest.raises(ValueError, match="expected one that begins with lorabench-"):
        Group(resctrl, name)


@pytest.mark.parametrize(
    ("schemata", "reason"),
    [
        ({"L3": {0: 0b101}}, "The mask 5 has non-consecutive 1-bits; domain 0: mask 5 of L3 has a"),
        ({"L3": {0: 0xF, 1: 0}}, "Mask out of range; domain 1: mask 0 of L3 is out of range"),
        ({"MB": {0: 7}}, "MB value 7 out of range [10,100]; domain 0: bandwidth 7 of MB is out"),
        # The kernel says nothing of a domain that it does not know.
        ({"L3": {5: 0xF}}, "Invalid argument; found domain 5 of L3, expected one of 0, 1"),
        (
            {"L2": {0: 0xF}},
            "Unknown or unsupported resource name 'L2'; found resource L2, expected",
        ),
    ],
)
def test_what_the_kernel_refuses_is_told_with_its_reason_and_leaves_no_group(
    resctrl, schemata, reason
):
    before = root_state(resctrl)
    with pytest.raises(MachineError) as refused:
        Group.create(resctrl, NAME, Schemata.of(schemata))
    assert f"{NAME}/schemata: found '" in str(refused.value)
    assert f"which the kernel refuses: {reason}" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert root_state(resctrl) == before


def test_a_refused_write_leaves_the_group_as_it_was(resctrl):
    made = Group.create(resctrl, NAME, LOW)
    before = (made.path / "schemata").read_text()
    with pytest.raises(MachineError, match="the kernel refuses: The mask 5 has"):
        made.write(Schemata.of({"MB": {0: 50, 1: 50}, "L3": {1: 5}}))
    assert (made.path / "schemata").read_text() == before


def test_a_refused_write_of_megabytes_is_taken_back(mount_resctrl):
    # There the kernel itself keeps the lines before the one that it refuses.
    root = mount_resctrl(Machine(bandwidth=Bandwidth(mba_mbps=True)))
    made = Group.create(root, NAME, Schemata.of({"MB": {0: 2000}}))
    before = (made.path / "schemata").read_text()
    with pytest.raises(MachineError, match="the kernel refuses: The mask 5 has"):
        made.write(Schemata.of({"MB": {0: 500, 1: 500}, "L3": {1: 5}}))
    assert (made.path / "schemata").read_text() == before


def test_more_domains_than_the_kernel_takes_at_once_are_written_in_parts(mount_resctrl):
    domains = tuple(range(400))
    machine = Machine(caches=(Cache("L2", domains, ways=32), Cache()), monitoring=None)
    made = Group.create(
        mount_resctrl(machine),
        NAME,
        Schemata.of({"L3": {0: 0xF, 1: 0xF0}, "L2": dict.fromkeys(domains, 0xFFFF0000)}),
    )
    assert schemata_of(made).domains("L2") == dict.fromkeys(domains, 0xFFFF0000)
    assert schemata_of(made).domains("L3") == {0: 0xF, 1: 0xF0}
    # The first part is taken, the last is not.
    with pytest.raises(MachineError, match="non-consecutive"):
        made.write(Schemata.of({"L2": dict.fromkeys(domains, 0xFFFF) | {399: 0b101}}))
    assert schemata_of(made).domains("L2") == dict.fromkeys(domains, 0xFFFF0000)


# Where a line ends just short of what is taken at once, and another resource's begins.
LIMITS = [{"L3": dict.fromkeys(range(n), 0xF), "MB": {0: 10, 1: 10}} for n in range(690, 720)]


def test_the_parts_of_a_write_at_the_limit_are_short_enough():
    parts = [list(group._parts(Schemata.of(values))) for values in LIMITS]
    assert all(len(part) <= 4096 for each in parts for part in each)
    assert {len(each) for each in parts} == {1, 2}


@given(
    st.dictionaries(
        st.sampled_from(["L3", "L2", "MB", "L2CODE"]),
        st.dictionaries(st.integers(0, 5000), st.integers(0, 2**32 - 1), max_size=700),
    )
)
def test_the_parts_of_a_write_are_short_enough_and_say_it_all(values):
    parts = list(group._parts(Schemata.of(values)))
    assert all(0 < len(part) <= 4096 and part.endswith("\n") for part in parts)
    said: dict[str, dict[int, int]] = {}
    for part in parts:
        for resource, domains in Schemata.parse(part).values().items():
            assert not said.setdefault(resource, {}).keys() & domains.keys()
            said[resource] |= domains
    assert said == {resource: domains for resource, domains in values.items() if domains}


def test_code_and_data_are_written_apart(mount_resctrl):
    root = mount_resctrl(Machine(caches=(Cache(cdp=True, cdp_capable=True),)))
    made = Group.create(root, NAME, Schemata.of({"L3CODE": {0: 0xF}, "L3DATA": {0: 0xF0}}))
    assert schemata_of(made).domains("L3CODE") == {0: 0xF, 1: 0xFFF}
    assert schemata_of(made).domains("L3DATA") == {0: 0xF0, 1: 0xFFF}


@pytest.mark.parametrize(
    ("machine", "schemata"),
    [
        (Machine(caches=(), monitoring=None), {"MB": {0: 50}}),
        (Machine(caches=(Cache("L2"),), bandwidth=None, monitoring=None), {"L2": {1: 0xF}}),
    ],
)
def test_machines_with_l2_or_bandwidth_alone(mount_resctrl, machine, schemata):
    made = Group.create(mount_resctrl(machine), NAME, Schemata.of(schemata))
    for resource, domains in schemata.items():
        assert schemata_of(made).domains(resource).items() >= domains.items()


def test_where_all_ids_are_taken_the_line_names_who_has_them(mount_resctrl):
    root = mount_resctrl(Machine(bandwidth=Bandwidth(num_closids=3)))
    (root / "pod-a").mkdir()
    (root / "pod-b").mkdir()
    before = root_state(root)
    with pytest.raises(MachineError) as refused:
        Group.create(root, NAME, LOW)
    assert str(refused.value) == (
        f"{root / NAME}: cannot be made: all 3 CLOSIDs are taken by the root group and by groups "
        f"pod-a, pod-b; remove one that nobody needs (rmdir {root}/NAME)"
    )
    assert root_state(root) == before


def test_where_all_ids_of_monitoring_are_taken_the_line_says_so(mount_resctrl):
    root = mount_resctrl(Machine(monitoring=Monitoring(num_rmids=2)))
    (root / "pod-a").mkdir()
    with pytest.raises(MachineError, match=r"all 2 RMIDs .* root group and by groups pod-a; rem"):
        Group.create(root, NAME, LOW)


def test_where_others_hold_the_cache_exclusively_the_line_says_so(mount_resctrl):
    root = mount_resctrl(Machine(caches=(Cache(domains=(0,)),), bandwidth=None))
    (root / "pod-a").mkdir()
    (root / "schemata").write_text("L3:0=f\n")
    (root / "pod-a/schemata").write_text("L3:0=ff0\n")
    (root / "pod-a/mode").write_text("exclusive\n")
    (root / "mode").write_text("exclusive\n")
    with pytest.raises(MachineError, match=r"No space on L3:0: other groups hold it exclusively"):
        Group.create(root, NAME, Schemata())
    assert groups(root) == ("pod-a",)


def test_a_group_that_is_there_already_is_left_alone(resctrl):
    (resctrl / NAME).mkdir()
    with pytest.raises(MachineError, match=r"found a group of this name.*doctor --cleanup"):
        Group.create(resctrl, NAME, LOW)
    assert groups(resctrl) == (NAME,)


def test_every_thread_is_moved_and_those_started_later_are_found(resctrl):
    made = Group.create(resctrl, NAME, LOW)
    with process(THREADS) as child:
        start_threads(child, 4)
        made.move(child.pid)
        assert len(tasks_of(made)) == 5
        made.verify(child.pid)
        start_threads(child, 3)
        # The kernel's threads inherit the group; the double's do not.
        with pytest.raises(MachineError, match=rf"threads \[.*\] of process {child.pid} outside"):
            made.verify(child.pid)
        made.move(child.pid)
        made.verify(child.pid)
        assert len(tasks_of(made)) == 8
        assert not tasks_of(made) & {os.getpid()}
        made.remove()
        in_root = set(map(int, (resctrl / "tasks").read_text().split()))
        assert {int(t.name) for t in Path(f"/proc/{child.pid}/task").iterdir()} <= in_root


def test_a_process_that_is_never_all_in_is_given_up(resctrl, monkeypatch):
    made = Group.create(resctrl, NAME, LOW)
    with process("") as ended:
        ended.wait()
    monkeypatch.setattr(group, "threads", lambda pid: frozenset({os.getpid(), ended.pid}))
    with pytest.raises(MachineError, match=r"outside after 100 looks: it starts new ones faster"):
        made.move(os.getpid())


def test_a_thread_that_ends_before_it_is_moved_is_no_error(resctrl, monkeypatch):
    made = Group.create(resctrl, NAME, LOW)
    with process("") as ended:
        ended.wait()
    listed = [frozenset({ended.pid, os.getpid()})]
    real = group.threads
    monkeypatch.setattr(group, "threads", lambda pid: listed.pop() if listed else real(pid))
    made.move(os.getpid())
    assert os.getpid() in tasks_of(made)


def test_a_process_that_has_ended_cannot_be_moved(resctrl):
    made = Group.create(resctrl, NAME, LOW)
    with process("") as child:
        child.wait()
    with pytest.raises(ProcessLookupError):
        made.move(child.pid)
    with pytest.raises(ProcessLookupError):
        made.verify(child.pid)


def test_a_group_that_somebody_removes_is_told(resctrl):
    made = Group.create(resctrl, NAME, LOW)
    made.path.rmdir()
    for action in (
        lambda: made.move(os.getpid()),
        lambda: made.verify(os.getpid()),
        lambda: made.write(LOW),
    ):
        with pytest.raises(MachineError, match="the group is gone: somebody else has removed it"):
            action()


def test_ways_that_a_group_holds_exclusively_are_refused_to_others(resctrl):
    made = Group.create(resctrl, NAME, LOW)
    (resctrl / "schemata").write_text("L3:0=ff0;1=ff0\n")
    (made.path / "mode").write_text("exclusive\n")
    with pytest.raises(MachineError, match="Overlaps with exclusive group"):
        Group.create(resctrl, "lorabench-1-serving", Schemata.of({"L3": {0: 0xFF}}))
    assert groups(resctrl) == (NAME,)
    (made.path / "mode").write_text("shareable\n")


KILLED = """
import os, sys
from pathlib import Path
from lorabench.host.owner import Owner
from lorabench.host.resctrl import Schemata
from lorabench.isolation.resctrl import Group
group = Group.create(Path(sys.argv[1]), Owner.this().name("trainer"), Schemata.of({"L3": {0: 15}}))
group.move(os.getpid())
group.move(os.getppid())
print(group.name, flush=True)
sys.stdin.read()
"""


def test_a_killed_runs_group_is_removed_and_its_tasks_return_to_the_root_group(resctrl, tmp_path):
    (resctrl / "pod-a").mkdir()
    before = root_state(resctrl)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/mounts").write_text("resctrl /sys/fs/resctrl resctrl rw 0 0\n")
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, resctrl],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        name = child.stdout.readline().strip()
        assert name.startswith(f"lorabench-{child.pid}-")
        assert os.getpid() in tasks_of(Group(resctrl, name))
        assert sweep(machine=Files(tmp_path)).undone == []
        child.send_signal(signal.SIGKILL)
    assert groups(resctrl) == (name, "pod-a")
    report = sweep(machine=Files(tmp_path))
    assert report.undone == [f"resctrl group {resctrl / name}"]
    assert root_state(resctrl) == before
    assert os.getpid() in set(map(int, (resctrl / "tasks").read_text().split()))


@contextlib.contextmanager
def acting_as_nobody() -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("only root can act for another user: make unit as root")
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that any user may enter; ask for it before the mount, which must go first."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_permission_denied_is_not_blamed_on_the_command_before(open_to_all, mount_resctrl):
    root = mount_resctrl(Machine(), open_to_all / "resctrl")
    with pytest.raises(MachineError, match="Mask out of range"):
        Group.create(root, NAME, Schemata.of({"L3": {0: 0}}))
    made = Group.create(root, NAME, LOW)
    with pytest.raises(OSError, match="Invalid argument"):
        (made.path / "schemata").write_text("L3:0=5\n")
    with (
        acting_as_nobody(),
        pytest.raises(MachineError, match="the kernel refuses: Permission denied; run as root"),
    ):
        made.write(LOW)


def test_a_mount_that_is_read_only_is_told(tmp_path, mount_resctrl):
    root = mount_resctrl(Machine())
    machine_tree(tmp_path, MOUNTED.replace("rw", "ro"))
    assert availability(tmp_path) == Missing(
        "resctrl",
        f"the resctrl on {root} is mounted read-only",
        f"as root: mount -o remount,rw {root} (of a container: have it mounted so)",
    )


def test_a_process_that_somebody_has_confined_stays_where_it_is(tmp_path, mount_resctrl):
    root = mount_resctrl(Machine())
    machine_tree(tmp_path, MOUNTED)
    (tmp_path / "proc/self").mkdir()
    for inside in "res:/\nmon:\n", "res:\nmon:\n", f"res:{NAME}\nmon:\n":
        (tmp_path / "proc/self/cpu_resctrl_groups").write_text(inside)
        assert availability(tmp_path) == find_mount(tmp_path)
    (tmp_path / "proc/self/cpu_resctrl_groups").write_text("res:pod-a\nmon:\n")
    found = availability(tmp_path)
    assert isinstance(found, Missing)
    assert "put this process into the resctrl group pod-a" in found.why
    assert found.enable.endswith(f"echo PID > {root}/tasks")


def test_without_permission_the_line_says_how_to_get_it_and_that_way_works(
    open_to_all, mount_resctrl
):
    (open_to_all / "proc").mkdir()
    (open_to_all / "proc/mounts").write_text("resctrl /sys/fs/resctrl resctrl rw 0 0\n")
    root = mount_resctrl(Machine(), open_to_all / "sys/fs/resctrl")
    way = f"run as root, or have root run: chown {NOBODY} {root}"
    with acting_as_nobody():
        with pytest.raises(MachineError) as refused:
            Group.create(root, NAME, LOW)
        assert str(refused.value) == (f"{root / NAME}: cannot be made: Permission denied; {way}")
        found = availability(open_to_all)
        assert isinstance(found, Missing)
        assert found == Missing("resctrl", f"user {NOBODY} may not make groups in {root}", way)
    assert groups(root) == ()
    subprocess.run(["chown", str(NOBODY), root], check=True)
    with acting_as_nobody():
        assert availability(open_to_all) == find_mount(open_to_all)
        made = Group.create(root, NAME, LOW)
        with pytest.raises(
            MachineError, match=r"No permission to move task .* user that the process belongs to"
        ):
            made.move(1 if os.getpid() != 1 else os.getppid())
    with process(f"import os; os.setuid({NOBODY})\n{THREADS}") as child:
        start_threads(child, 2)
        with acting_as_nobody():
            made.move(child.pid)
            made.verify(child.pid)
            made.remove()
    assert groups(root) == ()


def machine_tree(sysroot: Path, mounts: str = "", flags: str | None = "fpu", known: bool = True):
    (sysroot / "proc").mkdir(exist_ok=True)
    (sysroot / "proc/mounts").write_text(f"sysfs /sys sysfs rw,relatime 0 0\n{mounts}")
    (sysroot / "proc/filesystems").write_text("nodev\tsysfs\n" + "nodev\tresctrl\n" * known)
    text = "" if flags is None else f"flags\t\t: {flags}\n"
    (sysroot / "proc/cpuinfo").write_text(f"processor\t: 0\n{text}bugs\t\t: mba\n\n")
    return sysroot


MOUNTED = "resctrl /sys/fs/resctrl resctrl rw,relatime 0 0\n"


@pytest.mark.parametrize(
    ("tree", "why", "enable"),
    [
        ({"flags": "fpu rdt_a cqm_llc"}, "none of the flags cat_l2, cat_l3, mba", "bare metal"),
        (
            {"flags": "cat_l3 mba", "known": False},
            "the processor offers cat_l3, mba, but the kernel has no resctrl file system",
            "CONFIG_X86_CPU_RESCTRL",
        ),
        (
            {"flags": "cat_l3 mba"},
            "the processor offers cat_l3, mba, but resctrl is not mounted",
            "as root: mount -t resctrl resctrl /sys/fs/resctrl",
        ),
        # Arm shows no flags; what the kernel knows has to do.
        ({"flags": None}, "resctrl is not mounted", "as root: mount"),
        ({"flags": None, "known": False}, "the kernel has no resctrl", "CONFIG_ARM64_MPAM"),
        ({"mounts": MOUNTED}, "found no folder info, expected a mounted resctrl", "mount it anew"),
    ],
)
def test_where_there_is_no_resctrl_the_first_thing_missing_is_named(tmp_path, tree, why, enable):
    found = availability(machine_tree(tmp_path, **tree))
    assert isinstance(found, Missing)
    assert why in found.why
    assert enable in found.enable


def test_a_resctrl_that_is_there_is_found_with_its_options(mount_resctrl, tmp_path):
    root = mount_resctrl(
        Machine(bandwidth=Bandwidth(mba_mbps=True), caches=(Cache(cdp=True, cdp_capable=True),)),
        tmp_path / "sys/fs/my resctrl",
    )
    mounts = "resctrl /sys/fs/my\\040resctrl resctrl rw,relatime,cdp,mba_MBps 0 0\n"
    found = availability(machine_tree(tmp_path, mounts, "cat_l3"))
    assert not isinstance(found, Missing)
    assert found.root == root
    assert found.options == {"rw", "relatime", "cdp", "mba_MBps"}
    assert [cache.name for cache in found.info().caches] == ["L3CODE", "L3DATA"]
    assert found.info().bandwidth.unit == "MB/s"


def test_a_resctrl_that_only_monitors_is_of_no_use(mount_resctrl, tmp_path):
    mount_resctrl(Machine(caches=(), bandwidth=None))
    found = availability(machine_tree(tmp_path, MOUNTED))
    assert isinstance(found, Missing)
    assert "can only monitor" in found.why


def test_a_resctrl_whose_groups_are_all_taken_is_named_with_who_has_them(mount_resctrl, tmp_path):
    root = mount_resctrl(Machine(bandwidth=Bandwidth(num_closids=4)))
    machine_tree(tmp_path, MOUNTED)
    assert availability(tmp_path) == find_mount(tmp_path)
    (root / "pod-a").mkdir()
    (root / NAME).mkdir()
    found = availability(tmp_path)
    assert found == Missing(
        "resctrl",
        f"3 of 4 CLOSIDs of the resctrl on {root} are taken by the root group and by groups "
        f"{NAME}, pod-a; 2 more are needed",
        f"remove a group that nobody needs (rmdir {root}/NAME); lorabench doctor --cleanup removes "
        "a killed run's, lorabench-*",
    )
    assert availability(tmp_path, needed=1) == find_mount(tmp_path)


def test_a_hardware_with_too_few_groups_is_told(mount_resctrl, tmp_path):
    root = mount_resctrl(Machine(bandwidth=Bandwidth(num_closids=2)))
    found = availability(machine_tree(tmp_path, MOUNTED))
    assert isinstance(found, Missing)
    assert found.why == f"the resctrl on {root} allows 1 groups, 2 are needed"


def test_counters_become_series(tmp_path):
    folder = tmp_path / "group"

    def show(occupancy: object, total: object) -> None:
        domain = folder / "mon_data/mon_L3_03"
        domain.mkdir(parents=True, exist_ok=True)
        (domain / "llc_occupancy").write_text(f"{occupancy}\n")
        (domain / "mbm_total_bytes").write_text(f"{total}\n")

    times = iter([10.0, 10.0, 11.0, 13.0, 14.0, 15.0, 16.0])
    monitor = Monitor({"trainer": folder}, lambda: next(times))
    for values in [(5, 100), (7, 160), ("Unavailable", 400), (9, "Error"), (8, 50), (6, 80)]:
        show(*values)
        monitor.sample()
    occupancy, traffic = monitor.series()
    assert (occupancy.name, occupancy.group, occupancy.domain) == ("llc_occupancy", "trainer", 3)
    assert occupancy.unit == "B"
    assert occupancy.times_s == (0, 1, 4, 5, 6)
    assert occupancy.values == (5, 7, 9, 8, 6)
    assert (traffic.name, traffic.unit) == ("mbm_total", "B/s")
    # 400 to 50 was a reset: it is left out, and so is what the error hid.
    assert traffic.times_s == (1, 3, 6)
    assert traffic.values == (60, 120, 30)


def test_counters_of_a_group_that_is_gone_end_its_series(resctrl):
    made = Group.create(resctrl, NAME, LOW)
    monitor = Monitor({"trainer": made.path})
    monitor.sample()
    made.remove()
    monitor.sample()
    assert all(len(series.times_s) == 1 for series in monitor.series())
    assert read_counters(made.path) == {}


def test_groups_are_followed_while_they_work(mount_resctrl):
    root = mount_resctrl(Machine(monitoring=Monitoring(broken=((1, "llc_occupancy", "Error"),))))
    made = Group.create(root, NAME, LOW)
    made.move(os.getpid())
    with Monitor({"trainer": made.path, "rest": root}).sampling(0.01) as monitor:
        while not any(len(series.times_s) > 2 for series in monitor.series()):
            time.sleep(0.005)
    found = {(s.name, s.group, s.domain): s for s in monitor.series()}
    assert {("mbm_total", "trainer", 1), ("mbm_local", "rest", 0)} <= found.keys()
    assert ("llc_occupancy", "trainer", 1) not in found
    assert found["llc_occupancy", "trainer", 0].values[-1] <= 8 << 20
    assert all(rate > 0 for rate in found["mbm_total", "trainer", 0].values)


def test_a_group_s_traffic_is_counted_where_counters_have_to_be_assigned(mount_resctrl):
    root = mount_resctrl(Machine(monitoring=Monitoring(counters=8, on_mkdir=False)))
    made = Group.create(root, NAME, LOW)
    assert read_counters(made.path)[0, "mbm_total_bytes"] is None
    made.count_traffic()
    assert read_counters(made.path)[0, "mbm_total_bytes"] is not None
    assert "_" not in (made.path / "mbm_L3_assignments").read_text().replace("mbm_", "").replace(
        "_bytes", ""
    )


def test_counters_that_others_have_are_left_to_them(mount_resctrl):
    root = mount_resctrl(Machine(monitoring=Monitoring(counters=5)))
    (root / "pod-a").mkdir()
    made = Group.create(root, NAME, LOW)
    made.count_traffic()
    counters = read_counters(made.path)
    # One is left in each domain, for the first event.
    assert counters[0, "mbm_total_bytes"] is not None
    assert counters[0, "mbm_local_bytes"] is None
    assert "mbm_local_bytes:0=e;1=e" in (root / "pod-a/mbm_L3_assignments").read_text()


def test_clusters_are_followed_apart(mount_resctrl):
    root = mount_resctrl(Machine(monitoring=Monitoring(nodes=((0, 1), (2, 3)))))
    monitor = Monitor({"rest": root})
    monitor.sample()
    monitor.sample()
    found = {(one.domain, one.node) for one in monitor.series() if one.name == "mbm_total"}
    assert found == {*((0, None), (0, 0), (0, 1), (1, None), (1, 2), (1, 3))}
