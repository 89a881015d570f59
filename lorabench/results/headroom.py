"""How much training an SLO allows: usable headroom, estimated from a sweep of training duties.

p99 rises with training, so log p99 against trained samples/s is fitted by isotonic regression (pool
adjacent violators: Barlow et al., Statistical Inference under Order Restrictions, 1972) and the fit
is inverted at the SLO; rounds are resampled whole, since queries of one round share its weather.
Pure; ``docs/headroom.md`` has the method. Loads over time are in `lorabench.results.windows`.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DutySweepData:
    """What was measured at each training duty, round by round.

    Parameters
    ----------
    duty : float64 [K]
        Shares of the time in which the trainer may run, from 0.
    p99_s : float64 [N, K]
        Of N rounds; NaN where a round gave none.
    samples_per_s : float64 [N, K]
        Trained.
    cores : float64 [N, K]
        CPU time of the trainer a second.
    """

    duty: Floats
    p99_s: Floats
    samples_per_s: Floats
    cores: Floats

    @property
    def rounds(self) -> int:
        """N."""
        return len(self.p99_s)

    def whole(self) -> "DutySweepData":
        """Keep the rounds that gave values at every duty: only these can be resampled fairly."""
        there = np.isfinite(self.p99_s) & np.isfinite(self.samples_per_s) & np.isfinite(self.cores)
        return self.take(np.flatnonzero(there.all(axis=1)))

    def take(self, rounds: NDArray[np.intp]) -> "DutySweepData":
        """Keep some rounds, one maybe more than once."""
        return DutySweepData(
            self.duty, self.p99_s[rounds], self.samples_per_s[rounds], self.cores[rounds]
        )


@dataclass(frozen=True)
class Slo:
    """What p99 must not exceed: `limit_s`, or `ratio` times p99 without training.

    Exactly one of the two is given.
    """

    limit_s: float | None = None
    ratio: float | None = None

    def log_limit(self, log_p99_alone: float) -> float:
        """Log of the limit where p99 without training is that."""
        if self.limit_s is not None:
            return math.log(self.limit_s)
        assert self.ratio is not None
        return math.log(self.ratio) + log_p99_alone


@dataclass(frozen=True)
class Fit:
    """Log p99 as a function that never falls with trained samples/s.

    Attributes
    ----------
    duty : float64 [K]
        In the order of what was trained.
    samples_per_s : float64 [K]
        Rising; means over rounds.
    cores, log_p99 : float64 [K]
        At each: CPU time a second, mean log p99.
    fitted : float64 [K]
        Log p99 by isotonic regression.
    """

    duty: Floats
    samples_per_s: Floats
    cores: Floats
    log_p99: Floats
    fitted: Floats


@dataclass(frozen=True)
class Usable:
    """The most training whose fitted p99 keeps the SLO.

    Attributes
    ----------
    samples_per_s, cores : float
        How much that is; 0 where the SLO is broken without any training.
    at_least : bool
        The SLO was kept at the most training there was, so that more might do.
    """

    samples_per_s: float
    cores: float
    at_least: bool


@dataclass(frozen=True)
class Headroom:
    """A usable headroom with its 95 % intervals.

    Attributes
    ----------
    usable : Usable
        From all rounds.
    samples_interval, cores_interval : tuple of float, or None
        From resampled rounds; None with fewer than two rounds.
    fit : Fit
        That it is read from.
    limit_s : float
        The SLO, s.
    open_share : float
        Share of the resamples in which the SLO was never reached.
    """

    usable: Usable
    samples_interval: tuple[float, float] | None
    cores_interval: tuple[float, float] | None
    fit: Fit
    limit_s: float
    open_share: float


def fit(sweep_data: DutySweepData) -> Fit:
    """Fit log p99 against trained samples/s, both averaged over rounds, by isotonic regression."""
    return _fit(
        sweep_data.duty,
        sweep_data.samples_per_s.mean(axis=0),
        sweep_data.cores.mean(axis=0),
        np.log(sweep_data.p99_s).mean(axis=0),
    )


def _fit(duty: Floats, samples: Floats, cores: Floats, log_p99: Floats) -> Fit:
    from scipy.optimize import isotonic_regression

    order = np.argsort(samples, kind="stable")
    fitted = np.asarray(isotonic_regression(log_p99[order]).x, np.float64)
    return Fit(duty[order], samples[order], cores[order], log_p99[order], fitted)


def invert(found: Fit, log_limit: float) -> Usable:
    """Return the most training at which the fit, straight between its points, keeps the limit."""
    kept = np.flatnonzero(found.fitted <= log_limit)
    if not len(kept):
        return Usable(0.0, 0.0, at_least=False)
    last = int(kept[-1])
    x, y, c = found.samples_per_s, found.fitted, found.cores
    if last == len(x) - 1:
        return Usable(float(x[last]), float(c[last]), at_least=True)
    share = (log_limit - y[last]) / (y[last + 1] - y[last])
    # Rounding must not carry it past the point that breaks the limit.
    samples = min(x[last] + share * (x[last + 1] - x[last]), x[last + 1])
    cores = c[last] + share * (c[last + 1] - c[last])
    return Usable(float(samples), float(cores), at_least=False)


def headroom(
    sweep_data: DutySweepData, slo: Slo, *, seed: int, resamples: int = 2000
) -> Headroom | None:
    """Estimate the usable headroom and how sure it is.

    The interval is a percentile interval over resampled rounds, expanded: a bootstrap of n rounds
    draws from a spread that is too small by (n - 1) / n and knows no t law, so its percentiles are
    taken at the level at which a normal mean's would cover what Student's interval covers
    (Hesterberg, What Teachers Should Know About the Bootstrap, 2015, section 3.3).

    Parameters
    ----------
    ladder : DutySweepData
        Rounds that lack a p99 are left out.
    slo : Slo
        What p99 must keep. A ratio is to the same rounds' p99 at duty 0, which pairs the two.
    seed : int
        Of the resampling.
    resamples : int
        How many.

    Returns
    -------
    Headroom or None
        None without a round that gave a p99 at every duty.
    """
    whole = sweep_data.whole()
    n = whole.rounds
    if n == 0:
        return None
    found = fit(whole)
    log_p99 = np.log(whole.p99_s)
    at_rest = whole.duty == 0.0
    log_limit = slo.log_limit(float(log_p99[:, at_rest].mean()))
    usable = invert(found, log_limit)
    samples_interval = cores_interval = None
    open_share = float(usable.at_least)
    if n > 1:
        rng = np.random.default_rng(seed)
        # How often each round was drawn, as a share: a resample's means are these times the rounds.
        share = rng.multinomial(n, np.full(n, 1 / n), size=resamples) / n
        means = [share @ each for each in (whole.samples_per_s, whole.cores, log_p99)]
        drawn = [
            invert(
                _fit(whole.duty, samples, cores, logs), slo.log_limit(float(logs[at_rest].mean()))
            )
            for samples, cores, logs in zip(*means, strict=True)
        ]
        tail = _expanded_tail(n)
        samples_interval = _percentiles([one.samples_per_s for one in drawn], tail)
        cores_interval = _percentiles([one.cores for one in drawn], tail)
        open_share = float(np.mean([one.at_least for one in drawn]))
    limit_s = math.exp(log_limit)
    return Headroom(usable, samples_interval, cores_interval, found, limit_s, open_share)


def _expanded_tail(n: int) -> float:
    """Share of the resamples to leave out on either side, for `n` rounds."""
    from scipy.special import ndtr, stdtrit

    return float(ndtr(-math.sqrt(n / (n - 1)) * stdtrit(n - 1, 0.975)))


def _percentiles(values: list[float], tail: float) -> tuple[float, float]:
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
