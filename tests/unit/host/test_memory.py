"""How much memory can be had: by recorded files, by hand, and on this machine."""

from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.errors import InputError
from lorabench.host.cgroups import huge_pages_left, memory_left
from lorabench.host.files import Files
from lorabench.host.memory import AvailableMemory, available_memory, require_memory
from lorabench.memory import HugeRegion

MIB, GIB = 1 << 20, 1 << 30
HUGE = "sys/kernel/mm/hugepages/hugepages-2048kB"
GROUP = "sys/fs/cgroup/user.slice/job.scope"
V1 = "sys/fs/cgroup/memory/docker/0123abc"

# Recorded on Linux 6.18 with 1,024 huge pages reserved, a quarter of them in use and a quarter
# promised; most lines left out.
MEMINFO = """\
MemTotal:       24684084 kB
MemFree:        20015684 kB
MemAvailable:   20971520 kB
Active(file):     263440 kB
Inactive(file):    88384 kB
HugePages_Total:    1024
HugePages_Free:      768
HugePages_Rsvd:      256
HugePages_Surp:        0
Hugepagesize:       2048 kB
Hugetlb:         2097152 kB
DirectMap2M:     2068480 kB
"""
UNIFIED = {
    "proc/meminfo": MEMINFO,
    "proc/mounts": "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nsdelegate 0 0\n",
    "proc/self/cgroup": "0::/user.slice/job.scope\n",
    f"{GROUP}/cgroup.controllers": "cpu memory\n",
    f"{GROUP}/memory.max": f"{4 * GIB}\n",
    f"{GROUP}/memory.current": f"{3 * GIB}\n",
    # Shared memory is charged as such and not among the files that are given up.
    f"{GROUP}/memory.stat": (
        f"anon {GIB}\nfile {2 * GIB}\nshmem {GIB}\ninactive_anon {GIB}\nactive_anon {GIB}\n"
        f"inactive_file {512 * MIB}\nactive_file {256 * MIB}\nslab_reclaimable 4096\n"
    ),
}
SPLIT = {
    "proc/meminfo": MEMINFO,
    "proc/mounts": (
        "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
        "cgroup /sys/fs/cgroup/hugetlb cgroup rw,hugetlb 0 0\n"
        "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
    ),
    "proc/self/cgroup": "8:hugetlb:/docker\n4:memory:/docker/0123abc\n0::/\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    f"{V1}/memory.limit_in_bytes": f"{2 * GIB}\n",
    f"{V1}/memory.usage_in_bytes": f"{GIB}\n",
    f"{V1}/memory.stat": (
        "cache 5\nactive_file 1\ninactive_file 1\nhierarchical_memory_limit 2147483648\n"
        f"total_cache {GIB}\ntotal_active_file {100 * MIB}\ntotal_inactive_file {200 * MIB}\n"
    ),
}


def write(root: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def available(root: Path, files: dict[str, str]) -> AvailableMemory:
    return available_memory(write(root, files))


def test_reserved_huge_pages_count_if_they_are_free_and_promised_to_nobody(tmp_path: Path) -> None:
    found = available(tmp_path, {"proc/meminfo": MEMINFO})
    assert found == AvailableMemory(512 * 2 * MIB, 20 * GIB, "/proc/meminfo")


def test_pages_of_two_mebibytes_count_whatever_the_default_size_is(tmp_path: Path) -> None:
    meminfo = MEMINFO.replace("2048 kB", "1048576 kB")
    assert available(tmp_path, {"proc/meminfo": meminfo}).huge_bytes == 0
    pages = {f"{HUGE}/free_hugepages": "9\n", f"{HUGE}/resv_hugepages": "2\n"}
    assert available(tmp_path, pages).huge_bytes == 7 * 2 * MIB


def test_a_limit_leaves_what_is_not_used_and_the_cache_of_files(tmp_path: Path) -> None:
    found = available(tmp_path, UNIFIED)
    assert (found.ordinary_bytes, found.bound_by) == (1792 * MIB, f"/{GROUP}/memory.max")
    assert found.huge_bytes == GIB


def test_version_1_counts_groups_below_and_the_top_has_no_limit(tmp_path: Path) -> None:
    found = available(tmp_path, SPLIT)
    assert found.ordinary_bytes == GIB + 300 * MIB
    assert found.bound_by == f"/{V1}/memory.limit_in_bytes"


def test_version_1_of_old_has_the_sums_of_the_group_alone(tmp_path: Path) -> None:
    stat = f"active_file {MIB}\ninactive_file {MIB}\n"
    found = available(tmp_path, SPLIT | {f"{V1}/memory.stat": stat})
    assert found.ordinary_bytes == GIB + 2 * MIB


def test_a_group_above_bounds_one_that_is_not_offered_the_controller(tmp_path: Path) -> None:
    files = {path: text for path, text in UNIFIED.items() if not path.startswith(GROUP)}
    files |= {
        f"{GROUP}/cgroup.controllers": "\n",
        "sys/fs/cgroup/user.slice/memory.max": f"{GIB}\n",
        "sys/fs/cgroup/user.slice/memory.current": f"{256 * MIB}\n",
    }
    found = available(tmp_path, files)
    assert found.ordinary_bytes == 768 * MIB
    assert found.bound_by == "/sys/fs/cgroup/user.slice/memory.max"


def test_a_limit_that_is_used_up_leaves_nothing(tmp_path: Path) -> None:
    found = available(tmp_path, UNIFIED | {f"{GROUP}/memory.current": f"{9 * GIB}\n"})
    assert found.ordinary_bytes == 0


def test_a_limit_beyond_the_machine_is_none(tmp_path: Path) -> None:
    found = available(tmp_path, UNIFIED | {f"{GROUP}/memory.max": f"{999 * GIB}\n"})
    assert (found.ordinary_bytes, found.bound_by) == (20 * GIB, "/proc/meminfo")


def test_limits_on_huge_pages_bound_those_of_either_version(tmp_path: Path) -> None:
    unified = {f"{GROUP}/hugetlb.2MB.max": "max\n", f"{GROUP}/hugetlb.2MB.rsvd.max": "8388608\n"}
    unified |= {f"{GROUP}/hugetlb.2MB.rsvd.current": "2097152\n"}
    assert available(tmp_path / "2", UNIFIED | unified).huge_bytes == 6 * MIB
    split = {
        "sys/fs/cgroup/hugetlb/docker/hugetlb.2MB.limit_in_bytes": "4194304\n",
        "sys/fs/cgroup/hugetlb/docker/hugetlb.2MB.usage_in_bytes": "6291456\n",
    }
    assert available(tmp_path / "1", SPLIT | split).huge_bytes == 0


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"proc/meminfo": "MemTotal: 8 kB\n"}, "/proc/meminfo: found no line MemAvailable"),
        ({f"{GROUP}/memory.max": "lots\n"}, "memory.max: found lots, expected bytes or max"),
        ({f"{GROUP}/memory.current": "-1\n"}, "memory.current: found -1, expected bytes or max"),
        ({f"{GROUP}/memory.stat": "file\n"}, "memory.stat: found 'file', expected a name and"),
        ({f"{HUGE}/free_hugepages": "many\n"}, "free_hugepages: found many, expected a number"),
    ],
)
def test_what_does_not_parse_is_named_with_its_file(tmp_path: Path, changed, says: str) -> None:
    with pytest.raises(InputError, match=says):
        available(tmp_path, UNIFIED | changed)


SIZES = st.integers(0, 10**9)


@given(st.lists(st.none() | st.tuples(SIZES, SIZES, SIZES), min_size=1, max_size=4))
def test_the_tightest_on_the_way_up_counts(tmp_path_factory, groups) -> None:
    root = tmp_path_factory.mktemp("tree")
    path, left, huge = "", [], []
    files = {"proc/mounts": "c /cg cgroup2 rw 0 0\n"}
    for depth, group in enumerate(groups):
        path += f"/g{depth}" if depth else ""
        files[f"cg{path}/cgroup.controllers"] = "hugetlb memory\n"
        if group is None:
            files[f"cg{path}/memory.max"] = files[f"cg{path}/hugetlb.2MB.max"] = "max\n"
            continue
        limit, used, cache = group
        for name in ("memory", "hugetlb.2MB"):
            files[f"cg{path}/{name}.max"] = f"{limit}\n"
            files[f"cg{path}/{name}.current"] = f"{used}\n"
        files[f"cg{path}/memory.stat"] = f"active_file {cache}\ninactive_file 0\n"
        left.append(max(0, limit - max(0, used - cache)))
        huge.append(max(0, limit - used))
    files["proc/self/cgroup"] = f"0::{path or '/'}\n"
    machine = Files(write(root, files))
    assert (memory_left(machine) or (None,))[0] == min(left, default=None)
    assert (huge_pages_left(machine) or (None,))[0] == min(huge, default=None)


@given(st.integers(0, 64 * MIB), st.integers(0, 64 * MIB), st.integers(0, 20), SIZES)
def test_a_region_lies_on_reserved_pages_whole_or_not_at_all(ordinary, huge, pages, rest) -> None:
    found = AvailableMemory(pages * 2 * MIB, rest)
    mapped = HugeRegion.mapped_bytes(huge)
    on_huge_pages = huge <= found.huge_bytes and ordinary <= rest
    assert found.holds(ordinary, huge) == (on_huge_pages or ordinary + mapped <= rest)


def test_tables_fit_on_free_huge_pages_and_ordinary_memory_does_not(tmp_path: Path) -> None:
    files = {"proc/meminfo": MEMINFO.replace("20971520 kB", "2097152 kB")}
    write(tmp_path, files)
    require_memory("tables", 2 * GIB, GIB, advice="-", sysroot=tmp_path)
    with pytest.raises(InputError) as refused:
        require_memory("tables", GIB, GIB + 1, advice="use smaller ones", sysroot=tmp_path)
    assert refused.value.exit_code == 2
    assert str(refused.value) == (
        "memory for tables: found 2 GiB available (/proc/meminfo) and 1 GiB in free huge pages, "
        "expected at least 2 GiB, or 1 GiB in huge pages and 1 GiB beside them; use smaller ones"
    )
    # What is reserved as huge pages holds no rows.
    with pytest.raises(InputError, match=r"for rows: found 2 GiB available .*least 2\.5 GiB"):
        require_memory("rows", 5 * GIB // 2, advice="-", sysroot=tmp_path)


def test_what_a_group_leaves_is_told_with_the_file_that_sets_the_limit(tmp_path: Path) -> None:
    write(tmp_path, UNIFIED | {f"{HUGE}/{name}_hugepages": "0\n" for name in ("free", "resv")})
    with pytest.raises(InputError) as refused:
        require_memory("rows", 2 * GIB, advice="use fewer", sysroot=tmp_path)
    assert str(refused.value) == (
        f"memory for rows: found 1.75 GiB available (/{GROUP}/memory.max), expected at least "
        "2 GiB; use fewer"
    )


def test_this_machine_has_no_more_than_it_has() -> None:
    found = available_memory()
    assert 0 < found.ordinary_bytes + found.huge_bytes <= psutil.virtual_memory().total
