"""Load lines: what a server tells is what the trainer reads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench._kernels.serve import LOAD_BYTES, LoadLine, LoadLines
from lorabench.memory import Region


def lines(servers: int) -> tuple[Region, LoadLines, list[LoadLine]]:
    region = Region.create("load", servers * LOAD_BYTES)
    server = [LoadLine(region.mapping, number) for number in range(servers)]
    return region, LoadLines(region.mapping, servers), server


@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=40).map(sorted),
    st.integers(1, 300),
    st.integers(1, 6),
    st.integers(1, 200),
)
def test_counters_are_those_of_a_plain_loop(
    arrivals: list[int], service: int, most: int, limit: int
) -> None:
    region, every, (line,) = lines(1)
    every.reset(limit)
    due = np.array(arrivals, np.int64)
    at = now = busy = late = 0
    while at < len(due):
        now = max(now, arrivals[at], 1)
        waiting = sum(a <= now for a in arrivals[at:])
        end = min(at + most, at + waiting)
        line.begin(now, due, at)
        assert every.read(now + 1) == [(busy + 1, at, late, waiting)]
        answered = now + service
        late += sum(answered - a > limit for a in arrivals[at:end])
        line.end(answered + 2, answered, due, at, end)
        busy += service + 2
        now, at = answered + 2, end
        assert every.read(now) == [(busy, at, late, 0)]
    region.close()


def test_every_server_has_a_line_of_its_own_and_a_reset_clears_all() -> None:
    region, every, servers = lines(3)
    every.reset(0)
    due = np.arange(5, dtype=np.int64)
    servers[1].begin(10, due, 2)
    servers[1].end(20, 20, due, 2, 4)
    assert every.read(30) == [(0, 0, 0, 0), (10, 2, 0, 0), (0, 0, 0, 0)]
    every.reset(5)
    assert every.read(30) == [(0, 0, 0, 0)] * 3
    region.close()


def test_wrong_arguments_are_refused() -> None:
    region, every, (line,) = lines(1)
    due = np.arange(5, dtype=np.int64)
    for wrong in (-1, 5):
        with pytest.raises(ValueError, match=f"at: found {wrong}, expected 0 to 4"):
            line.begin(0, due, wrong)
    for at, end in ((0, 0), (3, 2), (-1, 2), (0, 6)):
        with pytest.raises(ValueError, match=f"found {at} and {end}"):
            line.end(0, 0, due, at, end)
    with pytest.raises(TypeError):
        line.begin(0, None, 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="server: found -1"):
        LoadLine(region.mapping, -1)
    with pytest.raises(ValueError, match="mapping: found 128 bytes, expected at least 256"):
        LoadLine(region.mapping, 1)
    with pytest.raises(ValueError, match="servers: found 0"):
        LoadLines(region.mapping, 0)
    with pytest.raises(ValueError, match="limit_ns: found -1"):
        every.reset(-1)
    reading = Region.attach(region.handle, writable=False)
    with pytest.raises(ValueError, match="writable"):
        LoadLines(reading.mapping, 1)
    region.close()
