"""What control groups allow of CPU time, and how often the kernel stopped them for it."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from quota_groups import joined, quota_group

from lorabench.host.cgroups import Group, groups_with
from lorabench.host.files import Files
from lorabench.host.quota import (
    QuotaReader,
    Throttled,
    ThrottleWatch,
    below_mounts,
    cpu_limits,
    cpu_quota,
    groups_of_path,
    limit_of,
    read_throttled,
)

V1 = "c /cg/cpu cgroup rw,cpu 0 0\nc /cg/cpuacct cgroup rw,cpuacct 0 0\n"
V2 = "c /cg cgroup2 rw 0 0\n"


def write(root: Path, files: dict[str, str]) -> Files:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return Files(root)


def v1(tmp_path: Path, **more: str) -> Files:
    return write(
        tmp_path,
        {
            "proc/mounts": V1,
            "proc/self/cgroup": "2:cpuacct:/pod/box\n1:cpu:/pod/box\n",
            "cg/cpu/pod/box/cpu.cfs_quota_us": "150000\n",
            "cg/cpu/pod/box/cpu.cfs_period_us": "100000\n",
            "cg/cpu/pod/cpu.cfs_quota_us": "60000\n",
            "cg/cpu/pod/cpu.cfs_period_us": "50000\n",
            "cg/cpu/pod/cpu.stat": "nr_periods 1712\nnr_throttled 257\nthrottled_time 9000000000\n",
            "cg/cpuacct/pod/cpuacct.usage": "3500000000\n",
        }
        | more,
    )


def test_every_group_above_has_its_say_and_the_tightest_comes_first(tmp_path: Path) -> None:
    found = cpu_limits(v1(tmp_path))
    assert [(limit.cpus, limit.period_s, limit.path) for limit in found] == [
        (1.2, pytest.approx(0.05), "/cg/cpu/pod/cpu.cfs_quota_us"),
        (1.5, pytest.approx(0.1), "/cg/cpu/pod/box/cpu.cfs_quota_us"),
    ]
    assert cpu_quota(v1(tmp_path)) == found[0]


def test_both_versions_say_how_often_they_stopped_a_group(tmp_path: Path) -> None:
    files = v1(
        tmp_path,
        **{
            "cg/two/cpu.stat": "usage_usec 7\nnr_periods 3\nnr_throttled 2\nthrottled_usec 40000\n",
            "cg/root/cpu.stat": "usage_usec 7\n",
        },
    )
    assert read_throttled(files, Group(1, "/cg/cpu/pod")) == Throttled(1712, 257, 9.0)
    assert read_throttled(files, Group(2, "/cg/two")) == Throttled(3, 2, 0.04)
    # A root has no limit, and a group without the controller no counters of it.
    assert read_throttled(files, Group(2, "/cg/root")) is None
    assert read_throttled(files, Group(2, "/cg/none")) is None


@given(st.text(max_size=60))
def test_noise_in_place_of_counters_counts_nothing(tmp_path_factory, noise: str) -> None:
    root = tmp_path_factory.mktemp("noise")
    (root / "cpu.stat").write_text(noise, errors="replace")
    found = read_throttled(Files(root), Group(2, "/"))
    assert found is None or found.stopped >= 0


def test_a_watch_tells_of_the_group_above_that_stopped_a_process(tmp_path: Path) -> None:
    files = v1(tmp_path, **{"cg/cpu/pod/box/cpu.stat": "nr_periods 900\nnr_throttled 0\n"})
    watch = ThrottleWatch(files, ["self", "self"])
    assert watch.found == Throttled()
    write(
        tmp_path,
        {
            "cg/cpu/pod/cpu.stat": "nr_periods 1722\nnr_throttled 260\nthrottled_time 9100000000\n",
            "cg/cpu/pod/box/cpu.stat": "nr_periods 920\nnr_throttled 0\n",
        },
    )
    assert watch.found == Throttled(10, 3, pytest.approx(0.1))
    watch.begin()
    assert watch.found == Throttled()
    # Who has gone has no groups, and a group that has gone no counters.
    shutil.rmtree(tmp_path / "cg/cpu/pod")
    assert watch.found == Throttled()
    assert ThrottleWatch(Files(), ["4194304"]).found == Throttled()


def test_use_of_a_quota_is_counted_where_version_1_counts_it(tmp_path: Path) -> None:
    files = v1(tmp_path)
    found = QuotaReader(files, groups_with(files, "cpu")).sample()
    used = {group.folder: use.used_s for group, use in found.items()}
    assert used == {"/cg/cpu/pod": 3.5, "/cg/cpu/pod/box": None}
    assert found[Group(1, "/cg/cpu/pod")].throttled.stopped == 257


def test_use_of_a_quota_of_version_2_is_in_its_own_file(tmp_path: Path) -> None:
    files = write(
        tmp_path,
        {
            "proc/mounts": V2,
            "proc/self/cgroup": "0::/a\n",
            "cg/a/cgroup.controllers": "cpu\n",
            "cg/a/cpu.max": "20000 100000\n",
            "cg/a/cpu.stat": "usage_usec 500000\nnr_periods 9\nnr_throttled 8\nthrottled_usec 1\n",
        },
    )
    (use,) = QuotaReader(files, groups_with(files, "cpu")).sample().values()
    assert (use.limit.cpus, use.used_s, use.throttled.stopped) == (0.2, 0.5, 8)


def test_a_group_is_found_by_its_path_in_every_hierarchy_that_has_it(tmp_path: Path) -> None:
    top = "sys/fs/cgroup"
    files = write(
        tmp_path,
        {
            "proc/mounts": f"c /{top}/cpu cgroup rw,cpu 0 0\nc /{top}/cpuacct cgroup cpuacct 0 0\n",
            f"{top}/cpu/a/b/cpu.cfs_quota_us": "-1\n",
            f"{top}/cpu/a/cpu.cfs_quota_us": "10000\n",
            f"{top}/unified/a/b/cpu.max": "max 100000\n",
        },
    )
    for named in ("a/b", "/sys/fs/cgroup/a/b", "cpuacct/a/b", "/sys/fs/cgroup/cpu/a/b/"):
        found = list(groups_of_path(files, named))
        assert Group(2, f"/{top}/unified/a/b") in found
        limits = [limit for group in found if (limit := limit_of(files, group))]
        assert [(limit.cpus, limit.path) for limit in limits] == [
            (0.1, f"/{top}/cpu/a/cpu.cfs_quota_us")
        ]


def test_the_kernel_stops_a_group_of_version_1_and_its_counters_tell() -> None:
    with quota_group(0.1, below="box") as path:
        assert below_mounts(Files(), f"/sys/fs/cgroup/cpuacct/{path}") == path
        busy = subprocess.Popen(joined(path, [sys.executable, "-c", "while True: pass"]))
        try:
            files, pid = Files(), str(busy.pid)
            give_up = time.monotonic() + 60
            while not path_is_of(pid, path) and time.monotonic() < give_up:
                time.sleep(0.01)
            (limit,) = cpu_limits(files, pid)
            assert limit.cpus == pytest.approx(0.1)
            watch = ThrottleWatch(files, [pid])
            reader = QuotaReader(files, groups_of_path(files, path))
            (before,) = reader.sample().values()
            while watch.found.stopped < 2 and time.monotonic() < give_up:
                time.sleep(0.05)
            found, (after,) = watch.found, reader.sample().values()
        finally:
            busy.kill()
            busy.wait()
    assert found.periods >= found.stopped >= 2
    assert found.stopped_s > 0
    assert after.throttled.stopped - before.throttled.stopped >= 2
    assert before.used_s is not None
    assert after.used_s is not None
    assert after.used_s > before.used_s


def path_is_of(pid: str, path: str) -> bool:
    return f":cpu:/{path}\n" in Path(f"/proc/{pid}/cgroup").read_text()


_NAMED = """
from lorabench.host.files import Files
from lorabench.host.quota import cpu_limits, hides_groups
print([limit.cpus for limit in cpu_limits(Files())], hides_groups(Files()))
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="it takes unshare of util-linux")
def test_a_namespace_that_hides_the_names_of_groups_does_not_hide_their_quota() -> None:
    """Its own group is "/" there, and the mounts that it has inherited show the whole tree."""
    with quota_group(0.7, below="box") as path:
        inside = ["unshare", "-C", sys.executable, "-c", _NAMED]
        ran = subprocess.run(joined(path, inside), capture_output=True, text=True, check=False)
    assert ran.stdout.split() == ["[0.7]", "True"], ran.stderr
