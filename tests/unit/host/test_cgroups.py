"""Where a process is in the control groups, of either version, and what they allow it."""

import os
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.errors import InputError
from lorabench.host.cgroups import (
    Cpuset,
    locate,
    memory_limit,
    parse_membership,
    read_cpuset,
)
from lorabench.host.files import Files
from lorabench.host.quota import cpu_quota

UNIFIED = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nsdelegate 0 0\n"
SPLIT = (
    "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
    "cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n"
)


def write(root: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def test_without_control_groups_nothing_is_ruled_out(tmp_path: Path):
    assert read_cpuset(tmp_path) == Cpuset()


def test_a_group_without_the_controller_has_what_the_nearest_above_has(tmp_path: Path):
    files = {
        "proc/mounts": UNIFIED,
        "proc/self/cgroup": "0::/a/b/c\n",
        "sys/fs/cgroup/cpuset.cpus.effective": "0-31\n",
        "sys/fs/cgroup/a/cpuset.cpus.effective": "4-7\n",
        "sys/fs/cgroup/a/cpuset.mems.effective": "1\n",
        "sys/fs/cgroup/a/b/c/cpu.weight": "100\n",
    }
    assert read_cpuset(write(tmp_path, files)) == Cpuset(frozenset({4, 5, 6, 7}), frozenset({1}))


def test_a_container_that_sees_its_own_group_as_the_root_finds_it_there(tmp_path: Path):
    files = {
        "proc/mounts": SPLIT,
        "proc/self/cgroup": "5:cpuset:/docker/0123abc\n4:memory:/docker/0123abc\n",
        "sys/fs/cgroup/cpuset/cpuset.cpus": "2-3\n",
        "sys/fs/cgroup/cpuset/cpuset.mems": "0\n",
    }
    assert read_cpuset(write(tmp_path, files)) == Cpuset(frozenset({2, 3}), frozenset({0}))


def test_what_is_in_force_counts_before_what_was_configured(tmp_path: Path):
    files = {
        "proc/mounts": SPLIT,
        "proc/self/cgroup": "5:cpuset:/job\n",
        "sys/fs/cgroup/cpuset/job/cpuset.cpus": "0-7\n",
        "sys/fs/cgroup/cpuset/job/cpuset.effective_cpus": "0-5\n",
        "sys/fs/cgroup/cpuset/job/cpuset.mems": "0\n",
    }
    assert read_cpuset(write(tmp_path, files)).cpus == frozenset(range(6))


def test_the_hierarchy_that_has_the_controller_is_read(tmp_path: Path):
    files = {
        "proc/mounts": SPLIT + "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n",
        "proc/self/cgroup": "3:cpuset:/job\n0::/other\n",
        "sys/fs/cgroup/cpuset/job/cpuset.cpus": "1\n",
        "sys/fs/cgroup/unified/other/cpuset.cpus.effective": "0\n",
    }
    assert read_cpuset(write(tmp_path, files)).cpus == {1}


def test_an_old_recording_has_the_group_in_another_file(tmp_path: Path):
    files = {
        "proc/mounts": r"cpuset /dev/cpu\040set cpuset rw 0 0",
        "proc/self/cpuset": "/job\n",
        "dev/cpu set/job/cpus": "1-2\n",
        "dev/cpu set/job/mems": "0\n",
    }
    assert read_cpuset(write(tmp_path, files)) == Cpuset(frozenset({1, 2}), frozenset({0}))


def test_no_path_leads_out_of_the_mount(tmp_path: Path):
    files = {
        "proc/mounts": UNIFIED,
        "proc/self/cgroup": "0::/../../escape\n",
        "sys/escape/cpuset.cpus.effective": "0\n",
        "sys/fs/cgroup/cpuset.cpus.effective": "0-3\n",
    }
    assert read_cpuset(write(tmp_path, files)).cpus == frozenset(range(4))


def test_a_set_that_does_not_parse_is_named_with_its_file(tmp_path: Path):
    files = {
        "proc/mounts": UNIFIED,
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/cpuset.cpus.effective": "many\n",
    }
    with pytest.raises(InputError, match=r"cpuset.cpus.effective: found 'many', expected"):
        read_cpuset(write(tmp_path, files))


@given(
    st.text(alphabet="0123:,cpusetgrou/. \n", max_size=60),
    st.text(alphabet="cpusetgrou2/, \n\\041", max_size=60),
)
def test_any_lines_are_read_or_passed_over(groups: str, mounts: str):
    with tempfile.TemporaryDirectory() as folder:
        files = {"proc/self/cgroup": groups, "proc/mounts": mounts + "\n" + UNIFIED + SPLIT}
        # No file of a cpuset is there to be found.
        assert read_cpuset(write(Path(folder), files)) == Cpuset()


GROUPS = st.lists(st.text("abz_-. \u00e9", min_size=1, max_size=6), max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)


@given(st.dictionaries(st.frozensets(st.sampled_from(["cpu", "cpuset", "a=b"])), GROUPS))
def test_membership_is_read_back(groups):
    text = "".join(f"{n}:{','.join(c)}:{p}\n" for n, (c, p) in enumerate(groups.items()))
    assert parse_membership(text) == groups


@given(st.text())
def test_lines_that_are_no_membership_are_passed_over(noise: str):
    assert all(path.startswith("/") for path in parse_membership(noise).values())


def test_a_thread_is_located_as_well_as_a_process():
    thread = threading.get_native_id()
    assert locate(Files(), f"{os.getpid()}/task/{thread}") == locate(Files())
    with pytest.raises(ProcessLookupError, match="0/task/1"):
        locate(Files(), "0/task/1")


LIMITS = st.one_of(st.none(), st.integers(1, 10**9))


@given(st.lists(LIMITS, min_size=1, max_size=4))
def test_the_tightest_limit_on_the_way_up_counts(
    tmp_path_factory, limits: list[int | None]
) -> None:
    root = tmp_path_factory.mktemp("tree")
    path, files = "", {"proc/mounts": "c /cg cgroup2 rw 0 0\n"}
    for depth, limit in enumerate(limits):
        path += f"/g{depth}" if depth else ""
        shown = "max" if limit is None else str(limit)
        files[f"cg{path}/cgroup.controllers"] = "cpu memory\n"
        files[f"cg{path}/cpu.max"] = f"{shown} 100000\n"
        files[f"cg{path}/memory.max"] = f"{shown}\n"
    files["proc/self/cgroup"] = f"0::{path or '/'}\n"
    machine = Files(write(root, files))
    expected = min((limit for limit in limits if limit is not None), default=None)
    quota, memory = cpu_quota(machine), memory_limit(machine)
    assert (memory[0] if memory else None) == expected
    assert (round(quota.cpus * 100000) if quota else None) == expected
