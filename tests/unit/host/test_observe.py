"""What the kernel's counters say of a host, a process and a control group."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from resctrl_trees import FULL, write_tree

from lorabench.errors import InputError
from lorabench.host import run_queue
from lorabench.host.load import bench_load
from lorabench.host.observe import CgroupReader, GoneError, HostReader, ProcessReader
from lorabench.host.procfs import (
    RunQueue,
    parse_flat,
    parse_pressure,
    parse_schedstat,
    parse_stat,
    parse_task_schedstat,
    parse_task_stat,
)
from lorabench.host.run_queue import Threads

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
COUNTER = st.integers(0, 2**63)

SCHEDSTAT = """\
version 15
timestamp 4295078432
cpu0 0 0 0 0 0 0 3000000000 2000000000 40
domain0 00000003 1 2 3 4 5 6 7 8 9
cpu1 0 0 0 0 0 0 1000000000 500000000 10
"""
PRESSURE = """\
some avg10=75.80 avg60=21.78 avg300=5.59 total=24936102
full avg10=0.00 avg60=0.00 avg300=0.00 total=5
"""


@given(st.dictionaries(st.integers(0, 5000), st.lists(COUNTER, min_size=8, max_size=10)))
def test_every_cpu_is_found_by_its_number_with_its_times(rows: dict[int, list[int]]) -> None:
    lines = [f"cpu{cpu} {' '.join(map(str, ticks))}" for cpu, ticks in rows.items()]
    found = parse_stat("\n".join(["cpu  1 2 3 4 5 6 7 8", *lines, "intr 1 2 3", "ctxt 4", ""]))
    assert set(found) == set(rows)
    for cpu, ticks in rows.items():
        assert found[cpu].total_s == pytest.approx(sum(ticks[:8]) * TICK_S)
        assert found[cpu].idle_s == pytest.approx((ticks[3] + ticks[4]) * TICK_S)
        assert found[cpu].steal_s == pytest.approx(ticks[7] * TICK_S)


@given(
    st.text(st.characters(exclude_characters="\0\n"), max_size=15),
    st.sampled_from("RSDZTtXI"),
    st.lists(COUNTER, min_size=49, max_size=49),
)
def test_a_command_may_be_named_as_it_likes(name: str, state: str, rest: list[int]) -> None:
    found = parse_task_stat(f"42 ({name}) {state} {' '.join(map(str, rest))}\n")
    assert (found.state, found.start_ticks) == (state, rest[18])
    assert found.cpu_s == pytest.approx((rest[10] + rest[11]) * TICK_S)


@given(COUNTER, COUNTER, COUNTER)
def test_a_tasks_wait_is_the_second_counter(ran: int, waited: int, turns: int) -> None:
    found = parse_task_schedstat(f"{ran} {waited} {turns}\n")
    assert found == RunQueue(waited * 1e-9, turns)


def test_the_run_queues_of_all_cpus_are_summed() -> None:
    assert parse_schedstat(SCHEDSTAT) == RunQueue(2.5, 50)


def test_pressure_is_the_total_and_not_an_average() -> None:
    assert parse_pressure(PRESSURE) == pytest.approx({"some": 24.936102, "full": 5e-6})


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,20}", fullmatch=True), COUNTER))
def test_a_flat_keyed_file_reads_back(counters: dict[str, int]) -> None:
    assert parse_flat("".join(f"{k} {v}\n" for k, v in counters.items())) == counters


@pytest.mark.parametrize(
    "parse",
    [
        parse_stat,
        parse_task_stat,
        parse_task_schedstat,
        parse_schedstat,
        parse_pressure,
        parse_flat,
    ],
)
@given(text=st.text() | st.text("cpu0123456789 \n()-=.versionsomeful", max_size=200))
def test_what_is_no_such_file_is_refused_or_empty_and_never_anything_else(parse, text) -> None:
    told = "expected"
    try:
        parse(text)
    except ValueError as error:
        told = str(error)
    assert "expected" in told


@pytest.mark.parametrize("text", ["cpu0 1 2 3", "cpux 1 2 3 4 5 6 7 8", "cpu0 1 2 3 4 5 6 7 -8"])
def test_a_line_of_a_cpu_that_is_short_or_no_numbers_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a CPU and eight counters"):
        parse_stat(text)


def test_an_old_schedstat_is_refused() -> None:
    with pytest.raises(ValueError, match="expected version 15"):
        parse_schedstat("version 14\ncpu0 1 2 3 4 5 6 7 8 9 10 11 12\n")


def queues(**counters: tuple[float, int]) -> list[tuple[int, RunQueue]]:
    return [(int(name[1:]), RunQueue(*value)) for name, value in counters.items()]


def test_threads_that_come_count_from_their_start_and_those_that_go_keep_what_was_seen() -> None:
    threads = Threads()
    threads.see(iter(queues(t1=(5.0, 10), t2=(1.0, 2))))
    assert threads.total == RunQueue(0.0, 0)
    threads.see(iter(queues(t1=(6.0, 12), t3=(0.5, 1))))
    assert threads.total == RunQueue(1.5, 3)
    # A thread with an old number and counters that went back is a new one.
    threads.see(iter(queues(t1=(0.25, 1), t3=(0.5, 1))))
    assert threads.total == RunQueue(1.75, 4)


def test_so_many_threads_that_asking_all_would_cost_are_asked_in_part(monkeypatch) -> None:
    monkeypatch.setattr(run_queue, "MOST_THREADS", 3)
    threads = Threads()
    threads.see(iter(queues(**{f"t{i}": (0.0, 0) for i in range(3)})))
    assert not threads.skipped
    threads.see(iter(queues(**{f"t{i}": (1.0, 1) for i in range(4)})))
    assert threads.skipped
    assert threads.total == RunQueue(3.0, 3)


def test_this_host_counts_its_time() -> None:
    reader = HostReader()
    first = reader.sample()
    time.sleep(0.1)
    second = reader.sample()
    assert first.cpus.keys() & set(os.sched_getaffinity(0))
    assert second.at_s > first.at_s
    spent = sum(t.total_s - first.cpus[c].total_s for c, t in second.cpus.items())
    assert spent > 0
    named = {missing.what for missing in reader.missing}
    assert ("psi" in named) != bool(first.pressure_s)
    assert ("runqueue_delay" in named) != (first.queue is not None)
    assert ("memory_bandwidth" in named) != (first.memory_bytes is not None)


def host(root: Path) -> Path:
    """Write a host that has everything: schedstat, pressure, monitors of two control groups."""
    (root / "proc/pressure").mkdir(parents=True)
    (root / "proc/stat").write_text("cpu 0\ncpu0 1 0 0 9 0 0 0 0\n")
    (root / "proc/schedstat").write_text(SCHEDSTAT)
    for resource in ("cpu", "memory", "io"):
        (root / f"proc/pressure/{resource}").write_text(PRESSURE)
    for group in ("", "theirs"):
        for domain in ("mon_L3_00", "mon_L3_01"):
            folder = root / "sys/fs/resctrl" / group / "mon_data" / domain
            folder.mkdir(parents=True)
            (folder / "mbm_total_bytes").write_text("1000\n")
    # Already in the sum of the group that they belong to.
    nested = root / "sys/fs/resctrl/mon_groups/m/mon_data/mon_L3_00"
    nested.mkdir(parents=True)
    (nested / "mbm_total_bytes").write_text("999\n")
    return root


def test_a_host_that_has_everything_gives_everything(tmp_path: Path) -> None:
    reader = HostReader(host(tmp_path))
    sample = reader.sample()
    assert reader.missing == ()
    assert sample.queue == RunQueue(2.5, 50)
    assert sample.memory_bytes == 4000.0
    assert set(sample.pressure_s) == {
        *("psi_some_cpu", "psi_some_memory", "psi_full_memory", "psi_some_io", "psi_full_io"),
    }
    assert reader.sample(queue=False).queue is None


def test_monitors_of_all_control_groups_are_summed(tmp_path: Path) -> None:
    root = host(tmp_path)
    shutil.rmtree(root / "sys/fs/resctrl")
    resctrl = write_tree(
        FULL, root / "sys/fs/resctrl", "theirs", "ours", "theirs/mon_groups/one", "mon_groups/two"
    )
    counters = sorted(resctrl.rglob("mbm_total_bytes"))
    for number, path in enumerate(counters):
        path.write_text(f"{1 << number}\n")
    summed = [
        1 << number
        for number, path in enumerate(counters)
        if "mon_groups" not in path.parts  # these are part of their control group's
    ]
    assert (len(counters), len(summed)) == (20, 12)
    assert HostReader(root).sample().memory_bytes == sum(summed)


def test_a_monitor_without_a_value_leaves_bandwidth_out(tmp_path: Path) -> None:
    reader = HostReader(host(tmp_path))
    path = tmp_path / "sys/fs/resctrl/theirs/mon_data/mon_L3_01/mbm_total_bytes"
    path.write_text("Unavailable\n")
    assert reader.sample().memory_bytes is None


def test_a_host_without_counters_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="proc/stat: found nothing, expected"):
        HostReader(tmp_path)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_text("cpu0 1 2 x\n")
    with pytest.raises(InputError, match=r"proc/stat: cannot be read .*'cpu0 1 2 x'"):
        HostReader(tmp_path).sample()


# Uses a CPU and starts threads until it is told to end.
BUSY = """
import sys, threading
def work():
    while True:
        sum(range(1000))
for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
print(flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def busy():
    with subprocess.Popen(
        [sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child
        child.kill()


def test_a_process_is_seen_with_all_its_threads_until_it_ends(busy) -> None:
    reader = ProcessReader(busy.pid)
    first = reader.sample()
    deadline = time.monotonic() + 60
    second = reader.sample()
    while second.cpu_s <= first.cpu_s and time.monotonic() < deadline:
        time.sleep(0.05)
        second = reader.sample()
    assert second.cpu_s > first.cpu_s
    if second.queue is not None:
        assert second.queue.turns > 0
    assert not second.cpus
    busy.kill()
    busy.wait()
    with pytest.raises(GoneError, match=f"process {busy.pid} ended"):
        reader.sample()


def test_a_zombie_has_ended(busy) -> None:
    reader = ProcessReader(busy.pid)
    busy.kill()
    os.waitid(os.P_PID, busy.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(GoneError, match="ended"):
        reader.sample()
    with pytest.raises(InputError, match="ended; expected one that runs"):
        ProcessReader(busy.pid)


STAT = "7 (x y) S {rest}\n"


def process(proc: Path, start: int, **threads: str) -> None:
    rest = ["0"] * 49
    rest[18] = str(start)
    (proc / "7").mkdir(parents=True, exist_ok=True)
    (proc / "7/stat").write_text(STAT.format(rest=" ".join(rest)))
    (proc / "7/schedstat").write_text("0 0 0\n")
    for name, text in threads.items():
        (proc / "7/task" / name[1:]).mkdir(parents=True, exist_ok=True)
        (proc / "7/task" / name[1:] / "schedstat").write_text(text)


def test_a_number_that_went_to_another_process_is_noticed_by_its_start(tmp_path: Path) -> None:
    process(tmp_path, 100, t7="1 2000000000 3\n")
    reader = ProcessReader(7, tmp_path)
    reader.sample()
    process(tmp_path, 100, t7="1 3000000000 5\n", t8="1 1000000000 1\n")
    assert reader.sample().queue == RunQueue(2.0, 3)
    process(tmp_path, 101)
    with pytest.raises(GoneError, match="process 7 ended, and its number went to another"):
        reader.sample()


def test_attaching_reads_stat_and_schedstat_and_nothing_else(busy, monkeypatch) -> None:
    read = set()
    really = os.open

    def note(path, *arguments, **options):
        read.add(Path(path).name)
        return really(path, *arguments, **options)

    monkeypatch.setattr(os, "open", note)
    reader = ProcessReader(busy.pid)
    reader.sample()
    assert read <= {str(busy.pid), "stat", "schedstat", "task"}


def test_a_process_that_is_not_there_is_told_in_one_line() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    with pytest.raises(InputError, match=f"--pid: found no process {child.pid}, expected"):
        ProcessReader(child.pid)


def test_a_process_without_schedstat_is_seen_without_run_queue_delay(tmp_path: Path) -> None:
    process(tmp_path, 1, t7="0 0 0\n")
    (tmp_path / "7/schedstat").unlink()
    reader = ProcessReader(7, tmp_path)
    assert [missing.what for missing in reader.missing] == ["runqueue_delay"]
    assert reader.sample().queue is None


def cgroup(root: Path, version: int) -> Path:
    mounts = root / "sys/fs/cgroup"
    folder = mounts / ("a/b" if version == 2 else "cpuacct/a/b")
    (folder / "below").mkdir(parents=True)
    (folder / "cgroup.procs").write_text("7\n")
    (folder / "below/cgroup.procs").write_text("8\n9\n")
    if version == 2:
        (folder / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
        (folder / "cpu.pressure").write_text(PRESSURE)
    else:
        (folder / "cpuacct.usage").write_text("2500000000\n")
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/schedstat").write_text("0 0 0\n")
    process(root / "proc", 1, t7="0 1000000000 1\n")
    return folder


@pytest.mark.parametrize("version", [1, 2])
def test_a_control_group_counts_its_time_and_that_of_its_threads(
    tmp_path: Path, version: int
) -> None:
    folder = cgroup(tmp_path, version)
    reader = CgroupReader("/a/b", tmp_path)
    assert reader.name == "cgroup /a/b"
    first = reader.sample()
    assert first.cpu_s == 2.5
    assert set(first.pressure_s) == ({"psi_some_cpu", "psi_full_cpu"} if version == 2 else set())
    assert [missing.what for missing in reader.missing] == ([] if version == 2 else ["psi"])
    process(tmp_path / "proc", 1, t7="0 1500000000 2\n")
    assert reader.sample().queue == RunQueue(0.5, 1)
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    folder.rmdir()
    with pytest.raises(GoneError, match="cgroup /a/b was removed"):
        reader.sample()


def test_a_control_group_by_its_folder_is_the_same(tmp_path: Path) -> None:
    folder = cgroup(tmp_path, 2)
    assert CgroupReader(str(folder), tmp_path).name == "cgroup /a/b"


def test_a_control_group_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    cgroup(tmp_path, 2)
    with pytest.raises(InputError, match="--cgroup: found no group 'a/c' that counts CPU time"):
        CgroupReader("a/c", tmp_path)


def test_bench_load_is_found_by_its_command_line(tmp_path: Path) -> None:
    for pid, words in {
        1: "/sbin/init",
        20: "/usr/bin/python\0/usr/bin/lorabench\0colocate\0--preset\0demo",
        21: "/usr/bin/python\0-c\0import sys; from lorabench.targets.node.worker import main",
        22: "/usr/bin/python\0/usr/bin/lorabench\0headroom",
        23: "/usr/bin/stress-ng\0-c\x004",
        24: "vi\0lorabench.txt",
        25: "/opt/serving/server\0--model\0x",
    }.items():
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cmdline").write_text(words)
    assert bench_load(tmp_path) == (
        "a server or trainer of lorabench (process 21)",
        "lorabench (process 20)",
        "stress-ng (process 23)",
    )
