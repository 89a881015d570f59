"""Changes between two sides: the same as SciPy's t tests say, and ratios on logarithms."""

import math
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy import stats

from lorabench.results.change import TRIMMED, change, more_often, tolerated

positive = st.floats(1e-6, 1e6)
sides = st.lists(positive, min_size=2, max_size=12)
pairs = st.lists(st.tuples(positive, positive), min_size=2, max_size=12)


@given(sides, sides)
@example([1.0, 1.0], [1.0, 2.0])
def test_unpaired_is_welchs_t_on_logarithms(base: list[float], head: list[float]) -> None:
    assume(len(set(base)) > 1 or len(set(head)) > 1)
    found = change(base, head, better="lower", paired=False)
    assert found is not None
    assert found.kind == "ratio"
    known = stats.ttest_ind(np.log(head), np.log(base), equal_var=False)
    assume(math.isfinite(known.statistic))
    assert found.centre / found.error == pytest.approx(known.statistic, rel=1e-6, abs=1e-9)
    assert found.freedom == pytest.approx(known.df, rel=1e-6)
    low, high = known.confidence_interval(0.95)
    assert found.worse_by() == pytest.approx((low, high), rel=1e-5, abs=1e-9)
    greater = stats.ttest_ind(np.log(head), np.log(base), equal_var=False, alternative="greater")
    assert found.p_worse(0.0) == pytest.approx(greater.pvalue, rel=1e-6, abs=1e-12)


@given(st.lists(positive, min_size=5, max_size=15), st.lists(positive, min_size=5, max_size=15))
def test_trimmed_is_yuens_t(base: list[float], head: list[float]) -> None:
    found = change(base, head, better="lower", paired=False, trim=TRIMMED)
    assert found is not None
    assume(found.error > 1e-9)
    known = stats.ttest_ind(np.log(head), np.log(base), equal_var=False, trim=TRIMMED)
    assume(math.isfinite(known.statistic))
    assert found.centre / found.error == pytest.approx(known.statistic, rel=1e-6, abs=1e-9)
    assert found.freedom == pytest.approx(known.df, rel=1e-6)


def test_trimming_leaves_what_met_a_neighbour_out() -> None:
    base, head = [1.0] * 10, [1.2, 1.21, 1.19, 1.2, 9.0, 1.2, 1.22, 1.18, 1.2, 1.2]
    plain = change(base, head, better="lower", paired=True)
    trimmed = change(base, head, better="lower", paired=True, trim=TRIMMED)
    assert plain.interval()[0] < 1 < plain.interval()[1]
    assert trimmed.value == pytest.approx(1.2, rel=0.01)
    assert trimmed.interval()[0] > 1.18


@given(pairs)
def test_paired_is_students_t_on_ratios_within_pairs(values: list[tuple[float, float]]) -> None:
    base, head = (list(side) for side in zip(*values, strict=True))
    apart = np.log(head) - np.log(base)
    assume(apart.std() > 1e-9)
    found = change(base, head, better="lower", paired=True)
    assert found is not None
    known = stats.ttest_rel(np.log(head), np.log(base))
    assert found.centre / found.error == pytest.approx(known.statistic, rel=1e-5, abs=1e-9)
    low, high = known.confidence_interval(0.95)
    interval = found.interval()
    assert interval == pytest.approx((math.exp(low), math.exp(high)), rel=1e-6)


def test_a_pair_without_a_value_counts_on_neither_side() -> None:
    base, head = [1.0, None, 2.0, 4.0], [2.0, 9.0, None, 8.0]
    found = change(base, head, better="lower", paired=True)
    assert found is not None
    assert found.n == (2, 2)
    assert found.value == pytest.approx(2.0)
    assert change([None], [1.0], better="lower", paired=True) is None
    assert change([], [1.0], better="lower", paired=False) is None


def test_what_may_be_on_either_side_of_zero_is_compared_by_difference() -> None:
    found = change([1.0, 3.0], [4.0, 6.0], better="lower", paired=False, signed=True)
    assert found is not None
    assert (found.kind, found.value) == ("difference", 3.0)
    nothing = change([0.0, 0.0], [4.0, 6.0], better="lower", paired=False)
    assert nothing is not None
    assert (nothing.kind, nothing.value, nothing.tolerates(0.5)) == ("difference", 5.0, 0.0)


def test_what_is_0_now_and_then_is_compared_by_its_means() -> None:
    base, head = [0.0, 10.0, 12.0, 8.0, 11.0, 9.0], [0.0, 5.0, 6.0, 4.0, 5.5, 4.5]
    found = change(base, head, better="higher", paired=True)
    assert found is not None
    assert (found.kind, found.value) == ("means", pytest.approx(0.5))
    assert found.tolerates(0.1) == 0.1
    assert found.p_worse(0.1) == 0.0  # half in every pair, exactly
    gone = change(base, [0.0] * 6, better="higher", paired=False)
    assert gone is not None
    assert (gone.value, gone.worse_by()) == (0.0, (1.0, 1.0))


@pytest.mark.parametrize("paired", [True, False])
def test_the_error_of_a_ratio_of_means_is_as_large_as_it_varies(paired: bool) -> None:
    rng = np.random.default_rng(0)
    draws = [
        change(
            np.maximum(rng.normal(2, 1, 30), 0),
            np.maximum(rng.normal(3, 1, 30), 0),
            better="lower",
            paired=paired,
        )
        for _ in range(600)
    ]
    assert {one.kind for one in draws} <= {"means", "ratio"}
    means = [one for one in draws if one.kind == "means"]
    assert np.std([one.centre for one in means]) == pytest.approx(
        np.mean([one.error for one in means]), rel=0.15
    )


def test_values_of_the_same_processes_count_for_fewer() -> None:
    rng = np.random.default_rng(1)
    groups = [n // 8 for n in range(40)]

    def false_alarms(sigma: float, of: list[int] | None) -> float:
        found = 0
        for _ in range(1500):
            level = rng.normal(0, sigma, 5)[groups]
            apart = np.exp(level + rng.normal(0, 0.08, 40))
            bounds = change(np.ones(40), apart, better="lower", paired=True, groups=of).worse_by()
            found += bounds[0] > 0
        return found / 1500

    # Of processes that differ by as much as their blocks, a fifth would be called worse.
    assert false_alarms(0.08, None) > 0.15
    assert false_alarms(0.08, groups) < 0.08
    assert false_alarms(0.02, groups) < 0.05
    # Those that do not differ lose a little.
    assert 0.002 < false_alarms(0.0, groups) < 0.035


def test_more_of_what_should_be_more_is_better() -> None:
    base, head = [100.0, 101.0, 99.0], [50.0, 50.5, 49.5]
    rate = change(base, head, better="higher", paired=False)
    latency = change(base, head, better="lower", paired=False)
    assert rate is not None
    assert latency is not None
    low, high = rate.worse_by()
    assert low > 0
    assert latency.worse_by() == pytest.approx((-high, -low))
    assert rate.p_worse(0.0) < 0.01
    assert latency.p_worse(0.0) > 0.99
    # Half of a rate is lost where it is half, and as much is gained of a latency that doubles.
    assert rate.as_share(math.log(2)) == pytest.approx(0.5)
    assert latency.as_share(math.log(2)) == pytest.approx(1.0)
    assert math.exp(-tolerated(0.1, "higher")) == pytest.approx(0.9)
    assert math.exp(tolerated(0.1, "lower")) == pytest.approx(1.1)


def test_values_that_never_vary_are_known_exactly() -> None:
    same = change([5.0, 5.0], [5.0, 5.0], better="lower", paired=False)
    more = change([5.0, 5.0], [6.0, 6.0], better="lower", paired=False)
    assert same is not None
    assert more is not None
    assert same.interval() == (1.0, 1.0)
    assert more.interval() == pytest.approx((1.2, 1.2))
    assert (same.p_worse(0.0), more.p_worse(0.0)) == (1.0, 0.0)
    assert same.least() == 0.0


def test_of_one_value_a_side_nothing_is_known_but_the_ratio() -> None:
    found = change([2.0], [4.0], better="lower", paired=False)
    assert found is not None
    assert found.value == pytest.approx(2.0)
    assert found.interval() is None
    assert found.p_worse(0.0) is None
    assert found.least_shown() is None


def test_values_at_the_ends_of_what_numbers_can_be_still_give_numbers() -> None:
    found = change([1e-300, 1e-300, 2e-300], [1e300, 1e300, 2e300], better="lower", paired=False)
    assert found is not None
    assert math.isfinite(found.value)
    assert all(map(math.isfinite, found.interval()))


def test_the_smallest_change_that_could_be_shown_is_shown_as_often_as_said() -> None:
    rng = np.random.default_rng(1)
    n, sigma, runs = 10, 0.1, 2000
    seen = []
    base, head = rng.normal(0, sigma, (2, runs, n))
    plain = [
        change(np.exp(b), np.exp(h), better="lower", paired=False)
        for b, h in zip(base[:200], head[:200], strict=True)
    ]
    typical = float(np.median([one.least() for one in plain]))
    for b, h in zip(base, head + typical, strict=True):
        bounds = change(np.exp(b), np.exp(h), better="lower", paired=False).worse_by()
        seen.append(bounds[0] > 0)
    assert 0.76 < np.mean(seen) < 0.84


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5),
    st.booleans(),
)
@example([1e308, -1e308], [-1e308, 1e308], True)
@example([5e-324, 1e-323], [1.7e308, 1e308], False)
def test_whatever_numbers_there_are_what_comes_of_them_are_numbers(
    base: list[float], head: list[float], paired: bool
) -> None:
    found = change(base, head, better="lower", paired=paired)
    if found is None:
        return
    assert math.isfinite(found.value)
    interval, least = found.interval(), found.least_shown()
    if interval is not None:
        assert -math.inf < interval[0] <= interval[1] < math.inf
        assert math.isfinite(least)
    p = found.p_worse(0.01)
    assert p is None or 0 <= p <= 1


@given(st.tuples(st.integers(0, 40), st.integers(0, 40)), st.tuples(*[st.integers(0, 40)] * 2))
def test_more_often_is_fishers_exact_test(base: tuple[int, int], head: tuple[int, int]) -> None:
    base, head = ((min(one), max(one)) for one in (base, head))
    (few, n), (many, m) = base, head
    exact = sum(
        Fraction(comb(m, k) * comb(n, few + many - k), comb(n + m, few + many))
        for k in range(many, min(m, few + many) + 1)
    )
    assert more_often(base, head) == pytest.approx(float(exact), rel=1e-9)


def test_more_often_of_very_many_blocks_is_told() -> None:
    assert more_often((50_000, 100_000), (50_000, 100_000)) == pytest.approx(0.5, abs=0.01)
    assert more_often((50_000, 100_000), (90_000, 100_000)) == 0.0
