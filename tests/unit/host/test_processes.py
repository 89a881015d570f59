import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.host.processes import parse_start_time, start_time, threads


@given(
    st.binary(max_size=15),
    st.sampled_from("RSDTtI"),
    st.integers(0, 2**63),
    st.lists(st.integers(0, 2**64), min_size=30, max_size=30),
)
def test_the_start_time_is_found_behind_any_name(
    name: bytes, state: str, start: int, rest: list[int]
) -> None:
    fields = " ".join(map(str, [*rest[:18], start, *rest[19:]])).encode()
    assert parse_start_time(b"42 (" + name + b") " + state.encode() + b" " + fields) == start


@given(st.binary(max_size=60))
def test_what_is_no_stat_is_refused(noise: bytes) -> None:
    with pytest.raises(ValueError, match="expected the fields of /proc/PID/stat"):
        parse_start_time(noise)


def test_a_zombie_has_ended() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert start_time(child.pid) is None
    child.wait()
    assert start_time(child.pid) is None


def test_a_process_started_later_starts_no_earlier() -> None:
    ours = start_time(os.getpid())
    with subprocess.Popen(["sleep", "600"]) as child:
        theirs = start_time(child.pid)
        child.kill()
    assert ours is not None
    assert theirs is not None
    assert ours <= theirs


def test_threads_of_a_process_that_ended_are_not_listed() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    with pytest.raises(ProcessLookupError, match=str(child.pid)):
        threads(child.pid)
