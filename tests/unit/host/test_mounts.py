"""What is mounted, by either of the files that say so."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.host.files import Files
from lorabench.host.mounts import Mount, parse_mounts, unwritable

NAMES = st.text(alphabet="abz_-. \\\u00e9", min_size=1, max_size=6).filter(lambda n: set(n) - {"."})
PATHS = st.lists(NAMES, max_size=3).map(lambda parts: "/" + "/".join(parts))
OPTIONS = st.frozensets(st.sampled_from(["rw", "cpu", "cpuset", "name=systemd"]), min_size=1)
MOUNTS = st.lists(
    st.builds(Mount, PATHS, st.sampled_from(["proc", "cgroup", "cgroup2"]), OPTIONS, PATHS)
)


def escape(text: str) -> str:
    return "".join(f"\\{ord(c):03o}" if c in " \t\n\\" else c for c in text)


@given(MOUNTS)
def test_mounts_are_read_as_they_are_listed(mounts: list[Mount]) -> None:
    text = "".join(f"none {escape(m.point)} {m.kind} {','.join(m.options)} 0 0\n" for m in mounts)
    assert parse_mounts(text) == tuple(Mount(m.point, m.kind, m.options) for m in mounts)


@given(MOUNTS)
def test_mountinfo_says_what_of_a_file_system_is_mounted_too(mounts: list[Mount]) -> None:
    text = "".join(
        f"9 2 0:3 {escape(m.root)} {escape(m.point)} rw shared:1 - {m.kind} none "
        f"{','.join(m.options)}\n"
        for m in mounts
    )
    assert parse_mounts(text) == tuple(
        Mount(m.point, m.kind, m.options | {"rw"}, m.root) for m in mounts
    )


@given(st.text(max_size=60))
def test_noise_is_passed_over(noise: str) -> None:
    assert all(mount.kind for mount in parse_mounts(noise))


def test_a_folder_outside_of_what_is_mounted_lies_nowhere() -> None:
    mount = Mount("/sys/fs/cgroup", "cgroup2", frozenset(), "/docker/a")
    assert mount.folder("/docker/a") == "/sys/fs/cgroup"
    assert mount.folder("/docker/a/b") == "/sys/fs/cgroup/b"
    assert mount.folder("/docker/ab") is None
    assert mount.folder("/docker/a/../b") is None
    assert Mount("/c", "cgroup2", frozenset()).folder("/../x") is None
    assert Mount("/c", "cgroup2", frozenset()).folder("/x") == "/c/x"


def test_folders_above_the_root_of_a_namespace_have_no_names() -> None:
    outside = Mount("/c", "cgroup", frozenset(), "/../..")
    assert outside.above == 2
    assert outside.folder("/") is None
    # What lies beside that root is told from it, too.
    assert Mount("/c", "cgroup", frozenset(), "/..").folder("/../x") == "/c/x"
    assert Mount("/c", "cgroup", frozenset(), "/a/..b").above == 0


@pytest.mark.parametrize(
    ("mounts", "path", "why"),
    [
        pytest.param("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0", "/sys/fs/cgroup", None, id="rw"),
        pytest.param(
            "cgroup2 /sys/fs/cgroup cgroup2 ro,nosuid 0 0", "/sys/fs/cgroup/a", "ro", id="ro"
        ),
        pytest.param(
            "sysfs /sys sysfs ro 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0",
            "/sys/fs/cgroup/a",
            None,
            id="within one that is",
        ),
        pytest.param(
            "sysfs /sys sysfs ro 0 0\ntmpfs /sys/fs/cgro tmpfs rw 0 0",
            "/sys/fs/cgroup/a",
            "ro",
            id="beside a name that it begins with",
        ),
        pytest.param(
            "a /sys/fs/cgroup cgroup2 rw 0 0\nb /sys/fs/cgroup cgroup2 ro 0 0",
            "/sys/fs/cgroup",
            "ro",
            id="mounted over",
        ),
        pytest.param(
            "9 2 0:3 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw",
            "/sys/fs/cgroup",
            "ro",
            id="mountinfo, of the mount and not the file system",
        ),
        pytest.param("overlay / overlay ro 0 0", "/sys/fs/cgroup", "ro", id="the root"),
    ],
)
def test_the_mount_says_whether_anything_can_be_written(
    tmp_path: Path, mounts: str, path: str, why: str | None
) -> None:
    name = "proc/self/mountinfo" if " - " in mounts else "proc/mounts"
    for target in (tmp_path / name, tmp_path / path.lstrip("/") / "tasks"):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(mounts)
    expected = "mounted read-only" if why == "ro" else why
    assert unwritable(Files(tmp_path), path) == expected


def test_what_is_not_there_is_not_writable(tmp_path: Path) -> None:
    assert unwritable(Files(tmp_path), "/sys/fs/cgroup") == "not writable"
