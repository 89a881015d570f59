import os
import signal
import subprocess

import pytest

from lorabench.host.processes import descendants, start_time, threads


def test_a_zombie_has_ended() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert start_time(child.pid) is None
    child.wait()
    assert start_time(child.pid) is None


def test_a_process_started_later_starts_no_earlier() -> None:
    ours = start_time(os.getpid())
    with subprocess.Popen(["sleep", "600"]) as child:
        theirs = start_time(child.pid)
        child.kill()
    assert ours is not None
    assert theirs is not None
    assert ours <= theirs


def test_threads_of_a_process_that_ended_are_not_listed() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    with pytest.raises(ProcessLookupError, match=str(child.pid)):
        threads(child.pid)


def test_what_a_process_has_started_is_its_own_directly_or_not() -> None:
    line = "sleep 600 & echo $!; wait"
    with subprocess.Popen(["bash", "-c", line], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        grandchild = int(child.stdout.readline())
        assert {os.getpid(), child.pid, grandchild} <= descendants(os.getpid())
        assert descendants(child.pid) == {child.pid, grandchild}
        os.kill(grandchild, signal.SIGKILL)
    assert os.getppid() not in descendants(os.getpid())
