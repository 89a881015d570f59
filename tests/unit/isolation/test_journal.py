import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorabench.errors import MachineError
from lorabench.isolation.journal import (
    Contents,
    Header,
    Journal,
    Report,
    cleanup,
    parse,
    run_time_folder,
)
from lorabench.isolation.undo import Affinity, Cgroup, Process, ResctrlGroup, Setting

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for another user")


def silent(line: str) -> None:
    raise AssertionError(f"nothing should have been said, but was: {line}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def setting(tmp_path: Path) -> Path:
    path = tmp_path / "setting"
    path.write_text("old\n")
    return path


def change(journal: Journal, path: Path, new: str) -> None:
    journal.record(Setting.before(path, new))
    path.write_text(new)


def run(
    folder: Path,
    act: Callable[[Journal], None],
    say: Callable[[str], None] = silent,
    error: BaseException | None = None,
) -> None:
    """Act under a journal; then end by `error`, if it is given."""
    with Journal.open("run", say, folder) as journal:
        act(journal)
        if error is not None:
            raise error


def run_and_die(code: str, *arguments: object) -> int:
    """Run a program that uses the journal and kills itself; its pid."""
    with subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)]) as child:
        pass
    assert child.returncode == -signal.SIGKILL
    return child.pid


# Changes a setting and is killed.
KILLED = """
import os, signal, sys
from pathlib import Path
from lorabench.isolation.journal import Journal
from lorabench.isolation.undo import Setting
folder, path = map(Path, sys.argv[1:])
with Journal.open("lorabench colocate --killed", print, folder) as journal:
    journal.record(Setting.before(path, "new"))
    path.write_text("new")
    os.kill(os.getpid(), signal.SIGKILL)
"""

# Holds the lock until its stdin ends.
HOLDER = """
import sys
from pathlib import Path
from lorabench.isolation.journal import Journal
with Journal.open("lorabench colocate --held", print, Path(sys.argv[1]) if sys.argv[1:] else None):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def holder(*arguments: object, prefix: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*prefix, sys.executable, "-c", HOLDER, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        yield child
        child.communicate()


def test_changes_are_undone_in_reverse_order(folder: Path, setting: Path) -> None:
    with Journal.open("run", silent, folder) as journal:
        change(journal, setting, "first")
        change(journal, setting, "second")
        assert setting.read_text() == "second"
    assert setting.read_text() == "old\n"
    assert [entry.name for entry in folder.iterdir()] == ["lock"]


@pytest.mark.parametrize("error", [MachineError, ValueError, KeyboardInterrupt, SystemExit])
def test_changes_are_undone_on_every_exception(
    folder: Path, setting: Path, error: type[BaseException]
) -> None:
    with pytest.raises(error):
        run(folder, lambda journal: change(journal, setting, "new"), error=error())
    assert setting.read_text() == "old\n"


def test_a_change_is_on_disk_before_it_is_made(folder: Path, setting: Path) -> None:
    with Journal.open("run", silent, folder) as journal:
        entry = Setting.before(setting, "new")
        journal.record(entry)
        assert parse((folder / "journal.jsonl").read_bytes()).changes == (entry,)
        assert setting.read_text() == "old\n"


def test_a_scope_undoes_what_was_noted_within_and_nothing_else(
    folder: Path, tmp_path: Path
) -> None:
    outer, inner = tmp_path / "outer", tmp_path / "inner"
    outer.write_text("old\n")
    inner.write_text("old\n")
    with Journal.open("run", silent, folder) as journal:
        change(journal, outer, "new")
        for _ in range(2):
            with journal.scope():
                change(journal, inner, "new")
            assert inner.read_text() == "old\n"
        with contextlib.suppress(KeyError), journal.scope():
            change(journal, inner, "new")
            raise KeyError
        assert inner.read_text() == "old\n"
        assert outer.read_text() == "new"
        # What a scope has undone is not undone again, even if somebody sets it to our value.
        inner.write_text("new")
    assert inner.read_text() == "new"
    assert outer.read_text() == "old\n"


def test_a_value_that_somebody_else_has_set_since_is_left_and_said(
    folder: Path, setting: Path
) -> None:
    said: list[str] = []
    with Journal.open("run", said.append, folder) as journal:
        change(journal, setting, "new")
        setting.write_text("theirs")
    assert setting.read_text() == "theirs"
    assert said == [f"setting {setting} was left at 'theirs': somebody has changed it since"]
    assert not (folder / "journal.jsonl").exists()


def test_what_cannot_be_undone_is_said_in_a_line_kept_and_tried_again(
    folder: Path, setting: Path, tmp_path: Path
) -> None:
    group = tmp_path / "lorabench-1-trainer"

    def act(journal: Journal) -> None:
        change(journal, setting, "new")
        journal.record(ResctrlGroup(path=group))
        (group / "full").mkdir(parents=True)

    with pytest.raises(MachineError, match=r"could not undo .*-1-trainer .*tries again") as error:
        run(folder, act)
    assert "\n" not in str(error.value)
    assert setting.read_text() == "old\n"  # the rest was undone
    with pytest.raises(MachineError, match=r"undo it by hand and remove .*journal.jsonl"):
        Journal.open("next", silent, folder)
    assert len(cleanup(folder).failed) == 1
    (group / "full").rmdir()
    report = cleanup(folder)
    assert report.undone == (f"resctrl group {group}",)
    assert not group.exists()
    assert cleanup(folder) == Report()


def test_a_failure_to_undo_does_not_hide_the_error_under_way(folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    group = tmp_path / "lorabench-1-trainer"

    def act(journal: Journal) -> None:
        journal.record(ResctrlGroup(path=group))
        (group / "full").mkdir(parents=True)

    with pytest.raises(KeyboardInterrupt):
        run(folder, act, said.append, KeyboardInterrupt())
    assert len(said) == 1
    assert said[0].startswith("could not undo")


def test_the_next_run_undoes_what_a_killed_one_left_and_says_so(
    folder: Path, setting: Path
) -> None:
    pid = run_and_die(KILLED, folder, setting)
    assert setting.read_text() == "new"
    said: list[str] = []
    with Journal.open("next", said.append, folder):
        assert setting.read_text() == "old\n"
        assert said == [
            f"undid what the run of pid {pid} (lorabench colocate --killed) had changed: "
            f"setting {setting}"
        ]


def test_cleanup_undoes_what_a_killed_run_left_and_then_finds_nothing(
    folder: Path, setting: Path
) -> None:
    pid = run_and_die(KILLED, folder, setting)
    report = cleanup(folder)
    assert setting.read_text() == "old\n"
    assert report.undone == (f"setting {setting}",)
    assert str(pid) in report.run
    assert str(cleanup(folder)) == "nothing had been left behind"


def test_a_journal_of_an_earlier_boot_is_dropped_for_nothing_outlives_a_boot(
    folder: Path, setting: Path
) -> None:
    run_and_die(KILLED, folder, setting)
    journal = folder / "journal.jsonl"
    header, _, rest = journal.read_text().partition("\n")
    stale = Header.model_validate_json(header).model_copy(update={"boot": "another"})
    journal.write_text(f"{stale.model_dump_json()}\n{rest}")
    assert cleanup(folder) == Report()
    assert setting.read_text() == "new"
    assert not journal.exists()


def test_a_second_run_is_refused_with_the_pid_of_the_first(folder: Path, setting: Path) -> None:
    with holder(folder) as first:
        for act in (lambda: Journal.open("second", silent, folder), lambda: cleanup(folder)):
            with pytest.raises(
                MachineError, match=rf"pid {first.pid}: lorabench colocate --held"
            ) as error:
                act()
            assert error.value.exit_code == 3
    with Journal.open("second", silent, folder):
        pass


def test_a_run_that_was_killed_does_not_hold_up_the_next(folder: Path) -> None:
    with holder(folder) as first:
        first.kill()
    with Journal.open("second", silent, folder):
        pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_undo_and_a_second_one_does_not_cut_that_short(
    folder: Path, setting: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """A setting that is a pipe holds the undoing up until the second signal has come."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    code = """
import os, signal, sys, time
from pathlib import Path
from lorabench.isolation.journal import Journal
from lorabench.isolation.undo import Setting
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.default_int_handler)
folder, path, pipe = map(Path, sys.argv[1:])
with Journal.open("run", print, folder) as journal:
    journal.record(Setting.before(path, "new"))
    path.write_text("new")
    journal.record(Setting(path=pipe, old="x", new="y"))
    print("changed", flush=True)
    time.sleep(600)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, folder, setting, pipe],
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
            assert setting.read_text() == "new"
            blocked.write("theirs")
        assert "KeyboardInterrupt" in child.stderr.read()
    assert setting.read_text() == "old\n"
    assert not (folder / "journal.jsonl").exists()


def test_signals_are_left_alone_outside_the_main_thread(folder: Path, setting: Path) -> None:
    def work() -> None:
        with Journal.open("run", silent, folder) as journal:
            change(journal, setting, "new")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert setting.read_text() == "old\n"


def test_the_journal_is_for_its_user_alone(folder: Path) -> None:
    with Journal.open("run", silent, folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(entry.stat().st_mode) for entry in folder.iterdir()} == {0o600}


@pytest.mark.parametrize("name", ["lock", "journal.jsonl"])
def test_a_link_in_the_folder_is_refused(folder: Path, setting: Path, name: str) -> None:
    folder.mkdir(mode=0o700)
    (folder / name).symlink_to(setting)
    with pytest.raises(MachineError, match=rf"{name}: cannot be opened .* this user's own"):
        Journal.open("run", silent, folder)
    assert setting.read_text() == "old\n"


def test_a_folder_that_is_a_link_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MachineError, match=r"cannot be used as run-time folder"):
        Journal.open("run", silent, folder)


def test_a_folder_that_others_may_write_to_is_refused(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o770)
    with pytest.raises(MachineError, match=r"mode 0770, expected .* writable by nobody else"):
        cleanup(folder)


@as_root
@pytest.mark.parametrize("name", ["", "lock", "journal.jsonl"])
def test_what_another_user_owns_is_refused(folder: Path, name: str) -> None:
    folder.mkdir(mode=0o700)
    if name:
        (folder / name).touch()
    os.chown(folder / name, 65534, 65534)
    with pytest.raises(MachineError, match=r"found owner 65534 .*, expected user 0's own"):
        Journal.open("run", silent, folder)


def test_a_missing_parent_of_the_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"gone/run: .*No such file"):
        cleanup(tmp_path / "gone/run")


# A journal that can grow no further: a full disk, as far as writing to it goes.
FULL = """
import resource, signal, sys
from pathlib import Path
from lorabench.errors import MachineError
from lorabench.isolation.journal import Journal
from lorabench.isolation.undo import Setting
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder, path = map(Path, sys.argv[1:])
with Journal.open("run", print, folder) as journal:
    journal.record(Setting.before(path, "new"))
    path.write_text("new")
    size = (folder / "journal.jsonl").stat().st_size
    for room in (10, 0):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, resource.RLIM_INFINITY))
        try:
            journal.record(Setting.before(path, "newer"))
        except MachineError as error:
            print(error)
        assert (folder / "journal.jsonl").stat().st_size == size
"""


def test_a_change_that_cannot_be_noted_is_refused_and_those_before_are_undone(
    folder: Path, setting: Path
) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FULL, folder, setting], capture_output=True, text=True, check=True
    )
    assert [line.split(" (")[0] for line in ran.stdout.splitlines()] == [
        f"{folder / 'journal.jsonl'}: cannot be written"
    ] * 2
    assert setting.read_text() == "old\n"
    assert not (folder / "journal.jsonl").exists()


def test_roots_folder_is_never_one_that_somebody_else_owns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert run_time_folder() == tmp_path / "lorabench"
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    assert run_time_folder() != Path("relative/lorabench")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    if os.geteuid() == 0:
        assert run_time_folder() == Path("/run/lorabench")
        os.chown(tmp_path, 65534, 65534)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        assert run_time_folder() == Path("/run/lorabench")
    else:
        assert run_time_folder().name == f"lorabench-{os.geteuid()}"


# Opens as root, and meanwhile as an ordinary user, each with a run-time folder of its own.
TWO_USERS = """
import os, sys
from lorabench.errors import MachineError
from lorabench.isolation.journal import Journal, run_time_folder
with Journal.open("first", print):
    print(os.getpid(), run_time_folder(), flush=True)
    if os.fork() == 0:
        os.environ["XDG_RUNTIME_DIR"] = sys.argv[1]
        os.setgid(65534)
        os.setuid(65534)
        try:
            Journal.open("second", print)
        except MachineError as error:
            print(run_time_folder(), error)
        sys.stdout.flush()
        os._exit(0)
    os.wait()
"""


@as_root
def test_one_run_a_machine_even_of_different_users(tmp_path: Path) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare (util-linux)")
    machine_wide = {k: v for k, v in os.environ.items() if k != "LORABENCH_RUN_DIR"}
    theirs = Path(tempfile.mkdtemp())
    os.chown(theirs, 65534, 65534)
    try:
        ran = subprocess.run(
            # A network namespace of its own, so that no real run is in the way.
            ["unshare", "--net", sys.executable, "-c", TWO_USERS, theirs],
            capture_output=True,
            text=True,
            check=True,
            env=machine_wide | {"XDG_RUNTIME_DIR": str(tmp_path)},
        )
    finally:
        shutil.rmtree(theirs)
    first, second = ran.stdout.splitlines()
    pid = first.split()[0]
    assert first == f"{pid} {tmp_path}/lorabench"
    assert second.startswith(
        f"{theirs}/lorabench a run is under way on this machine (pid {pid} of user 0: "
    )


# The parser.

names = st.text(alphabet='abc-_.\u00e9\n\\"', min_size=1, max_size=8)
paths = names.map(lambda name: Path("/sys") / name.replace("/", "_"))
numbers = st.integers(0, 2**40)
entries = st.one_of(
    st.builds(Setting, path=paths, old=names, new=names),
    st.builds(ResctrlGroup, path=names.map(lambda n: Path(f"/sys/lorabench-{n}"))),
    st.builds(Cgroup, path=names.map(lambda n: Path(f"/sys/lorabench-{n}")), origin=paths),
    st.builds(Process, pid=numbers, start=numbers),
    st.builds(
        Affinity,
        pid=numbers,
        start=numbers,
        old=st.dictionaries(numbers, st.lists(numbers, max_size=3).map(tuple), max_size=3),
        new=st.lists(numbers, max_size=3).map(tuple),
    ),
)
HEADER = Header(pid=1, start=2, boot="b", command="lorabench colocate\n")


@given(st.lists(entries, max_size=5), st.data())
@settings(max_examples=100)
def test_a_journal_cut_off_anywhere_reads_as_what_was_finished(written, data) -> None:
    lines = [line.model_dump_json().encode() + b"\n" for line in (HEADER, *written)]
    undone = data.draw(
        st.lists(st.sampled_from(range(len(written))), unique=True) if written else st.just([])
    )
    lines += [b'{"kind":"undone","number":%d}\n' % number for number in undone]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    found = parse(whole[:cut])
    finished = whole[:cut].count(b"\n")
    assert found.length == sum(map(len, lines[:finished]))
    assert found.header == (HEADER if finished else None)
    kept = max(0, min(finished - 1, len(written)))
    assert found.changes == tuple(written[:kept])
    assert found.undone == set(undone[: max(0, finished - 1 - len(written))])


@given(st.binary(max_size=80))
def test_bytes_that_are_no_journal_are_refused_or_taken_for_unfinished(noise: bytes) -> None:
    if b"\n" in noise:
        with pytest.raises(ValueError, match="line 1: found "):
            parse(noise)
    else:
        assert parse(noise) == Contents(None, (), frozenset(), 0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"kind":"undone","number":1}', "line 3: found entry 1 undone, expected one of the 1"),
        ('{"kind":"hypnosis"}', "line 3: found b'.*hypnosis.*"),
        ('{"kind":"resctrl-group","path":"/sys/fs/resctrl/theirs"}', "name begins with lorabench-"),
        ('{"kind":"setting","path":"sys/x","old":"","new":""}', "expected an absolute path"),
        ("", "line 3: found b''"),
    ],
)
def test_a_finished_line_that_is_none_of_ours_is_named(
    folder: Path, line: str, message: str
) -> None:
    folder.mkdir(mode=0o700)
    lines = [HEADER.model_dump_json(), Process(pid=1, start=1).model_dump_json(), line]
    text = "".join(f"{one}\n" for one in lines)
    with pytest.raises(ValueError, match=message):
        parse(text.encode())
    (folder / "journal.jsonl").write_text(text)
    (folder / "journal.jsonl").chmod(0o600)
    with pytest.raises(MachineError, match=rf"journal.jsonl: {message}|{message}"):
        cleanup(folder)


# Runs that note, change, end and die in any order.

steps = st.tuples(st.integers(0, 2), st.sampled_from("abc"), st.booleans())
runs = st.tuples(st.lists(steps, max_size=5), st.sampled_from(["left", "raised", "killed"]))


@given(st.lists(runs, max_size=4))
@settings(max_examples=50)
def test_whatever_runs_do_and_however_they_end_all_is_as_before(history) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as base:
        files = [Path(base) / f"setting{number}" for number in range(3)]
        for file in files:
            file.write_text("old\n")
        for made, end in history:
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    code = act(Path(base) / "run", files, made, end)
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            if end != "killed":
                assert {file.read_text() for file in files} == {"old\n"}
        cleanup(Path(base) / "run")
        assert {file.read_text() for file in files} == {"old\n"}
        assert not (Path(base) / "run/journal.jsonl").exists()


def act(folder: Path, files: list[Path], made: list[tuple[int, str, bool]], end: str) -> int:
    try:
        with Journal.open("run", lambda _: None, folder) as journal:
            if {file.read_text() for file in files} != {"old\n"}:
                return 2  # the last run's changes were still there
            for number, new, really in made:
                journal.record(Setting.before(files[number], new))
                if really:
                    files[number].write_text(new)
            if end == "killed":
                os._exit(0)
            if end == "raised":
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        return 0
    return 0
