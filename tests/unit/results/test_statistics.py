"""The statistics against plain twins, the textbook, and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from lorabench.results.statistics import (
    Estimate,
    detectable_difference,
    geometric_mean,
    holm,
    mean,
    median,
    paired_p,
    quantile,
    ratio_of_sums,
    saturated,
)

finite = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(finite, min_size=1, max_size=300), st.sampled_from([0.01, 0.5, 0.9, 0.95, 0.99]))
def test_a_quantile_is_the_smallest_sample_that_a_share_q_does_not_exceed(samples, q) -> None:
    found = quantile(np.array(samples), q, min_beyond=0)
    at_most = [sum(other <= x for other in samples) >= q * len(samples) - 1e-9 for x in samples]
    assert found == min(x for x, enough in zip(samples, at_most, strict=True) if enough)


@pytest.mark.parametrize(("q", "least"), [(0.5, 40), (0.95, 400), (0.99, 2000), (0.999, 20_000)])
def test_a_quantile_with_fewer_than_20_samples_beyond_is_not_given(q: float, least: int) -> None:
    assert quantile(np.arange(float(least)), q) == q * least - 1
    assert quantile(np.arange(float(least - 1)), q) is None
    assert quantile(np.zeros(0), q) is None


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=20))
def test_the_interval_of_a_mean_is_students(values) -> None:
    from scipy import stats

    found = mean(values)
    assert found is not None
    assert found.interval is not None
    assert found.value == pytest.approx(np.mean(values), abs=1e-9)
    if np.std(values) > 1e-6:
        expected = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        assert found.interval == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(st.lists(st.none() | st.floats(-100, 100), max_size=20))
def test_a_detectable_difference_is_the_textbooks(values) -> None:
    from scipy import stats

    known = [value for value in values if value is not None]
    found = detectable_difference(values)
    if len(known) < 2:
        assert found is None
        return
    degrees = len(known) - 1
    quantiles = stats.t.ppf(0.975, degrees) + stats.t.ppf(0.8, degrees)
    assert found == pytest.approx(quantiles * stats.sem(known), abs=1e-12)


@pytest.mark.parametrize("n", [5, 12])
def test_a_detectable_difference_is_told_from_0_four_times_in_five(n: int) -> None:
    rng = np.random.default_rng(n)
    # Of its mean square, since what one run gives varies as its own standard deviation does.
    squares = [detectable_difference(rng.normal(size=n).tolist()) ** 2 for _ in range(2000)]
    least = math.sqrt(np.mean(squares))
    told = [mean(rng.normal(least, 1, n).tolist()).interval[0] > 0 for _ in range(2000)]
    assert np.mean(told) == pytest.approx(0.8, abs=0.04)


pair = st.tuples(st.floats(-10, 10), st.integers(-10, 100).map(lambda n: n / 16))


@given(st.lists(st.none() | pair, max_size=12))
def test_a_ratio_of_sums_is_the_textbooks_jackknife(pairs) -> None:
    from scipy import stats

    known = np.array([one for one in pairs if one is not None], np.float64).reshape(-1, 2)
    n, found = len(known), ratio_of_sums(pairs)
    sums = np.array([math.fsum(side) for side in known.T])
    if n == 0 or sums[1] <= 0:
        assert found is None
        return
    assert found is not None
    assert (found.value, found.n) == (sums[0] / sums[1], n)
    rest = np.array([[math.fsum(np.delete(side, k)) for side in known.T] for k in range(n)])
    if n == 1 or (rest[:, 1] <= 0).any():
        assert found.interval is None
        return
    # Tukey's pseudo-values, whose standard error of the mean it is.
    pseudo = n * found.value - (n - 1) * rest[:, 0] / rest[:, 1]
    half = stats.t.ppf(0.975, n - 1) * stats.sem(pseudo)
    assert found.interval is not None
    scale = 1e-9 * (1 + float(np.abs(pseudo).max()))
    assert found.interval == pytest.approx((found.value - half, found.value + half), abs=scale)


def test_of_equal_denominators_a_ratio_of_sums_is_the_mean_of_ratios() -> None:
    ratios = [0.5, 0.8, 0.9, 0.4]
    found, expected = ratio_of_sums([(2 * one, 2.0) for one in ratios]), mean(ratios)
    assert found.value == pytest.approx(expected.value)  # type: ignore[union-attr]
    assert found.interval == pytest.approx(expected.interval)  # type: ignore[union-attr]


def test_a_block_with_a_tiny_denominator_carries_no_ratio_of_sums() -> None:
    found = ratio_of_sums([(0.8, 1.0), (0.7, 1.0), (0.02, 1e-4), (0.75, 1.0), (0.01, -1e-4)])
    assert found.value == pytest.approx(0.76)  # type: ignore[union-attr]
    assert found.n == 5  # type: ignore[union-attr]


def test_the_jackknife_interval_of_a_ratio_covers_about_what_it_says() -> None:
    rng = np.random.default_rng(0)
    truth, draws, covered = 0.75, 2000, 0
    for _ in range(draws):
        below = rng.lognormal(0, 0.3, 8)
        above = truth * below + rng.normal(0, 0.1, 8)
        low, high = ratio_of_sums(list(zip(above, below, strict=True))).interval  # type: ignore[union-attr,misc]
        covered += low <= truth <= high
    assert 0.92 < covered / draws < 0.98


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=20))
def test_a_ratio_and_its_inverse_have_inverse_means_and_intervals(ratios) -> None:
    found, inverse = geometric_mean(ratios), geometric_mean([1 / r for r in ratios])
    assert found is not None
    assert inverse is not None
    assert found.interval is not None
    assert inverse.interval is not None
    assert found.value == pytest.approx(1 / inverse.value)
    low, high = inverse.interval
    if high < 1e200 and low > 1e-200:
        assert found.interval == pytest.approx((1 / high, 1 / low), rel=1e-6)


def test_rounds_without_a_value_are_left_out_and_one_round_has_no_interval() -> None:
    assert mean([None, 3.0, None]) == mean([3.0])
    assert mean([3.0]).interval is None  # type: ignore[union-attr]
    assert mean([None, None]) is None
    assert geometric_mean([None, 2.0, 8.0]).value == pytest.approx(4.0)  # type: ignore[union-attr]
    assert geometric_mean([None, 2.0, 8.0]).n == 2  # type: ignore[union-attr]


def test_the_interval_of_eight_paired_ratios_covers_what_it_says() -> None:
    rng = np.random.default_rng(0)
    truth, draws, covered = 1.07, 4000, 0
    for _ in range(draws):
        # Each round has its own weather, which both sides share, and noise of its own.
        weather = rng.normal(0, 0.5, 8)
        head = np.exp(weather + math.log(truth) + rng.normal(0, 0.1, 8))
        base = np.exp(weather + rng.normal(0, 0.1, 8))
        low, high = geometric_mean(list(head / base)).interval  # type: ignore[union-attr,misc]
        covered += low <= truth <= high
    assert 0.935 < covered / draws < 0.965


def single_server(load: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Poisson arrivals for ten seconds at a server that needs 1 ms for each, first come first."""
    rng = np.random.default_rng(seed)
    scheduled = np.sort(rng.uniform(0, 10e9, int(load * 10_000))).astype(np.int64)
    started = np.zeros_like(scheduled)
    free = 0
    for i, at in enumerate(scheduled):
        started[i] = max(at, free)
        free = started[i] + 1_000_000
    return scheduled, started


@pytest.mark.parametrize("seed", range(5))
def test_saturation_is_a_queue_that_only_grows(seed: int) -> None:
    assert not saturated(*single_server(0.5, seed))
    assert not saturated(*single_server(0.8, seed))
    assert saturated(*single_server(1.1, seed))
    assert saturated(*single_server(2.0, seed))


def test_a_stall_that_is_worked_off_is_no_saturation() -> None:
    scheduled = np.arange(0, 10_000_000_000, 2_000_000)
    started = scheduled + np.where((scheduled > 4e9) & (scheduled < 5e9), 200_000_000, 100_000)
    assert not saturated(scheduled, started)


def test_the_median_has_an_interval_between_order_statistics() -> None:
    found = median([float(v) for v in range(1, 22)])
    # Of 21 fair coins at most 5 are heads with probability 0.0133, at most 6 with 0.0392.
    assert found == Estimate(11.0, (6.0, 16.0), 21)
    assert median([3.0, None, 1.0, 2.0, 4.0]) == Estimate(2.5, None, 4)
    assert median([]) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=6, max_size=40))
def test_the_median_lies_in_its_interval_whatever_the_order(values: list[float]) -> None:
    found = median(values)
    assert found is not None
    assert found.interval is not None
    low, high = found.interval
    assert low <= found.value <= high
    assert found == median(values[::-1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_lowers_nothing(p_values) -> None:
    found = holm(p_values)
    assert all(one >= p for one, p in zip(found, p_values, strict=True))
    assert max(found) <= 1.0
    ordered = [one for _, one in sorted(zip(p_values, found, strict=True))]
    assert ordered == sorted(ordered)
    assert min(found) == pytest.approx(min(1.0, len(p_values) * min(p_values)))


@pytest.mark.parametrize("values", [[0.1, 0.2, 0.4], [-1.0, 0.5, None, 0.3, 2.0]])
def test_a_paired_p_value_is_that_of_a_t_test(values) -> None:
    there = [value for value in values if value is not None]
    assert paired_p(values) == pytest.approx(ttest_1samp(there, 0.0).pvalue)


def test_the_same_difference_throughout_is_sure() -> None:
    assert (paired_p([0.1, 0.1]), paired_p([0.0, 0.0]), paired_p([0.1])) == (0.0, 1.0, None)
