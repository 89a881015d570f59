import os
import subprocess
import sys

import pytest
from children import QUIET, RESTLESS, process

from lorabench.errors import MachineError
from lorabench.isolation.scheduling import (
    BATCH,
    IDLE,
    NORMAL,
    SchedulingClass,
    cannot_leave,
    schedule_threads,
    thread_classes,
    verify_classes,
)

OURS = thread_classes(os.getpid())[os.getpid()]

needs_normal = pytest.mark.skipif(
    OURS != NORMAL,
    reason=f"the tests run as {OURS}: chrt --other 0 make unit",
)


@needs_normal
@pytest.mark.parametrize("wanted", [BATCH, IDLE, SchedulingClass(os.SCHED_OTHER, 5)], ids=str)
def test_every_thread_gets_the_class_and_so_do_those_to_come(wanted: SchedulingClass) -> None:
    with process(RESTLESS) as child:
        schedule_threads(child.pid, wanted)
        for _ in range(20):
            found = thread_classes(child.pid)
            assert len(found) >= 7
            assert set(found.values()) == {wanted}
            verify_classes(child.pid, wanted)


@needs_normal
def test_one_thread_of_another_class_is_found_and_named() -> None:
    with process(RESTLESS) as child:
        stray = min(set(thread_classes(child.pid)) - {child.pid})
        os.sched_setscheduler(stray, os.SCHED_IDLE, os.sched_param(0))
        with pytest.raises(MachineError, match=rf"not SCHED_OTHER, nice 0: .*{stray}.*SCHED_IDLE"):
            verify_classes(child.pid, NORMAL)


def test_trying_whether_a_class_can_be_left_changes_nothing() -> None:
    before = thread_classes(os.getpid())
    cannot_leave(IDLE)
    after = thread_classes(os.getpid())
    assert {t: after[t] for t in before.keys() & after.keys()} == {
        t: before[t] for t in before.keys() & after.keys()
    }


# As an ordinary user with a given RLIMIT_NICE (20 minus the lowest nice value allowed).
ORDINARY = """
import os, resource, sys
from lorabench.errors import MachineError
from lorabench.isolation.scheduling import IDLE, NORMAL, cannot_leave, schedule_threads
try:
    resource.setrlimit(resource.RLIMIT_NICE, (int(sys.argv[1]), int(sys.argv[1])))
except ValueError as error:
    sys.exit(f"RLIMIT_NICE of {sys.argv[1]}: {error}")
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
print(cannot_leave(IDLE))
schedule_threads(os.getpid(), IDLE)
try:
    schedule_threads(os.getpid(), NORMAL)
except MachineError as error:
    print(error)
print(os.sched_getscheduler(0) == os.SCHED_IDLE)
"""


def ordinary(limit: int) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-c", ORDINARY, str(limit)], capture_output=True, text=True, check=False
    )
    if ran.stderr.startswith("RLIMIT_NICE"):
        pytest.skip(f"{ran.stderr.strip()}: ulimit -e {limit} as root, then make unit")
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


@needs_normal
def test_an_ordinary_user_is_told_beforehand_that_idle_cannot_be_left() -> None:
    missing, error, idle = ordinary(0)
    assert "leaving SCHED_IDLE" in missing
    assert "CAP_SYS_NICE" in missing
    assert error.startswith("cannot give thread ")
    assert "the class SCHED_OTHER, nice 0 in place of SCHED_IDLE, nice 0: Operation not" in error
    assert "ulimit -e 20" in error
    assert idle == "True"


@needs_normal
def test_an_ordinary_user_whose_limit_allows_it_may_leave_idle() -> None:
    assert ordinary(20) == ["None", "False"]


@pytest.mark.parametrize(
    "act",
    [
        lambda pid: schedule_threads(pid, IDLE),
        lambda pid: verify_classes(pid, IDLE),
        thread_classes,
    ],
    ids=["set", "verify", "read"],
)
def test_a_process_that_has_ended_is_said_to_have(act) -> None:
    with process(QUIET) as child:
        child.kill()
        child.wait()
        with pytest.raises(ProcessLookupError, match=str(child.pid)):
            act(child.pid)
