"""What the files of a machine are read as: a value or a reason, never another error."""

from pathlib import Path

import machine_tree
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.host.files import (
    Files,
    Mount,
    UnreadableError,
    chosen,
    cpu_field,
    cpu_flags,
    format_bytes,
    parse_membership,
    parse_mounts,
    parse_release,
)
from lorabench.isolation.survey import cgroups

WORDS = st.text(
    st.characters(blacklist_categories=("Z", "C"), blacklist_characters=",:[]"), min_size=1
)
PATHS = st.lists(WORDS.filter(lambda w: "/" not in w and w != ".."), max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)


@given(st.text())
def test_any_text_is_read_as_something(text: str) -> None:
    assert isinstance(cpu_flags(text), frozenset)
    assert isinstance(cpu_field(text, "model name"), str)
    assert all(mount.kind for mount in parse_mounts(text))
    assert all(path.startswith("/") for path in parse_membership(text).values())
    assert chosen(text) in text
    found = parse_release(text)
    assert found is None or min(found) >= 0


@given(st.lists(WORDS), st.lists(WORDS))
def test_flags_are_those_of_the_first_processor(flags: list[str], others: list[str]) -> None:
    text = f"bugs\t: {' '.join(others)}\nflags\t\t: {' '.join(flags)}\n\nflags\t: more\n"
    assert cpu_flags(text) == (frozenset(flags) or frozenset({"more"}))
    assert cpu_flags(text.replace("flags", "Features")) == cpu_flags(text)


@given(
    st.lists(
        st.tuples(WORDS, PATHS, st.sampled_from(["proc", "cgroup2"]), st.sets(WORDS, min_size=1))
    )
)
def test_mounts_are_read_as_they_are_listed(mounts) -> None:
    text = "".join(
        f"{device} {point.translate({32: chr(92) + '040', 92: chr(92) + '134'})} {kind} "
        f"{','.join(options)} 0 0\n"
        for device, point, kind, options in mounts
    )
    assert parse_mounts(text) == [
        Mount(point, kind, frozenset(options)) for _, point, kind, options in mounts
    ]


def test_blanks_in_a_mount_point_are_written_as_octal_numbers() -> None:
    (mount,) = parse_mounts("cgroup /my\\040groups cgroup rw 0 0\n")
    assert mount.point == "/my groups"


@given(st.dictionaries(WORDS, PATHS))
def test_membership_is_read_back(groups: dict[str, str]) -> None:
    text = "".join(f"{n}:{name}:{path}\n" for n, (name, path) in enumerate(groups.items()))
    assert parse_membership(text) == groups
    assert parse_membership(text + "0::/unified:odd\n")[""] == "/unified:odd"


@given(st.lists(WORDS), WORDS, st.lists(WORDS))
def test_the_word_in_brackets_is_chosen(before: list[str], word: str, after: list[str]) -> None:
    assert chosen(" ".join([*before, f"[{word}]", *after])) == word
    assert chosen(" ".join([*before, word, *after])) == ""


@given(
    st.integers(0, 9999), st.integers(0, 9999), st.sampled_from(["", ".0-18-amd64", "-rc7", "+"])
)
def test_releases_are_compared_by_number(major: int, minor: int, rest: str) -> None:
    assert parse_release(f"{major}.{minor}{rest}") == (major, minor)


@given(st.integers(0, 1 << 60))
def test_sizes_keep_four_digits(size: int) -> None:
    number, unit = format_bytes(size).split()
    factor = 1024 ** ["B", "KiB", "MiB", "GiB", "TiB"].index(unit)
    assert float(number) * factor == pytest.approx(size, rel=1e-3)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "it is no regular file"),
        (
            lambda path: path.symlink_to(path),
            "it cannot be read (Too many levels of symbolic links)",
        ),
    ],
)
def test_a_file_that_cannot_be_read_has_a_reason(tmp_path: Path, make, why: str) -> None:
    make(tmp_path / "file")
    files = Files(tmp_path)
    with pytest.raises(UnreadableError) as caught:
        files.read("/file")
    assert (caught.value.path, caught.value.why) == ("/file", why)
    assert files.get("/file") is None
    with pytest.raises(UnreadableError, match=r"/file: "):
        files.first("/file", "/other")
    assert files.names("/file/below") == []
    assert not files.writable("/file/below")


def test_a_path_that_no_file_can_have_is_no_error(tmp_path: Path) -> None:
    files = Files(tmp_path)
    for path in ("/nul\0", "/" + "long" * 5000):
        assert files.get(path) is None
        assert not files.is_folder(path)
        assert not files.writable(path)
        assert files.names(path) == []


def test_no_control_character_gets_from_a_file_to_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\0 one\ttwo\n\x1b[31mthree\x7f \xff\n")
    assert Files(tmp_path).read("/file") == "one\ttwo\n[31mthree \ufffd"


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
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    host = machine_tree.host(root, None)
    expected = min((limit for limit in limits if limit is not None), default=None)
    quota, memory = cgroups.cpu_quota(host), cgroups.memory_limit(host)
    assert (memory[0] if memory else None) == expected
    assert (round(quota[0] * 100000) if quota else None) == expected
