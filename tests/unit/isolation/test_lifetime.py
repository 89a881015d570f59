import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# A parent that starts a child, says its id, and waits. The child blocks in a system call: only the
# kernel can end it.
PARENT = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_DFL)  # a background job is started with it ignored
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid())],
                         stdin=subprocess.DEVNULL)
print(child.pid, flush=True)
time.sleep(600)
"""

CHILD = """
import signal, sys
from lorabench.isolation.lifetime import die_with_parent
signal.signal(signal.SIGTERM, signal.SIG_IGN)
die_with_parent(int(sys.argv[1]))
open("/proc/self/comm", "w").write("bound")
signal.pause()
"""

LOOSE = """
import signal
open("/proc/self/comm", "w").write("bound")
signal.pause()
"""


def comm(pid: int) -> str | None:
    """Give a process's name; None if it has ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return None if state in "ZX" else Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None


def until(condition, seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def start(child: str) -> tuple[subprocess.Popen[str], int]:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, child], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert until(lambda: comm(pid) == "bound")
    return parent, pid


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_child_ends_when_its_parent_does_however_that_ends(how: signal.Signals):
    parent, pid = start(CHILD)
    with parent:
        assert comm(pid) == "bound"
        parent.send_signal(how)
        parent.wait()
        assert until(lambda: comm(pid) is None)


def test_a_child_that_did_not_promise_lives_on():
    """The test above would notice a promise that is not kept."""
    parent, pid = start(LOOSE)
    with parent:
        parent.kill()
        parent.wait()
        try:
            assert not until(lambda: comm(pid) is None, seconds=0.5)
        finally:
            os.kill(pid, signal.SIGKILL)


def test_a_child_whose_parent_has_gone_already_ends_at_once():
    """The race: the parent dies between starting the child and the child's promise."""
    program = (
        "import sys; from lorabench.isolation.lifetime import die_with_parent\n"
        "die_with_parent(int(sys.argv[1])); print('still here')"
    )
    somebody_else = os.getppid()
    run = subprocess.run(
        [sys.executable, "-c", program, str(somebody_else)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout == run.stderr == ""
    mine = subprocess.run(
        [sys.executable, "-c", program, str(os.getpid())],
        capture_output=True,
        text=True,
        check=True,
    )
    assert mine.stdout == "still here\n"
