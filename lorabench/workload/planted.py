r"""The truth behind generated labels: a factorisation machine whose parameters drift.

A factorisation machine (Rendle 2010) with R factors. Nothing of it is stored: preference w and
factors v in R^R of row i of table f are nearly normal functions (a sum of four uniforms) of a hash
of (f, i), and of two clocks (`lorabench.workload.drift`) at time t:

Each row's own drift.
    The row is born again each time its clock passes a phase of its own, :math:`m_i = \lfloor
    T_{row}(t) + \phi_i \rfloor`; w and v are then drawn anew, in all 1 + R directions.
Shared drift.
    In direction j (0 is the preference, 1 to R are the factors) every row turns from one draw to
    the next by the same angle: with :math:`T_j(t) = n + \alpha`, n whole,

    .. math::
        \theta_j(f, i, t) = \cos(\alpha \pi / 2) \, z_j(f, i, m_i, n)
                          + \sin(\alpha \pi / 2) \, z_j(f, i, m_i, n + 1)

    so what moves between two moments lies in as many directions as have turned: the rank of the
    schedule. The variance never changes.

A sample with rows i_1 .. i_F (of a multi-hot feature, the sum over its H ids times H^(-1/2)) and
counts x_1 .. x_D is clicked on with probability

.. math::
    g_1 &= F^{-1/2} \sum_f w_f(i_f) \\
    g_2 &= (R F (F-1) / 2)^{-1/2} \sum_{f<h} \langle v_f(i_f), v_h(i_h) \rangle \\
    g_3 &= \sum_d c_d (\log(\max(x_d, 0) + 1/2) - location_d) / scale_d,
           \quad \|c\| = 1, \text{ 0 where missing or } scale_d \le 10^{-3} \\
    g_4 &= F^{-1/2} \sum_f u_f(i_f) \\
    g &= \sqrt{a_1} g_1 + \sqrt{a_2} g_2 + \sqrt{a_3} g_3 \\
    P(click) &= \sigma(\beta + strength \cdot ((g - \mu) / s
                 + day\_taste \sqrt{2} \sin(2 \pi t / day) \, g_4))

where a are the spec's shares, u a third hash (the daily preference), and the mean mu, the standard
deviation s, and beta, which makes the mean probability the base rate, come from a pilot chunk at
time 0. The model is held still for `TICK_ROWS` rows at a time.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorabench._kernels.generate import plant_sums
from lorabench.workload.block import Block
from lorabench.workload.drift import Drift
from lorabench.workload.spec import WorkloadSpec

TICK_ROWS = 4096
"""Rows between two readings of the clocks."""

_CONSTANT = 1e-3  # a count that varies less does not survive being floored


def tick_times(spec: WorkloadSpec, drift: Drift, first_row: int, rows: int) -> NDArray[np.float64]:
    """Time, in s, of the middle of every tick that rows first_row .. first_row + rows touch."""
    first, last = first_row // TICK_ROWS, -(-(first_row + rows) // TICK_ROWS)
    middle = (np.arange(first, last) + 0.5) * TICK_ROWS / spec.rows_per_s
    return drift.time_s(middle)


@dataclass(frozen=True)
class _Moment:
    """The clocks at one tick, as the kernel wants them."""

    knots: NDArray[np.uint32]
    near: NDArray[np.float32]
    far: NDArray[np.float32]
    own: float
    day: float


class PlantedModel:
    """The planted model of a spec and a seed; its size does not depend on the tables' sizes.

    Parameters
    ----------
    spec : WorkloadSpec
        The workload.
    sequence : numpy.random.SeedSequence
        Of the parameters.
    pilot : Block
        Rows of the workload at time 0, to calibrate on.
    """

    def __init__(self, spec: WorkloadSpec, sequence: np.random.SeedSequence, pilot: Block) -> None:
        self._spec = spec
        self._drift = Drift(spec.drift)
        self._dims = 1 + spec.labels.rank
        features = spec.num_sparse
        self._hotness = np.array(spec.sparse.hotness, np.int32)
        keys = sequence.generate_state(features * (self._dims + 1) * 2, np.uint32)
        self._keys = keys.astype(np.uint32).reshape(features, self._dims + 1, 2)
        rng = np.random.default_rng(sequence.spawn(1)[0])
        direction = rng.standard_normal(spec.num_dense)
        scale = np.array(spec.dense.scale)
        varies = scale > _CONSTANT
        weight = np.divide(direction, scale, out=np.zeros_like(scale), where=varies)
        length = float(np.linalg.norm(direction))
        share_preference, share_pairs, share_dense = spec.labels.shares
        self._dense_weight = (
            weight * math.sqrt(share_dense) / length if length else weight
        ).astype(np.float32)
        self._dense_centre = np.array(spec.dense.location, np.float32)
        pairs = features * (features - 1) / 2 * spec.labels.rank
        self._preference_weight = np.float32(math.sqrt(share_preference / features))
        self._pair_weight = np.float32(math.sqrt(share_pairs / pairs) if pairs else 0.0)
        self._daily_weight = np.float32(math.sqrt(1 / features))

        self._mean, self._gain, self._intercept = 0.0, 1.0, 0.0
        still = self._moment(0.0)
        raw = self._logits(pilot, lambda _tick: still, 0)
        self._mean = float(raw.mean())
        spread = float(raw.std())
        self._gain = spec.labels.strength / spread if spread > 0 else 0.0
        self._intercept = _intercept((raw - self._mean) * self._gain, spec.labels.base_rate)

    def probability(self, block: Block, first_row: int) -> NDArray[np.float64]:
        """Return the true click probability of rows of the stream.

        Parameters
        ----------
        block : Block
            N rows; their labels are not looked at.
        first_row : int
            Number of the first in the stream: it tells where the drift stands.

        Returns
        -------
        float64 array [N]
        """
        return sigmoid(self.logit(block, first_row))

    def logit(self, block: Block, first_row: int) -> NDArray[np.float64]:
        """Return the log odds of `probability`, float64 [N]."""
        times = tick_times(self._spec, self._drift, first_row, len(block))
        return self._logits(block, lambda tick: self._moment(float(times[tick])), first_row)

    def _moment(self, time_s: float) -> _Moment:
        turns = np.array([self._drift.shared_taste(time_s, j) for j in range(self._dims)])
        angle = (turns % 1.0) * (math.pi / 2)
        return _Moment(
            knots=np.floor(turns).astype(np.uint32),
            near=np.cos(angle).astype(np.float32),
            far=np.sin(angle).astype(np.float32),
            own=float(self._drift.row_taste(time_s)),
            day=float(self._drift.day(time_s)),
        )

    def _logits(
        self, block: Block, moment: Callable[[int], _Moment], first_row: int
    ) -> NDArray[np.float64]:
        columns = np.ascontiguousarray(block.sparse.T)
        logit = np.empty(len(block))
        begin = 0
        while begin < len(block):
            tick = (first_row + begin) // TICK_ROWS - first_row // TICK_ROWS
            end = min(len(block), begin + TICK_ROWS - (first_row + begin) % TICK_ROWS)
            logit[begin:end] = self._tick_logits(columns, moment(tick), begin, end)
            begin = end
        logit += self._gain * self._counts(block.dense)
        return logit

    def _tick_logits(
        self, columns: NDArray[np.int32], now: _Moment, begin: int, end: int
    ) -> NDArray[np.float64]:
        sums = np.empty((3, end - begin), np.float32)
        plant_sums(
            columns,
            self._hotness,
            self._keys,
            now.knots,
            now.near,
            now.far,
            sums,
            start=begin,
            own=now.own,
            day=now.day,
        )
        preference, pairs, daily = sums
        still = self._preference_weight * preference + self._pair_weight * pairs
        swing = self._spec.labels.strength * (self._daily_weight * daily).astype(np.float64)
        return (still.astype(np.float64) - self._mean) * self._gain + swing + self._intercept

    def _counts(self, dense: NDArray[np.float32]) -> NDArray[np.float64]:
        total = np.zeros(len(dense), np.float32)
        # A loop, not `@`: the order in which BLAS adds depends on the machine.
        for values, weight, centre in zip(
            dense.T, self._dense_weight, self._dense_centre, strict=True
        ):
            logs = np.log(np.maximum(values, 0) + np.float32(0.5))
            logs -= centre
            logs *= weight
            logs[np.isnan(values)] = 0
            total += logs
        return total.astype(np.float64)


def sigmoid(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logistic function."""
    from scipy.special import expit

    return np.asarray(expit(logit))


def _intercept(logit: NDArray[np.float64], base_rate: float) -> float:
    """Find beta with mean(sigmoid(beta + logit)) = base_rate by bisection: the mean is monotone."""
    centre = math.log(base_rate / (1 - base_rate))
    reach = float(np.abs(logit).max())
    low, high = centre - reach, centre + reach
    for _ in range(60):
        middle = (low + high) / 2
        if sigmoid(logit + middle).mean() < base_rate:
            low = middle
        else:
            high = middle
    return (low + high) / 2
