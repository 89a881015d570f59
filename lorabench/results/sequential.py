"""When a run may look at its intervals: a group-sequential boundary of constant level for t.

A run that looks at its 95 % interval after every block and stops once that tells errs in 10 % of
cases on either side instead of 2.5 %, since every look is another chance to err. Here looks are
few, after numbers of blocks that are fixed beforehand, and all intervals have one nominal level,
so small that the chance that any of them misses the truth on a given side is 2.5 % (Pocock 1977,
Group sequential methods in the design and analysis of clinical trials, Biometrika 64). The level
is that for normal values of known variance, by the recursive integration of Armitage, McPherson
and Rowe (1969, Repeated significance tests on accumulating data, J. R. Stat. Soc. A 132), and is
kept for Student's t with the quantiles of each look (the significance-level approach: Jennison and
Turnbull 2000, Group Sequential Methods, chapter 4.4): with five looks at 8 to 40 blocks the chance
is 2.6 % then. Whether a run stops at an interval on one side of something, or on either, does not
raise it: every interval is right or wrong whatever is made of it.

A run may also end between two looks for a reason that is not in its values, such as Ctrl-C or the
end of its time, and give its interval at the same level: it then looks once in place of all looks
that were to come, and nearer to those before, which errs less than the looks that were planned.
What it may not do is to look between two looks and let what it sees decide whether to go on.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

ALPHA = 0.025
"""How often any look of a run may miss the truth on a given side."""

MOST_BLOCKS = 40
MOST_LOOKS = 5
LEAST_BLOCKS = 6

# Of the Gauss-Legendre rule between two bounds; 48 give the published constants to five decimals.
_NODES = 64


@dataclass(frozen=True)
class Looks:
    """When a run looks, and how sure each look is.

    Parameters
    ----------
    blocks : tuple of int
        After how many blocks, rising.
    level : float
        Nominal one-sided level of the interval at each.
    """

    blocks: tuple[int, ...]
    level: float

    @property
    def most(self) -> int:
        """The blocks of a run that no look ends."""
        return self.blocks[-1]


def nominal_level(looks: int, alpha: float = ALPHA) -> float:
    """Return the one-sided level of each of several evenly spaced looks.

    Parameters
    ----------
    looks : int
        How many; 1 or more.
    alpha : float
        How often any of them may miss the truth on a given side.

    Examples
    --------
    >>> round(nominal_level(5), 4)
    0.0079
    """
    return _level(tuple(range(1, looks + 1)), alpha)


def plan_looks(most_blocks: int, least: int = LEAST_BLOCKS) -> Looks:
    """Fix beforehand when a run of that many blocks looks.

    Five evenly spaced looks, or as many as leave `least` blocks before the first; at least one.
    The level is that of the whole numbers that the spacing comes to.

    Parameters
    ----------
    most_blocks : int
        Blocks that the run may take, 1 or more; beyond 40 it takes no more than 40.
    least : int
        Fewer blocks make no verdict.

    Examples
    --------
    >>> plan_looks(100).blocks
    (8, 16, 24, 32, 40)
    >>> plan_looks(20).blocks
    (7, 14, 20)
    """
    if most_blocks < 1:
        raise ValueError(f"found {most_blocks} blocks, expected 1 or more")
    most = min(most_blocks, MOST_BLOCKS)
    looks = max(1, min(MOST_LOOKS, most // least))
    blocks = tuple(math.ceil(most * look / looks) for look in range(1, looks + 1))
    return Looks(blocks, _level(blocks, ALPHA))


@cache
def _level(blocks: tuple[int, ...], alpha: float) -> float:
    """Return the level at which looks after these blocks err on a given side at `alpha`.

    Found as that of looks that err on either side at twice `alpha`: hardly any run errs on both.
    """
    from scipy.special import ndtr, ndtri

    low, high = -float(ndtri(alpha)), -float(ndtri(alpha / len(blocks)))
    while high - low > 1e-9:
        bound = (low + high) / 2
        if _crossing(blocks, bound) > 2 * alpha:
            low = bound
        else:
            high = bound
    return float(ndtr(-high))


def _crossing(blocks: tuple[int, ...], bound: float) -> float:
    """Return how often a normal sum is beyond `bound` standard deviations of its own at any look.

    The density of the sums that have crossed at no look yet goes from look to look: what is added
    between two is folded in, what lies beyond the bound is cut off.
    """
    from scipy.special import ndtr

    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    # All mass at 0, where every sum begins.
    at, mass = np.zeros(1), np.ones(1)
    before = 0
    for block in blocks[:-1]:
        half, sigma = bound * math.sqrt(block), math.sqrt(block - before)
        steps = (half * nodes[:, None] - at) / sigma
        density = np.exp(-(steps**2) / 2) @ mass / (sigma * math.sqrt(2 * math.pi))
        at, mass, before = half * nodes, half * weights * density, block
    half, sigma = bound * math.sqrt(blocks[-1]), math.sqrt(blocks[-1] - before)
    inside = ndtr((half - at) / sigma) - ndtr((-half - at) / sigma)
    return 1 - float(inside @ mass)
