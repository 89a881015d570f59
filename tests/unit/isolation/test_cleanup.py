"""One run a machine, and a sweep of what runs have left and nobody owns any more."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorabench.errors import MachineError
from lorabench.host.files import Files
from lorabench.host.owner import VARIABLE, Owner
from lorabench.host.processes import start_time
from lorabench.isolation import cgroups
from lorabench.isolation.cleanup import cleanup, end_process, run_lock, sweep
from lorabench.isolation.undoing import Report, undoing

as_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can be somebody else: make unit as root"
)


def gone() -> Owner:
    """A pid that is taken, and a time at which nobody started."""
    return replace(Owner.this(), start=1)


def silent(line: str) -> None:
    raise AssertionError(f"nothing should have been said, but was: {line}")


@pytest.fixture(autouse=True)
def own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORABENCH_RUN_DIR", str(tmp_path))


def write_machine(root: Path) -> Files:
    """A machine with a resctrl of plain folders."""
    (root / "proc").mkdir(parents=True)
    (root / "proc/mounts").write_text("resctrl /sys/fs/resctrl resctrl rw 0 0\n")
    (root / "sys/fs/resctrl").mkdir(parents=True)
    return Files(root)


@pytest.fixture
def machine(tmp_path: Path) -> Files:
    return write_machine(tmp_path / "machine")


def environment_of(child: subprocess.Popen[bytes]) -> list[bytes]:
    path = Path(f"/proc/{child.pid}/environ")
    while not (found := path.read_bytes()):
        time.sleep(0.001)  # the kernel is still about to execute it
    return found.split(b"\0")


def make(machine: Files, name: str) -> Path:
    folder = machine.under("/sys/fs/resctrl") / name
    folder.mkdir()
    return folder


# The lock.

HOLDER = """
import sys
from lorabench.isolation.cleanup import run_lock
with run_lock(print):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def holder(**environment: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, "--held"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        yield child
        child.communicate()


def take_lock() -> None:
    with run_lock(silent):
        pass


def test_a_second_run_is_refused_with_pid_and_command_of_the_first(tmp_path: Path) -> None:
    with holder() as first:
        for act in (take_lock, cleanup):
            with pytest.raises(MachineError, match=rf"pid {first.pid} of user \d+: .*") as error:
                act()
            assert error.value.exit_code == 3
            assert "\n" not in str(error.value)
        with holder(LORABENCH_RUN_DIR=str(tmp_path / "elsewhere")):
            pass  # runs that are told apart do not see each other
        first.kill()
    take_lock()


def test_a_run_may_be_part_of_the_one_that_gives_it_turns_and_of_no_other() -> None:
    with holder() as first:
        with run_lock(silent, within=first.pid) as owner:
            assert owner.pid == os.getpid()
            with pytest.raises(MachineError, match=f"pid {first.pid} of user"):
                take_lock()  # the name is still the first one's alone
        for other in (None, os.getpid()):
            within = run_lock(silent, within=other)
            with pytest.raises(MachineError, match="a run is under way"), within:
                pass


# Holds the lock as root, and asks for it meanwhile as an ordinary user.
TWO_USERS = """
import os
from lorabench.errors import MachineError
from lorabench.isolation.cleanup import run_lock
with run_lock(print):
    print(os.getpid(), flush=True)
    if os.fork() == 0:
        os.setgid(65534)
        os.setuid(65534)
        try:
            with run_lock(print):
                pass
        except MachineError as error:
            print(error)
        os.sys.stdout.flush()
        os._exit(0)
    os.wait()
"""


@as_root
def test_one_run_a_machine_even_of_different_users() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", TWO_USERS], capture_output=True, text=True, check=True
    )
    pid, second = ran.stdout.splitlines()
    assert second.startswith(f"a run is under way on this machine (pid {pid} of user 0: ")


# The sweep.


def test_what_has_no_living_owner_is_taken_away_and_nothing_else(machine: Files) -> None:
    ours = Owner.this()
    inside = replace(gone(), domain="0" * 8)
    kept = [
        make(machine, name)
        for name in ("pod-a", "lorabench-x", ours.name("serving"), inside.name("serving"))
    ]
    dead = make(machine, gone().name("serving"))
    report = sweep(machine=machine)
    assert report == Report(undone=[f"resctrl group {dead}"], pids={gone().pid})
    assert not dead.exists()
    assert all(folder.exists() for folder in kept)
    assert str(sweep(machine=machine)) == "nothing had been left behind"


@as_root
def test_what_is_another_users_is_for_that_user_or_root_to_take_away(machine: Files) -> None:
    ours, theirs = make(machine, gone().name("serving")), make(machine, gone().name("trainer"))
    for folder in (*machine.root.parents, machine.root, *machine.root.rglob("*")):
        if folder.is_relative_to(tempfile.gettempdir()) and folder != Path(tempfile.gettempdir()):
            folder.chmod(0o777)
    os.chown(theirs, 65534, 65534)
    os.seteuid(65534)
    try:
        report = sweep(machine=machine)
    finally:
        os.seteuid(0)
    assert report.undone == [f"resctrl group {theirs}"]
    assert ours.exists()


def test_a_process_is_ended_by_the_owner_in_its_environment() -> None:
    tokens = {"dead": gone().token, "alive": Owner.this().token, "nobody's": "what is this"}
    with contextlib.ExitStack() as stack:
        children = {}
        for name, token in tokens.items():
            child = subprocess.Popen(["sleep", "600"], env={**os.environ, VARIABLE: token})
            stack.callback(child.wait)
            stack.callback(child.kill)
            assert environment_of(child)
            children[name] = child
        report = sweep()
        assert f"process {children['dead'].pid}" in report.undone
        assert children["dead"].wait() == -signal.SIGKILL
        assert children["alive"].poll() is None
        assert children["nobody's"].poll() is None


def test_a_process_that_only_has_the_pid_is_left_alone() -> None:
    with subprocess.Popen(["sleep", "600"]) as child:
        start = start_time(child.pid)
        assert start is not None
        end_process(child.pid, start + 1)
        assert start_time(child.pid) == start
        for _ in range(2):  # then a zombie
            end_process(child.pid, start)
            assert start_time(child.pid) is None
    end_process(child.pid, start)
    assert child.returncode == -signal.SIGKILL


def test_children_bear_their_owner_and_end_with_the_run(machine: Files) -> None:
    before = os.environ.get(VARIABLE)
    with run_lock(silent, machine) as owner:
        assert owner == Owner.this()
        child = subprocess.Popen(["sleep", "600"])
        assert f"{VARIABLE}={owner.token}".encode() in environment_of(child)
    assert child.wait() == -signal.SIGKILL
    assert os.environ.get(VARIABLE) == before


def test_a_run_undoes_first_what_a_killed_one_left_and_says_so(machine: Files) -> None:
    dead = make(machine, gone().name("trainer"))
    said: list[str] = []
    with run_lock(said.append, machine):
        assert not dead.exists()
    assert said == [f"undid what the run of pid {gone().pid} had changed: resctrl group {dead}"]


def test_a_run_is_refused_on_a_machine_that_cannot_be_cleaned_up(machine: Files) -> None:
    stuck = make(machine, gone().name("trainer"))
    (stuck / "full").mkdir()
    refused = pytest.raises(MachineError, match=r"could not undo .*-trainer .*undo it by hand")
    with refused, run_lock(silent, machine):
        raise AssertionError
    assert len(cleanup(machine).failed) == 1
    (stuck / "full").rmdir()
    assert cleanup(machine).undone == [f"resctrl group {stuck}"]


def test_what_a_run_cannot_undo_at_its_end_is_said_and_hides_no_error(machine: Files) -> None:
    def run(say, error: BaseException | None) -> None:
        with run_lock(say, machine) as owner:
            folder = make(machine, owner.name("trainer"))
            (folder / "full").mkdir()
            if error is not None:
                raise error

    with pytest.raises(MachineError, match=r"could not undo .*-trainer .*tries again"):
        run(silent, None)
    shutil.rmtree(machine.under("/sys/fs/resctrl"))
    machine.under("/sys/fs/resctrl").mkdir()
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run(said.append, KeyboardInterrupt())
    assert len(said) == 1
    assert re.search("could not undo .*-trainer .*tries again", said[0])


# Undoing.


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt, SystemExit])
def test_undoing_happens_however_the_context_ends(error: type[BaseException] | None) -> None:
    done = []
    with contextlib.suppress(BaseException), undoing(lambda: done.append(1)):
        if error is not None:
            raise error
    assert done == [1]


def test_an_error_in_undoing_is_raised_unless_another_is_under_way() -> None:
    def fail() -> None:
        raise MachineError("it cannot be undone")

    def run(error: BaseException | None) -> None:
        with undoing(fail):
            if error is not None:
                raise error

    with pytest.raises(MachineError, match="cannot be undone"):
        run(None)
    with pytest.raises(KeyboardInterrupt):
        run(KeyboardInterrupt())


# A pipe holds the undoing up until the second signal has come.
INTERRUPTED = """
import signal, sys, time
from lorabench.isolation.undoing import INTERRUPTING, undoing
for number in INTERRUPTING:
    signal.signal(number, signal.default_int_handler)
with undoing(lambda: print(open(sys.argv[1]).read(), flush=True)):
    print("changed", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_undo_and_a_second_one_does_not_cut_that_short(
    tmp_path: Path, number: signal.Signals
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, pipe],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == "changed\n"
        child.send_signal(number)
        with pipe.open("w") as blocked:  # opens once the undoing reads
            child.send_signal(number)
            blocked.write("undone")
        assert child.stdout.readline() == "undone\n"
        assert "KeyboardInterrupt" in child.stderr.read()


def test_signals_are_left_alone_outside_the_main_thread() -> None:
    done: list[int] = []

    def work() -> None:
        with undoing(lambda: done.append(1)):
            pass

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [1]


# v2's controllers, as far as folders can show them; a real one is in the guest (tests/support).


def test_only_controllers_of_ours_that_are_still_on_are_switched_off(tmp_path: Path) -> None:
    switch = tmp_path / "cgroup.subtree_control"
    switch.write_text("cpu memory\n")
    (tmp_path / gone().name("enabled-cpu+cpuset")).mkdir()
    report = Report()
    cgroups.tidy(tmp_path, gone(), report, last=True)
    assert switch.read_text() == "-cpu"
    assert report.undone == [f"controllers cpu cpuset in {switch}"]


def test_a_parent_that_is_gone_holds_nothing_of_ours(tmp_path: Path) -> None:
    report = Report()
    cgroups.tidy(tmp_path / "gone", gone(), report)
    assert report == Report()


# Runs that make things, end and die in any order.

runs = st.tuples(
    st.lists(st.sampled_from(["serving", "trainer"]), unique=True),
    st.sampled_from(["left", "raised", "killed"]),
)


@given(st.lists(runs, max_size=4))
@settings(max_examples=30)
def test_whatever_runs_do_and_however_they_end_all_is_as_before(history) -> None:
    with tempfile.TemporaryDirectory() as folder:
        machine = write_machine(Path(folder) / "machine")
        root = machine.under("/sys/fs/resctrl")
        for roles, end in history:
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    code = act(machine, roles, end)
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            if end != "killed":
                assert list(root.iterdir()) == []
        cleanup(machine)
        assert list(root.iterdir()) == []


def act(machine: Files, roles: list[str], end: str) -> int:
    with contextlib.suppress(KeyboardInterrupt), run_lock(lambda _: None, machine) as owner:
        if list(machine.under("/sys/fs/resctrl").iterdir()):
            return 2  # the last run's were still there
        for role in roles:
            make(machine, owner.name(role))
        if end == "killed":
            os._exit(0)
        if end == "raised":
            raise KeyboardInterrupt
    return 0
