"""The Zipf draws against the exact law, and that a seed is a seed."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import zeta

from lorabench._kernels.dispatch import instruction_sets, use_instruction_set
from lorabench._kernels.generate import zipf

EXPONENTS = [0.0, 0.8, 1.0, 1.05, 1.5, 3.0]
MILLIONS = 40_000_000


def draw(n: int, exponent: float, size: int, seed: int = 0) -> np.ndarray:
    out = np.zeros(size, np.int64)
    zipf(np.random.default_rng(seed).bit_generator, n, exponent, out)
    return out


def mass(low: int, high: int, exponent: float) -> float:
    """Sum k^-s over low..high: exactly for few ranks, by Euler and Maclaurin for many."""
    if high - low < 5000:
        return float((np.arange(low, high + 1, dtype=np.float64) ** -exponent).sum())
    if exponent > 1.2:
        return float(zeta(exponent, low) - zeta(exponent, high + 1))
    a, b, s = float(low), float(high), exponent
    integral = np.log(b / a) if s == 1.0 else (b ** (1 - s) - a ** (1 - s)) / (1 - s)
    ends = (a**-s + b**-s) / 2
    slopes = s * (a ** (-s - 1) - b ** (-s - 1)) / 12
    return float(integral + ends + slopes)


def chi_square(ranks: np.ndarray, n: int, exponent: float, edges: np.ndarray) -> float:
    """P value of the counts between edges, bins of few expected counts joined to the next."""
    whole = mass(1, n, exponent)
    observed, _ = np.histogram(ranks, edges)
    expected = np.array(
        [mass(int(low), int(high) - 1, exponent) / whole for low, high in itertools.pairwise(edges)]
    ) * len(ranks)
    bins: list[list[float]] = [[0.0, 0.0]]
    for count, mean in zip(observed, expected, strict=True):
        if bins[-1][1] >= 10:
            bins.append([0.0, 0.0])
        bins[-1][0] += count
        bins[-1][1] += mean
    if len(bins) > 1 and bins[-1][1] < 10:
        count, mean = bins.pop()
        bins[-1][0] += count
        bins[-1][1] += mean
    if len(bins) == 1:
        return 1.0  # all but certain, and so it came
    o, e = np.array(bins).T
    return float(stats.chisquare(o, e * (o.sum() / e.sum())).pvalue)


@pytest.mark.parametrize("exponent", EXPONENTS)
@pytest.mark.parametrize("n", [2, 10, 1000])
def test_every_rank_comes_as_often_as_the_law_says(n: int, exponent: float) -> None:
    ranks = draw(n, exponent, 400_000, seed=n)
    assert ranks.min() >= 1
    assert ranks.max() <= n
    assert chi_square(ranks, n, exponent, np.arange(1, n + 2)) > 1e-4


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_so_do_forty_million_ranks_the_first_singly_the_rest_in_octaves(exponent: float) -> None:
    octaves = np.unique(np.geomspace(64, MILLIONS + 1, 60).astype(np.int64))
    edges = np.concatenate([np.arange(1, 64), octaves])
    ranks = draw(MILLIONS, exponent, 1_000_000, seed=3)
    assert ranks.min() >= 1
    assert ranks.max() <= MILLIONS
    assert chi_square(ranks, MILLIONS, exponent, edges) > 1e-4


@pytest.mark.parametrize("exponent", [1.0 - 1e-9, 1.0 + 1e-9, 1.0 + 1e-4, 20.0, 200.0])
def test_exponents_next_to_one_and_far_from_it_keep_to_the_law(exponent: float) -> None:
    ranks = draw(1000, exponent, 200_000)
    assert chi_square(ranks, 1000, exponent, np.arange(1, 1002)) > 1e-4


@given(
    st.integers(1, 10**6),
    st.sampled_from([0.0, 0.5, 1.0, 1.05, 2.5]),
    st.lists(st.integers(0, 300), max_size=5),
    st.integers(0, 2**32),
)
def test_a_stream_drawn_in_parts_is_the_stream_drawn_at_once(
    n: int, exponent: float, parts: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    drawn = []
    for size in parts:
        part = np.zeros(size, np.int64)
        zipf(rng.bit_generator, n, exponent, part)
        drawn += part.tolist()
    assert drawn == draw(n, exponent, sum(parts), seed).tolist()


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_a_seed_gives_the_same_ranks_in_every_build(exponent: float) -> None:
    found = []
    for name in instruction_sets():
        use_instruction_set(name)
        found.append(draw(MILLIONS, exponent, 100_000, seed=11))
    use_instruction_set(instruction_sets()[0])
    for ranks in found[1:]:
        np.testing.assert_array_equal(ranks, found[0])


@pytest.mark.parametrize("n", [1, 2**53 - 1])
def test_one_rank_and_very_many_stay_in_range(n: int) -> None:
    ranks = draw(n, 0.5, 10_000)
    assert ranks.min() >= 1
    assert ranks.max() <= n


@pytest.mark.parametrize(
    ("n", "exponent", "message"),
    [(0, 1.0, "n: found 0"), (2**53, 1.0, "n: found"), (5, -0.1, "exponent: found -0.1"),
     (5, float("nan"), "exponent: found nan"), (5, float("inf"), "exponent: found inf")],
)  # fmt: skip
def test_no_law_is_refused_before_anything_is_drawn(n: int, exponent: float, message: str) -> None:
    rng = np.random.default_rng(0)
    state = str(rng.bit_generator.state)
    with pytest.raises(ValueError, match=message):
        zipf(rng.bit_generator, n, exponent, np.zeros(3, np.int64))
    assert str(rng.bit_generator.state) == state


def test_what_is_no_bit_generator_is_refused() -> None:
    with pytest.raises(TypeError, match=r"bit_generator: found Generator, expected a numpy"):
        zipf(np.random.default_rng(0), 5, 1.0, np.zeros(3, np.int64))  # type: ignore[arg-type]
