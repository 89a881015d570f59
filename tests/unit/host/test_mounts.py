"""What is mounted, by either of the files that say so."""

from hypothesis import given
from hypothesis import strategies as st

from lorabench.host.mounts import Mount, parse_mounts

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
