"""doctor by the installed command: this machine, recorded ones, broken ones, another user."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import machine_tree
import pytest
from command import COMMAND, Run

from lorabench.host.processes import start_time
from lorabench.results.files import read_result
from lorabench.results.schema import Result

NOBODY = 65534
AREAS = ("processor", "memory", "RDT", "scheduling", "measuring", "host")


def test_this_machine_gets_a_table_with_a_remedy_for_all_that_is_missing(lorabench: Run) -> None:
    run = lorabench("doctor", "--quiet")
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    for word in (*AREAS, "clock source", "isolated", "capabilities: "):
        assert word in run.stdout
    assert "result: " not in run.stdout


def test_the_document_goes_to_stdout_and_into_a_file_only_where_asked(
    lorabench: Run, tmp_path: Path
) -> None:
    path = tmp_path / "out" / "doctor.json"
    run = lorabench("doctor", "--json", "-o", path, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    result = Result.model_validate(json.loads(run.stdout))
    assert read_result(path) == result
    assert "clock source" in run.stderr
    assert str(path) in run.stderr.replace("\n", "")
    assert {"cpu", "pyperf", "topology", "capabilities", "conditions"} <= set(result.environment)
    rows = {row["name"]: row for row in result.environment["capabilities"]}
    assert rows["cpu"]["evidence"].startswith("py-cpuinfo")
    lacks = {lack.what for lack in result.unavailable}
    assert {name for name, row in rows.items() if row["state"] == "unavailable"} <= lacks
    assert lorabench("doctor", cwd=tmp_path).returncode == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_torch_is_not_loaded() -> None:
    code = (
        "import sys; from lorabench.cli import app; app(['doctor'], standalone_mode=False);"
        "assert not {'torch', 'scipy.stats'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_machine_that_was_written_down_is_read_whole(refuse: Run, tmp_path: Path) -> None:
    root = machine_tree.write(tmp_path / "machine", {})
    run = refuse("doctor", "--sysroot", root, "--json")
    assert run.returncode == 0, run.stderr
    assert "as recorded in" in run.stderr
    result = Result.model_validate(json.loads(run.stdout))
    rows = {row["name"]: row for row in result.environment["capabilities"]}
    assert rows["cpu"]["evidence"] == "/proc/cpuinfo"
    assert "physical cores usable" in rows["cores"]["detail"]
    assert rows["numa"]["state"] == "available"
    assert result.metric("numa_nodes", "machine") is not None


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="only root hides /sys from a command: run the tests as root, with unshare(1)",
)
def test_a_sandbox_without_sys_is_examined_with_what_proc_tells(tmp_path: Path) -> None:
    hidden = 'mount -t tmpfs none /sys && exec "$@"'
    run = subprocess.run(
        ["unshare", "--mount", "sh", "-c", hidden, "sh", COMMAND, "doctor", "--json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stderr
    result = Result.model_validate(json.loads(run.stdout))
    (dropped,) = result.environment["topology"]["dropped"]
    assert dropped["what"] == "sysfs"
    assert "/proc/cpuinfo" in dropped["instead"]
    assert "left out of the topology: sysfs" in run.stderr
    rows = {row["name"]: row for row in result.environment["capabilities"]}
    assert "usable" in rows["cores"]["detail"]
    assert rows["cores"]["evidence"].startswith("/proc/cpuinfo")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--sysroot", "absent"], ["absent", "No such file", "proc and sys"]),
        (["--sysroot", "."], ["found no machine", "proc and sys"]),
        (["--sysroot", "file"], ["file", "Not a directory"]),
        (["-o", "."], ["found a folder"]),
        (["--cleanup", "--json"], ["--json", "--cleanup"]),
        (["--cleanup", "--sysroot", "."], ["--sysroot", "--cleanup"]),
    ],
)
def test_bad_usage_is_one_line(
    refuse: Run, tmp_path: Path, options: list[str], expected: list[str]
) -> None:
    (tmp_path / "file").touch()
    run = refuse("doctor", *options, cwd=tmp_path)
    assert run.returncode == 2
    assert run.stdout == ""
    *progress, said = run.stderr.splitlines()
    assert progress in ([], ["lorabench: looking at the machine"])
    for words in expected:
        assert words in said


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter; pytest's own are for the user who runs it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_another_user_sees_what_is_closed_to_him(open_folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become an ordinary user: make test as root")
    root = machine_tree.write(open_folder, {})
    (root / "proc/stat").chmod(0o600)
    (root / "proc/pressure").chmod(0o700)
    for folder in (root, *root.rglob("*")):
        if folder.is_dir() and folder.name != "pressure":
            folder.chmod(0o755)
    # In a child that gives root up for good. The interpreter may lie where nobody may not go, so
    # all is imported before.
    code = f"""
import json, os
from dataclasses import asdict
from pathlib import Path
from lorabench.host.checks import run_checks
from lorabench.isolation.checks import look
run_checks(look())
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
for sysroot in ({str(root)!r}, "/"):
    print(json.dumps([asdict(row) for row in run_checks(look(Path(sysroot)))]))
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stderr
    rows, own = ({r["name"]: r for r in json.loads(line)} for line in run.stdout.splitlines())
    assert rows["no steal"]["detail"] == "unknown: this user may not read it"
    assert rows["psi"]["state"] == "unavailable"
    assert rows["resctrl"]["detail"] == f"user {NOBODY} may not make groups in /sys/fs/resctrl"
    assert rows["cat l3"]["state"] == "restricted"
    assert "/sys/fs/cgroup/user.slice is not writable" in rows["cgroup cpuset"]["detail"]
    assert own["priority"]["state"] == "restricted"
    assert own["sched_idle"]["state"] in ("available", "restricted")


@pytest.fixture
def private(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """An environment whose lock is the test's own."""
    return environment | {"LORABENCH_RUN_DIR": str(tmp_path)}


def cleanup(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "doctor", "--cleanup"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment,
    )


# A run that has started something that outlives it, and then takes its time.
RUN = """
import subprocess, time
from lorabench.isolation.cleanup import run_lock
with run_lock(print):
    print(subprocess.Popen(["sleep", "600"]).pid, flush=True)
    time.sleep(600)
"""


def test_there_may_be_nothing_to_undo(private: dict[str, str]) -> None:
    run = cleanup(private)
    assert (run.returncode, run.stdout, run.stderr) == (0, "there was nothing to undo\n", "")


def test_what_a_killed_run_left_is_undone_but_not_while_it_lives(private: dict[str, str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RUN], env=private, stdout=subprocess.PIPE, text=True
    ) as run:
        try:
            assert run.stdout is not None
            sleeper = int(run.stdout.readline())
            refused = cleanup(private)
            assert refused.returncode == 3
            assert refused.stdout == ""
            assert len(refused.stderr.splitlines()) == 1
            assert str(run.pid) in refused.stderr
            assert start_time(sleeper) is not None
        finally:
            run.send_signal(signal.SIGKILL)
    assert start_time(sleeper) is not None
    undone = cleanup(private)
    assert undone.returncode == 0, undone.stderr
    assert undone.stdout == (
        f"process {sleeper}\nundid what the run of pid {run.pid} had changed\n"
    )
    assert start_time(sleeper) is None
    assert cleanup(private).stdout == "there was nothing to undo\n"
