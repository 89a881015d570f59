import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.errors import InputError
from lorabench.host.cpuset import Cpuset, read_cpuset

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
