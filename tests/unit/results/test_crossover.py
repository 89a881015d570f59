"""Where a difference changes its sign: between which points, and what replicates say."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.results.crossover import Crossing, crossings, crossovers

differences = st.lists(
    st.none() | st.sampled_from([0.0]) | st.floats(-1, 1).filter(lambda y: abs(y) > 1e-6),
    min_size=1,
    max_size=12,
)


@given(differences, st.booleans())
def test_there_are_as_many_as_signs_change_and_each_lies_between_its_neighbours(ys, log) -> None:
    xs = [2.0**n for n in range(len(ys))]
    found = crossings(xs, ys, log=log)
    signs = [y > 0 for y in ys if y]
    assert len(found) == sum(a != b for a, b in itertools.pairwise(signs))
    for one in found:
        assert one.low <= one.at <= one.high
        assert {one.low, one.high} <= set(xs)
    # They alternate, and the last goes where the last sign is.
    assert [one.rises for one in found] == [b for a, b in itertools.pairwise(signs) if a != b]
    mirrored = crossings(xs, [y and -y for y in ys], log=log)
    assert [one.at for one in mirrored] == pytest.approx([one.at for one in found])


def test_over_the_logarithm_half_way_is_the_geometric_mean() -> None:
    assert crossings([1, 100], [-1.0, 1.0], log=True)[0].at == pytest.approx(10)
    assert crossings([1, 100], [-1.0, 1.0], log=False)[0].at == pytest.approx(50.5)
    # A multiple of 0 has no logarithm.
    assert crossings([0, 2], [-1.0, 3.0], log=True)[0].at == pytest.approx(0.5)


def test_touching_zero_is_no_change_and_lying_on_it_is_one() -> None:
    assert crossings([1, 2, 3], [1.0, 0.0, 1.0], log=False) == []
    assert crossings([1, 2, 3], [1.0, 0.0, -1.0], log=False) == [Crossing(2, 2, 2, False)]
    assert crossings([1, 2, 3], [0.0, 0.0, -1.0], log=False) == []


def test_replicates_give_an_interval_where_each_changes_sign_once() -> None:
    xs = [1.0, 10.0, 100.0]
    (one,) = crossovers(xs, [[-1, -1, 1], [-1, -0.5, 1], [-1, -1.5, 1]], log=True)
    assert one.values == pytest.approx([10**1.5, 10 ** (1 + 1 / 3), 10**1.6])
    assert one.crossing.at == pytest.approx(10**1.5)
    low, high = one.estimate.interval
    assert low < math.exp(sum(map(math.log, one.values)) / 3) < high
    (without,) = crossovers(xs, [[-1, -1, 1], [1, 1, 1], [-3, -3, 1]], log=True)
    assert without.estimate.interval is None
    assert without.values[1] is None
    assert crossovers(xs, [[1, 1, 1], [1, None, 1]], log=True) == []


def test_a_replicate_that_crosses_the_other_way_has_no_value_and_leaves_no_interval() -> None:
    (one,) = crossovers([1.0, 10.0], [[-3, 3], [-3, 3], [1, -1]], log=True)
    assert one.crossing.rises
    assert one.values[2] is None
    assert (one.estimate.n, one.estimate.interval) == (2, None)


def test_an_interval_ends_where_the_axis_does_and_holds_its_estimate_or_is_none() -> None:
    xs = [1.0, 10.0, 100.0]
    (wide,) = crossovers(xs, [[-0.01, 1, 1], [-1, -1, 0.01]], log=True)
    assert wide.estimate.interval == (1.0, 100.0)
    # One large difference draws the mean to where no replicate crosses.
    alike = [[-0.01, 1, 1]] * 3 + [[-0.02, 1, 1]] * 3 + [[-100, -0.1, 1]]
    (apart,) = crossovers(xs, alike, log=True)
    assert None not in apart.values
    assert apart.estimate.interval is None
    (same,) = crossovers(xs, [[-1, 2, 3]] * 3, log=True)
    assert same.estimate.interval == pytest.approx((same.estimate.value,) * 2)
