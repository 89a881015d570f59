"""How far one side's values are from another's, with its uncertainty: the arithmetic of comparing.

A quantity that is positive on both sides is compared by its ratio, on logarithms; one that is 0 now
and then, by the ratio of its means; one that may be on either side of zero, by its difference.
Where both sides were measured in turn, block by block, the change is taken within each pair (paired
t); where not, by Welch's t (Welch 1947, The generalization of Student's problem when several
different population variances are involved, Biometrika 34; degrees of freedom after Satterthwaite
1946). Of quantities whose values now and then meet a neighbour, a fifth of the values is trimmed on
either side, with the errors that go with that
(Yuen 1974, The two-sample trimmed t for unequal population variances, Biometrika 61). Values that
came from the same processes may be alike: they then count for fewer (Kish 1965, Survey Sampling,
8.2: the design effect, with the intraclass correlation of `statistics.outer_share`).
"""

import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from lorabench.results.schema import Better
from lorabench.results.statistics import LEVEL, outer_share

Kind = Literal["ratio", "means", "difference"]

TRIMMED = 0.2
"""Share of the values that is left out on either side where some of them meet a neighbour."""

POWER = 0.8
"""How often a change that data "could have shown" would have been."""


@dataclass(frozen=True)
class Change:
    """Head against base.

    Parameters
    ----------
    kind : {"ratio", "means", "difference"}
        What is estimated: head / base, by its logarithm; mean of head / mean of base, less 1; or
        head - base.
    better : {"lower", "higher"}
        Which way is better.
    centre : float
        What is estimated.
    error : float or None
        Its standard error; None with too few values for one.
    freedom : float
        Degrees of freedom of that.
    n : tuple of int
        Values of base and of head; of pairs, twice their number.
    paired : bool
        Taken within pairs.
    """

    kind: Kind
    better: Better
    centre: float
    error: float | None
    freedom: float
    n: tuple[int, int]
    paired: bool

    @property
    def value(self) -> float:
        """Head / base, or head - base."""
        return self._out(self.centre)

    def interval(self, level: float = LEVEL) -> tuple[float, float] | None:
        """Return the interval that leaves out `level` on either side; None where there is none."""
        half = self._half(level)
        if half is None:
            return None
        return self._out(self.centre - half), self._out(self.centre + half)

    def worse_by(self, level: float = LEVEL) -> tuple[float, float] | None:
        """Return the interval of how much worse head is, below 0 for better: see `tolerates`."""
        half, sign = self._half(level), self._sign
        if half is None:
            return None
        return sign * self.centre - half, sign * self.centre + half

    def p_worse(self, limit: float) -> float | None:
        """Return the one-sided p of head being worse by more than `limit` (of `tolerates`)."""
        if self.error is None:
            return None
        beyond = self._sign * self.centre - limit
        if self.error == 0:
            return 0.0 if beyond > 0 else 1.0
        from scipy.special import stdtr

        return float(stdtr(self.freedom, -beyond / self.error))

    def least(self, level: float = LEVEL, power: float = POWER) -> float | None:
        """Return the smallest change that these data would have told from none, as `worse_by`.

        (t_{1-level} + t_{power}) times the standard error (Bloom 1995, Minimum Detectable Effects).
        """
        half, rest = self._half(level), self._half(1 - power)
        return None if half is None or rest is None else half + rest

    def least_shown(self, level: float = LEVEL) -> float | None:
        """Return that as a share of base that head is worse by, or as a difference."""
        least = self.least(level)
        return None if least is None else self.as_share(least)

    def as_share(self, worse: float) -> float:
        """Return how much worse, given as in `worse_by`, as a share of base, or a difference.

        Of something of which more is better, a share that is lost: 0.5 for half.
        """
        if self.kind != "ratio":
            return _number(worse)
        return _exp(worse) - 1 if self.better == "lower" else 1 - _exp(-worse)

    def tolerates(self, share: float) -> float:
        """Return by how much worse, as of `worse_by`, head may be for a tolerance in share.

        A latency may grow to 1 + `share` times its base, a rate may fall to 1 - `share` times. Of
        what is 0 in base every share is 0.
        """
        if self.kind == "ratio":
            return tolerated(share, self.better)
        return share if self.kind == "means" else 0.0

    @property
    def _sign(self) -> int:
        return 1 if self.better == "lower" else -1

    def _out(self, value: float) -> float:
        if self.kind == "ratio":
            return _exp(value)
        return _number(1 + value if self.kind == "means" else value)

    def _half(self, level: float) -> float | None:
        if self.error is None:
            return None
        if self.error == 0:
            return 0.0
        # scipy.special and not scipy.stats, which takes most of a second to import.
        from scipy.special import stdtrit

        return float(stdtrit(self.freedom, 1 - level)) * self.error


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))


def _number(value: float) -> float:
    # Of a few values far apart an interval may reach beyond what a number can be.
    return max(-sys.float_info.max, min(sys.float_info.max, value))


def as_ratio(value: float) -> str:
    """Write a ratio with three decimals, or three digits of one that few values made huge."""
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.3g}"


def as_percent(share: float) -> str:
    """Write a share in percent; of few values far apart nobody needs to know how much exactly."""
    return f"{share * 100:.1f} %" if share < 10 else "over 1,000 %"


def tolerated(share: float, better: Better) -> float:
    """Return the logarithm of how much worse a ratio may be for a tolerance in share.

    Examples
    --------
    >>> round(tolerated(0.1, "lower"), 4), round(tolerated(0.1, "higher"), 4)
    (0.0953, 0.1054)
    """
    return math.log1p(share) if better == "lower" else -math.log1p(-share)


@lru_cache(maxsize=1024)  # every latency of a case asks the same
def more_often(base: tuple[int, int], head: tuple[int, int]) -> float:
    """Return the chance of something happening so much more often to head though it is alike.

    Fisher's exact test, one-sided (Fisher 1935, The Design of Experiments, 12.1).

    Parameters
    ----------
    base, head : tuple of int
        How often it happened, of how many.

    Examples
    --------
    >>> round(more_often((0, 4), (4, 4)), 12)
    0.014285714286
    """
    (few, n), (many, m) = base, head
    # By logarithms: a stranger's document may have so many blocks that whole numbers take minutes.
    ways = _ways(n + m, few + many)
    more = range(many, min(m, few + many) + 1)
    chances = (math.exp(_ways(m, k) + _ways(n, few + many - k) - ways) for k in more)
    return min(1.0, math.fsum(chances))


def _ways(n: int, k: int) -> float:
    """Return the logarithm of the number of ways to take k of n."""
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def change(
    base: Sequence[float | None],
    head: Sequence[float | None],
    *,
    better: Better,
    paired: bool,
    signed: bool = False,
    trim: float = 0.0,
    groups: Sequence[int] | None = None,
) -> Change | None:
    """Compare two sides' values.

    Parameters
    ----------
    base, head : sequence of float or None
        One a block, or one a run; None where there was none. Of pairs, the same place in both.
    better : {"lower", "higher"}
        Which way is better.
    paired : bool
        They were measured in turn.
    signed : bool
        The quantity may be on either side of zero: it is compared by its difference.
    trim : float
        Share of the values, or of the pairs' changes, that is left out on either side; below 0.5.
    groups : sequence of int, optional
        Of each place, which processes it came from.

    Returns
    -------
    Change or None
        None where a side has no value, or no pair is whole.
    """
    there = _there(base, head, paired=paired)
    if not all(there):
        return None
    before, after = [base[n] or 0.0 for n in there[0]], [head[n] or 0.0 for n in there[1]]
    of = [None if groups is None else [groups[n] for n in known] for known in there]
    kind = _kind(before, after, signed=signed)
    if kind == "means":
        centre, error, freedom = _means(before, after, of, paired=paired)
    else:
        if kind == "ratio":
            before, after = ([math.log(value) for value in side] for side in (before, after))
        if paired:
            apart = [h - b for b, h in zip(before, after, strict=True)]
            centre, error, freedom = _one(apart, trim, of[0])
        else:
            centre, error, freedom = _two(_one(before, trim, of[0]), _one(after, trim, of[1]))
    if not math.isfinite(centre):
        return None  # so large that not even their difference is a number
    if error is not None and not math.isfinite(error):
        error = None
    return Change(kind, better, centre, error, freedom, (len(before), len(after)), paired)


def _there(
    base: Sequence[float | None], head: Sequence[float | None], *, paired: bool
) -> tuple[list[int], list[int]]:
    """Return the places of either side that have a value; of pairs, those where both have one."""
    mine, theirs = (
        [place for place, value in enumerate(side) if value is not None] for side in (base, head)
    )
    if not paired:
        return mine, theirs
    both = sorted(set(mine) & set(theirs))
    return both, both


def _kind(before: Sequence[float], after: Sequence[float], *, signed: bool) -> Kind:
    """Return how two sides are compared: by ratios where there are any."""
    values = (*before, *after)
    if signed or min(values) < 0:
        return "difference"
    if min(values) > 0:
        return "ratio"
    return "means" if max(before) > 0 else "difference"


_Groups = Sequence[int] | None


def _means(
    before: Sequence[float], after: Sequence[float], of: Sequence[_Groups], *, paired: bool
) -> "_Mean":
    """Return mean(head) / mean(base) - 1, its error by the delta method.

    That of head - ratio * base, whose mean is 0, in shares of base's mean: within pairs, or of both
    sides apart.
    """
    largest = max(*before, *after)
    before, after = ([value / largest for value in side] for side in (before, after))
    low = math.fsum(before) / len(before)
    ratio = math.fsum(after) / len(after) / low
    if paired:
        rest = _one([h - ratio * b for b, h in zip(before, after, strict=True)], 0.0, of[0])
    else:
        rest = _two(
            _one([ratio * b for b in before], 0.0, of[0]),
            _one(after, 0.0, of[1]),
        )
    return ratio - 1, None if rest[1] is None else rest[1] / low, rest[2]


_Mean = tuple[float, float | None, float]
"""A mean, its standard error, None where there is none, and that one's degrees of freedom."""


def _two(base: _Mean, head: _Mean) -> _Mean:
    """Return head - base, after Welch."""
    centre, errors = head[0] - base[0], (base[1], head[1])
    if errors[0] is None or errors[1] is None:
        return centre, None, 0.0
    error = math.hypot(errors[0], errors[1])
    if error == 0:
        return centre, 0.0, base[2] + head[2]
    # As shares: powers of small errors would be too small for a number.
    shares = (errors[0] / error) ** 4 / base[2], (errors[1] / error) ** 4 / head[2]
    return centre, error, 1 / sum(shares)


def _one(values: Sequence[float], trim: float, groups: _Groups = None) -> _Mean:
    """Return the mean of what trimming leaves; values that are equal have no error."""
    ordered = sorted(values)
    n, cut = len(ordered), int(trim * len(ordered))
    kept = ordered[cut : n - cut]
    if kept[0] == kept[-1]:
        return kept[0], 0.0 if n > 1 else None, float(len(kept) - 1)
    # Shares of the largest: squares of large values would be no numbers any more.
    largest = max(map(abs, kept))
    shares = [min(max(value, kept[0]), kept[-1]) / largest for value in ordered]
    centre = math.fsum(shares[cut : n - cut]) / len(kept)
    middle = math.fsum(shares) / n
    squares = math.fsum((share - middle) ** 2 for share in shares)
    error = math.sqrt(squares / (len(kept) * (len(kept) - 1)))
    freedom = float(len(kept) - 1)
    if groups is not None and not cut:
        error, freedom = _clustered([value / largest for value in values], groups, error)
    return centre * largest, error * largest, freedom


def _clustered(values: Sequence[float], groups: Sequence[int], error: float) -> tuple[float, float]:
    """Return the error of a mean whose values are alike within groups, and its degrees of freedom.

    As of the fewer values that would know as much, though not fewer than there are groups.
    """
    counts = Counter(groups)
    n = len(values)
    alike = outer_share(values, groups) or 0.0
    effect = 1 + (sum(count**2 for count in counts.values()) / n - 1) * alike
    worth = max(n / effect, min(n, len(counts)))
    return error * math.sqrt(n / worth), max(worth - 1, 1.0)
