"""How much training an SLO allows, against simulated truths."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lorabench.results.headroom import (
    DutySweepData,
    Fit,
    Slo,
    fit,
    headroom,
    invert,
)

# A queue's p99 against training: flat at first, then steep. Per-core rate 10,000 samples/s.
DUTY = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
RATE = 10_000.0
P99_S = 0.010


def truth_ratio(samples: np.ndarray | float) -> np.ndarray | float:
    return np.exp(0.3 * (np.asarray(samples) / RATE) ** 2)


def simulate(rng: np.random.Generator, rounds: int, noise: float = 0.03) -> DutySweepData:
    """Rounds with weather of their own, and noise in every cell."""
    samples = np.tile(DUTY * RATE, (rounds, 1)) * rng.normal(1.0, 0.02, (rounds, len(DUTY)))
    weather = rng.normal(0.0, 0.3, (rounds, 1))
    p99 = P99_S * truth_ratio(samples) * np.exp(weather + rng.normal(0, noise, samples.shape))
    return DutySweepData(DUTY, p99, samples, samples / RATE)


TRUE_SAMPLES = RATE * math.sqrt(math.log(1.10) / 0.3)


def test_the_fit_never_falls_and_is_the_data_where_these_rise() -> None:
    sweep_data = simulate(np.random.default_rng(1), 4, noise=0.0)
    found = fit(sweep_data)
    np.testing.assert_allclose(found.fitted, found.log_p99)
    noisy = fit(simulate(np.random.default_rng(2), 3, noise=0.5))
    assert (np.diff(noisy.fitted) >= 0).all()
    assert noisy.fitted.mean() == pytest.approx(noisy.log_p99.mean())


def test_the_headroom_is_where_the_curve_meets_the_slo() -> None:
    found = headroom(simulate(np.random.default_rng(3), 8, noise=0.0), Slo(ratio=1.10), seed=0)
    assert found is not None
    assert not found.usable.at_least
    # A chord lies above a convex curve: a little less than the truth.
    assert 0.93 * TRUE_SAMPLES < found.usable.samples_per_s <= TRUE_SAMPLES * 1.01
    assert found.usable.cores == pytest.approx(found.usable.samples_per_s / RATE)


def test_the_interval_covers_a_simulated_truth_about_as_often_as_it_says() -> None:
    # Of the chord, which is what the ladder's duties let one see.
    clean = DutySweepData(
        DUTY, P99_S * truth_ratio(DUTY * RATE)[None], (DUTY * RATE)[None], DUTY[None]
    )
    seen = headroom(clean, Slo(ratio=1.10), seed=0)
    assert seen is not None
    hits = 0
    tries = 120
    for seed in range(tries):
        sweep_data = simulate(np.random.default_rng((7, seed)), 8)
        found = headroom(sweep_data, Slo(ratio=1.10), seed=seed, resamples=600)
        assert found is not None
        assert found.samples_interval is not None
        low, high = found.samples_interval
        hits += low <= seen.usable.samples_per_s <= high
    # Five in a thousand of correct intervals would give fewer than 107 of 120.
    assert hits >= 107


def test_an_slo_in_seconds_meets_the_mean_curve() -> None:
    limit = P99_S * float(truth_ratio(0.6 * RATE))
    rng = np.random.default_rng(5)
    sweep_data = simulate(rng, 8, noise=0.0)
    alone = float(np.exp(np.log(sweep_data.p99_s[:, 0]).mean()))
    found = headroom(sweep_data, Slo(limit_s=limit * alone / P99_S), seed=0)
    assert found is not None
    assert found.limit_s == pytest.approx(limit * alone / P99_S)
    assert found.usable.samples_per_s == pytest.approx(0.6 * RATE, rel=0.03)


def test_an_slo_that_is_never_reached_gives_at_least_the_most_there_was() -> None:
    found = headroom(simulate(np.random.default_rng(6), 8), Slo(ratio=3.0), seed=0)
    assert found is not None
    assert found.usable.at_least
    assert found.open_share == 1.0
    assert found.usable.samples_per_s == pytest.approx(found.fit.samples_per_s[-1])
    assert found.usable.cores == pytest.approx(found.fit.cores[-1])


def test_an_slo_that_serving_alone_breaks_leaves_nothing() -> None:
    found = headroom(simulate(np.random.default_rng(6), 8), Slo(limit_s=P99_S / 10), seed=0)
    assert found is not None
    assert (found.usable.samples_per_s, found.usable.cores) == (0.0, 0.0)
    assert found.samples_interval == (0.0, 0.0)
    assert not found.usable.at_least


def test_a_round_without_a_p99_at_some_duty_is_left_out() -> None:
    sweep_data = simulate(np.random.default_rng(8), 4)
    sweep_data.p99_s[2, 3] = np.nan
    assert sweep_data.whole().rounds == 3
    sweep_data.p99_s[:, 0] = np.nan
    assert headroom(sweep_data, Slo(ratio=1.1), seed=0) is None


def test_one_round_has_no_interval() -> None:
    found = headroom(simulate(np.random.default_rng(9), 1), Slo(ratio=1.1), seed=0)
    assert found is not None
    assert found.samples_interval is None


def test_the_same_seed_gives_the_same_interval() -> None:
    sweep_data = simulate(np.random.default_rng(10), 6)
    first, again, other = (
        headroom(sweep_data, Slo(ratio=1.1), seed=seed, resamples=200) for seed in (1, 1, 2)
    )
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.samples_interval == again.samples_interval != other.samples_interval


@example(
    [524291.0, 1.7953801846015267, 524290.7028339793], [0.0, 0.0, -1.0] + 9 * [0.0], -5.85e-131
)
@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=12),
    st.lists(st.floats(-5, 5), min_size=12, max_size=12),
    st.floats(-5, 5),
)
def test_what_is_usable_lies_on_the_curve_and_keeps_the_limit(
    x: list[float], y: list[float], limit: float
) -> None:
    samples, fitted = np.sort(np.array(x)), np.sort(np.array(y[: len(x)]))
    found = invert(Fit(samples, samples, samples / 10, fitted, fitted), limit)
    if fitted[0] > limit:
        assert found.samples_per_s == 0.0
        return
    assert 0.0 <= found.samples_per_s <= samples[-1]
    assert found.at_least == bool(fitted[-1] <= limit)
    # Everything that is less keeps the limit, everything above breaks it.
    assert (fitted[samples < found.samples_per_s] <= limit).all()
    assert (fitted[samples > found.samples_per_s] > limit).all()
