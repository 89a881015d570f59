import os
import threading

import pytest
from children import QUIET, RESTLESS, process

from lorabench.errors import MachineError
from lorabench.isolation.affinity import pin_threads, restore_threads, thread_affinities, verify

ALLOWED = frozenset(os.sched_getaffinity(0))
ONE = frozenset({max(ALLOWED)})

needs_two_cpus = pytest.mark.skipif(
    len(ALLOWED) < 2, reason="one CPU is allowed: taskset -c 0-1 make unit"
)


@needs_two_cpus
def test_every_thread_is_pinned_and_so_are_those_to_come():
    with process(RESTLESS) as child:
        pin_threads(child.pid, ONE)
        for _ in range(20):
            found = thread_affinities(child.pid)
            assert len(found) >= 7
            assert set(found.values()) == {ONE}
            verify(child.pid, ONE)


@needs_two_cpus
def test_one_stray_thread_is_found_and_named():
    with process(RESTLESS) as child:
        pin_threads(child.pid, ONE)
        stray = min(set(thread_affinities(child.pid)) - {child.pid})
        os.sched_setaffinity(stray, ALLOWED)
        with pytest.raises(MachineError, match=rf"outside CPUs \[{max(ONE)}\]: .*{stray}") as error:
            verify(child.pid, ONE)
        assert str(child.pid) in str(error.value)


@needs_two_cpus
def test_pinning_a_process_by_its_id_alone_would_leave_threads_behind():
    """Why this module exists: what sched_setaffinity on a process id does not do."""
    with process(RESTLESS) as child:
        os.sched_setaffinity(child.pid, ONE)
        with pytest.raises(MachineError):
            verify(child.pid, ONE)


@needs_two_cpus
def test_threads_are_put_back_where_they_were():
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    try:
        before = thread_affinities(os.getpid())
        assert len(before) >= 2
        pin_threads(os.getpid(), ONE)
        assert set(thread_affinities(os.getpid()).values()) == {ONE}
        restore_threads(before)
        assert thread_affinities(os.getpid()) == before
    finally:
        restore_threads(before)
        done.set()
        other.join()


def test_threads_that_ended_are_left_out_when_others_are_put_back():
    with process(QUIET) as child:
        before = thread_affinities(child.pid)
    restore_threads(before)


def test_cpus_that_do_not_exist_are_refused():
    with (
        process(QUIET) as child,
        pytest.raises(MachineError, match=r"cannot pin thread .* expected CPUs that are online"),
    ):
        pin_threads(child.pid, frozenset({max(ALLOWED) + 500}))


@pytest.mark.parametrize(
    "act",
    [
        lambda pid: pin_threads(pid, ALLOWED),
        lambda pid: verify(pid, ALLOWED),
        thread_affinities,
    ],
    ids=["pin", "verify", "read"],
)
def test_a_process_that_has_ended_is_said_to_have(act):
    with process("print(flush=True)") as child:
        child.wait()
        with pytest.raises(ProcessLookupError, match=str(child.pid)):
            act(child.pid)
