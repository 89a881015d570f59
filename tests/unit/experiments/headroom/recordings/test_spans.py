"""The mean of a host's CPUs, each of which may lack something."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.experiments.headroom.recordings.spans import Spans, mean_of
from lorabench.results.windows import Track

SECONDS = st.lists(st.floats(0, 1), min_size=12, max_size=12)


def cut(seconds: list[float], edges: list[int], gone: set[int]) -> Track:
    """Means between edges; spans that begin at an edge of `gone` are missing."""
    spans = [(a, b) for a, b in pairwise(edges) if a not in gone]
    return Track(
        np.array([float(a) for a, _ in spans]),
        np.array([float(b) for _, b in spans]),
        np.array([float(np.mean(seconds[a:b])) for a, b in spans]),
        extent_s=(0.0, 12.0),
    )


@given(st.lists(SECONDS, min_size=1, max_size=4), st.data())
def test_the_mean_of_cpus_holds_the_truth(cpus: list[list[float]], data) -> None:
    edges = st.sets(st.integers(1, 11)).map(lambda inner: [0, *sorted(inner), 12])
    tracks = [cut(c, data.draw(edges), data.draw(st.sets(st.integers(0, 11)))) for c in cpus]
    if not any(len(track.value) for track in tracks):
        return
    found = mean_of(tracks)
    low = found.value if found.low is None else found.low
    high = found.value if found.high is None else found.high
    truth = np.mean(cpus, axis=0)
    for begin, end, least, most in zip(found.begin_s, found.end_s, low, high, strict=True):
        mean = float(np.mean(truth[int(begin) : int(end)]))
        assert least - 1e-9 <= mean <= most + 1e-9
    assert found.extent_s == (0.0, 12.0)


def test_a_cpu_without_a_value_may_have_idled_or_not() -> None:
    seconds = [0.2] * 12
    one, two = cut(seconds, [0, 6, 12], set()), cut(seconds, [0, 6, 12], {6})
    found = mean_of([one, two])
    np.testing.assert_allclose(found.value, 0.2)
    assert found.low is not None
    assert found.high is not None
    np.testing.assert_allclose(found.low, [0.2, 0.1])
    np.testing.assert_allclose(found.high, [0.2, 0.6])


def test_spans_of_whole_seconds_meet_where_they_nearly_do() -> None:
    spans = Spans()
    for begin, end in ((0.0, 10.0), (9.0, 20.0), (21.0, 31.0), (36.0, 46.0)):
        spans.add(begin, end, 0.1)
    assert spans.begin == [0.0, 10.0, 20.0, 36.0]
    assert spans.track().begin_s[-1] == pytest.approx(36.0)
