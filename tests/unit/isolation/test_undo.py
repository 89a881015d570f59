import os
import subprocess
from pathlib import Path

import pytest
from children import RESTLESS, process
from pydantic import ValidationError

from lorabench.errors import MachineError
from lorabench.host.processes import start_time
from lorabench.isolation.affinity import pin_threads, thread_affinities
from lorabench.isolation.undo import (
    Affinity,
    Cgroup,
    CgroupMember,
    Controllers,
    Process,
    ResctrlGroup,
    Setting,
)

ALLOWED = frozenset(os.sched_getaffinity(0))
ONE = frozenset({max(ALLOWED)})

needs_two_cpus = pytest.mark.skipif(len(ALLOWED) < 2, reason="another CPU needs a second one")


def test_of_a_choice_the_word_in_brackets_is_the_value(tmp_path: Path) -> None:
    path = tmp_path / "enabled"
    path.write_text("always [madvise] never\n")
    entry = Setting.before(path, "never")
    assert entry.old == "madvise"
    path.write_text("always madvise [never]\n")
    assert entry.undo() is None
    assert path.read_text() == "madvise\n"


def test_a_setting_is_undone_however_often_and_whether_or_not_it_was_made(tmp_path: Path) -> None:
    path = tmp_path / "value"
    path.write_text("1\n")
    entry = Setting.before(path, "2")
    assert entry.undo() is None
    path.write_text("2\n")
    for _ in range(2):
        assert entry.undo() is None
        assert path.read_text() == "1\n"
    path.unlink()  # a CPU that went offline, say
    assert entry.undo() is None
    assert not path.exists()


def test_a_setting_that_the_kernel_does_not_take_back_is_reported() -> None:
    entry = Setting(path=Path("/dev/null"), old="old", new="")
    with pytest.raises(MachineError, match="the kernel kept '' and did not take 'old'"):
        entry.undo()


def test_a_process_that_only_has_the_pid_is_left_alone() -> None:
    with subprocess.Popen(["sleep", "600"]) as child:
        entry = Process.of(child.pid)
        assert entry.model_copy(update={"start": entry.start + 1}).undo() is None
        assert start_time(child.pid) == entry.start
        assert entry.undo() is None
        assert start_time(child.pid) is None
        assert entry.undo() is None  # a zombie
        child.wait()
        assert entry.undo() is None
    assert child.returncode == -9


def test_a_process_that_has_ended_cannot_be_noted() -> None:
    with subprocess.Popen(["true"]) as child:
        child.wait()
    for note in (lambda: Process.of(child.pid), lambda: Affinity.before(child.pid, ALLOWED)):
        with pytest.raises(ProcessLookupError, match=str(child.pid)):
            note()


@needs_two_cpus
def test_threads_go_back_but_for_those_that_somebody_else_has_moved() -> None:
    with process(RESTLESS) as child:
        first, second = sorted(set(thread_affinities(child.pid)) - {child.pid})[:2]
        other = frozenset({min(ALLOWED)})
        os.sched_setaffinity(first, other)
        entry = Affinity.before(child.pid, ONE)
        pin_threads(child.pid, ONE)
        os.sched_setaffinity(second, other)
        assert entry.undo() is None
        found = thread_affinities(child.pid)
        assert found[child.pid] == ALLOWED
        assert found[first] == other
        assert found[second] == other
        # A thread of somebody else's process that has taken the pid is not touched.
        pin_threads(child.pid, ONE)
        assert entry.model_copy(update={"start": entry.start + 1}).undo() is None
        assert thread_affinities(child.pid)[child.pid] == ONE


@needs_two_cpus
def test_a_thread_that_was_started_since_goes_where_the_first_one_was() -> None:
    code = """
import sys, threading
print(flush=True)
input()
threading.Thread(target=threading.Event().wait, daemon=True).start()
print(flush=True)
sys.stdin.read()
"""
    with process(code) as child:
        entry = Affinity.before(child.pid, ONE)
        pin_threads(child.pid, ONE)
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write("\n")
        child.stdin.flush()
        child.stdout.readline()
        assert len(thread_affinities(child.pid)) == 2
        assert entry.undo() is None
        assert set(thread_affinities(child.pid).values()) == {ALLOWED}


@pytest.mark.parametrize(
    "make",
    [
        lambda: ResctrlGroup(path=Path("/sys/fs/resctrl/theirs")),
        lambda: Cgroup(path=Path("/sys/fs/cgroup/system.slice"), origin=Path("/sys/fs/cgroup")),
        lambda: Cgroup(path=Path("lorabench-1"), origin=Path("/sys/fs/cgroup")),
        lambda: CgroupMember(pid=1, start=1, path=Path("/sys/fs/cgroup/a"), origin=Path("/")),
        lambda: Setting(path=Path("sys/x"), old="", new=""),
        lambda: Controllers(path=Path("/sys/fs/cgroup"), names=()),
    ],
)
def test_what_is_not_ours_cannot_even_be_noted(make) -> None:
    with pytest.raises(ValidationError):
        make()


def test_folders_that_are_gone_are_undone(tmp_path: Path) -> None:
    gone = tmp_path / "lorabench-1-trainer"
    for entry in (
        ResctrlGroup(path=gone),
        Cgroup(path=gone, origin=tmp_path),
        CgroupMember(pid=1, start=1, path=gone, origin=tmp_path),
        Controllers(path=gone, names=("cpu",)),
    ):
        assert entry.undo() is None


def test_only_controllers_of_ours_that_are_still_on_are_switched_off(tmp_path: Path) -> None:
    switch = tmp_path / "cgroup.subtree_control"
    switch.write_text("cpu memory\n")
    assert Controllers(path=tmp_path, names=("cpu", "cpuset")).undo() is None
    assert switch.read_text() == "-cpu"
    assert Controllers(path=tmp_path, names=("io",)).undo() is None
    assert switch.read_text() == "-cpu"
