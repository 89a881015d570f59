"""How long a switch of cases is felt."""

import numpy as np
import pytest
from records import NS, record

from lorabench.bench.serving.carry_over import curve, settled_s, since_switch
from lorabench.targets.target import Record


def slice_of(begin_s: float, felt_s: float, seed: int) -> Record:
    """Half a second of queries, ten times as slow as long as the switch is felt."""
    at = np.sort(np.random.default_rng(seed).integers(0, NS // 2, 2000))
    latency = np.where(at < felt_s * NS, 10_000_000, 1_000_000)
    begin = int(begin_s * NS)
    made = record(at + begin, at + latency + begin, window_ns=(begin + NS // 20, begin + NS // 2))
    return Record(**{**vars(made), "length_s": 0.5})


@pytest.mark.parametrize(("felt_s", "found_s"), [(0.0, 0.0), (0.06, 0.075), (0.1, 0.1)])
def test_a_switch_is_felt_until_the_p99_is_as_it_is_later(felt_s: float, found_s: float) -> None:
    parts = [slice_of(0.5 * n, felt_s, n) for n in range(4)]
    since = since_switch(Record.joined(parts))
    assert since.shape == (2, 8000)
    assert since[0].min() >= 0
    assert since[0].max() < 0.5
    assert settled_s(since) == pytest.approx(found_s)
    at, p99 = curve(since)
    assert len(at) == 20
    assert p99[-1] == pytest.approx(0.001)


def test_from_too_few_queries_nothing_is_told() -> None:
    assert settled_s(np.zeros((2, 50))) is None
