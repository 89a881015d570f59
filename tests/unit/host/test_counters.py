import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.host.counters import CpuUse, Snapshot, Spent, cpu_times, threads_cpu_s

TICK_S = 1 / os.sysconf("SC_CLK_TCK")

# CPU 1 is offline: a place in the list of lines is no CPU number.
STAT = """\
cpu  1110 20 330 4400 50 6 7 80 90 10
cpu0 100 10 30 400 50 6 7 0 90 0
cpu2 1000 10 300 4000 0 0 0 80 0 10
intr 5 4 3
ctxt 123
"""


def test_cpus_are_found_by_their_number_where_others_are_offline():
    total, idle, steal = cpu_times(STAT, frozenset({2}))
    assert total == pytest.approx(5390 * TICK_S)
    assert idle == pytest.approx(4000 * TICK_S)
    assert steal == pytest.approx(80 * TICK_S)


def test_guest_time_is_not_counted_twice_and_waiting_for_a_disk_is_idle():
    total, idle, _ = cpu_times(STAT, frozenset({0}))
    assert total == pytest.approx(603 * TICK_S)
    assert idle == pytest.approx(450 * TICK_S)


def test_a_cpu_without_a_line_counts_for_nothing():
    assert cpu_times(STAT, frozenset({1, 3})) == (0.0, 0.0, 0.0)


def test_the_difference_of_two_snapshots_is_what_was_spent():
    before = Snapshot(100.0, 80.0, 1.0, {7: 5, 8: 2}, {7: 1.5, 8: 2.0})
    after = Snapshot(110.0, 86.0, 1.5, {7: 9, 9: 1}, {7: 1.75, 9: 0.5})
    assert after - before == Spent(
        cpu_busy=0.4, steal_s=0.5, idle_s=6.0, involuntary_switches=5, cpu_s={7: 0.25, 9: 0.5}
    )


def test_counters_that_go_back_do_not_make_time_negative():
    after = Snapshot(1.0, 1.2, 0.9, {}, {7: 1.0})
    spent = after - Snapshot(0.0, 1.3, 1.0, {}, {7: 2.0})
    assert (spent.cpu_busy, spent.steal_s, spent.idle_s) == (1.0, 0.0, 0.0)
    assert spent.cpu_s == {7: 0.0}


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e3))
def test_busy_is_a_share(total: float, idle: float, steal: float):
    spent = Snapshot(total, idle, steal, {}, {}) - Snapshot(0.0, 0.0, 0.0, {}, {})
    assert 0.0 <= spent.cpu_busy <= 1.0
    assert spent.told == (total > 0)


def test_a_process_tells_its_cpu_time_and_one_that_ended_has_none():
    before = threads_cpu_s(os.getpid())
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    assert threads_cpu_s(os.getpid()) - before >= 0.03
    child = subprocess.Popen(["true"])
    child.wait()
    assert threads_cpu_s(child.pid) == 0.0


def test_the_cpu_time_of_a_process_is_followed():
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        with CpuUse(child.pid, 0.01).sampling() as use:
            time.sleep(0.5)
    finally:
        child.kill()
        child.wait()
    at_ns, cpu_s = use.samples.T
    assert len(at_ns) > 2
    assert (np.diff(at_ns) > 0).all()
    assert (np.diff(cpu_s) >= 0).all()
    assert 0.0 < cpu_s[-1] <= (at_ns[-1] - at_ns[0]) / 1e9 + 1.0


CPU = max(os.sched_getaffinity(0))

# Two threads that fight for one CPU, neither of them the first: what they suffer is theirs.
FIGHT = f"""
import os, subprocess, sys, threading
os.sched_setaffinity(0, {{{CPU}}})
def work():
    while True:
        sum(range(1000))
for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
rival = subprocess.Popen([sys.executable, "-c", "while True: pass"])
print(flush=True)
sys.stdin.read()
rival.kill()
"""


def test_a_fight_for_a_cpu_shows_in_every_threads_switches_and_in_busy_time():
    with subprocess.Popen(
        [sys.executable, "-c", FIGHT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        first = Snapshot.take([child.pid], frozenset({CPU}))
        assert len(first.involuntary) == 3
        # As long as it takes, with an end to it: nothing here depends on how fast that is.
        deadline = time.monotonic() + 60
        while True:
            time.sleep(0.2)
            second = Snapshot.take([child.pid], frozenset({CPU}))
            workers = set(first.involuntary) - {child.pid}
            hit = [second.involuntary[t] > first.involuntary[t] for t in workers]
            if all(hit) or time.monotonic() > deadline:
                break
        assert all(hit)
        spent = second - first
        assert spent.involuntary_switches >= 2
        assert spent.cpu_busy > 0.5
        assert child.stdin is not None
        child.stdin.close()


def test_a_process_that_has_ended_counts_for_nothing():
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    assert not Path(f"/proc/{child.pid}").exists()
    assert Snapshot.take([child.pid], frozenset({CPU})).involuntary == {}
