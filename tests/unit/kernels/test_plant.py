"""The planted model against its numpy twin, in every build; dictionaries against dict."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench._kernels.dispatch import instruction_set, instruction_sets, use_instruction_set
from lorabench._kernels.generate import place_ranks, plant_sums
from lorabench._kernels.ingest import Dictionary

U32 = np.uint32


def mix32(x: np.ndarray, before: int, between: int) -> np.ndarray:
    x = x ^ U32(before)
    x = (x ^ (x >> U32(16))) * U32(0x7FEB352D) + U32(between)
    x = (x ^ (x >> U32(15))) * U32(0x846CA68B)
    return x ^ (x >> U32(16))


def normal32(hashes: np.ndarray) -> np.ndarray:
    total = sum(((hashes >> U32(8 * byte)) & U32(255)).astype(np.int64) for byte in range(4))
    return (total - 510) * 0.00676586


def sums_twin(  # noqa: PLR0917
    rows: np.ndarray,
    hotness: np.ndarray,
    keys: np.ndarray,
    clocks: tuple[np.ndarray, np.ndarray, np.ndarray],
    own: float,
    day: float,
) -> np.ndarray:
    """Preference, pairs by pairs, daily preference; in float64 and without any trick."""
    knots, near, far = clocks
    dims = len(knots)
    values = np.zeros((len(hotness), dims + 1, rows.shape[1]))
    column = 0
    for f, hot in enumerate(hotness):
        for _ in range(hot):
            base = rows[column].astype(U32) * U32(0x9E3779B1)
            if own > 0:
                phase = mix32(base, keys[f, 0, 1], 0x165667B1) >> U32(8)
                since = np.float32(own % 1)
                births = int(own) + (since + phase.astype(np.float32) / np.float32(2**24) >= 1)
                base = base + births.astype(np.int64).astype(U32) * U32(0x85EBCA77)
            for j in range(dims):
                for weight, knot in ((near[j], knots[j]), (far[j], knots[j] + U32(1))):
                    between = keys[f, j, 1] + knot * U32(0x632BE5AB)
                    values[f, j] += weight * normal32(mix32(base, keys[f, j, 0], between))
            values[f, dims] += day * normal32(mix32(base, keys[f, dims, 0], keys[f, dims, 1]))
            column += 1
        values[f] /= np.sqrt(hot)
    pairs = np.zeros(rows.shape[1])
    for f in range(len(hotness)):
        for h in range(f):
            pairs += (values[f, 1:dims] * values[h, 1:dims]).sum(axis=0)
    return np.stack([values[:, 0].sum(axis=0), pairs, values[:, dims].sum(axis=0)])


@pytest.mark.parametrize("build", instruction_sets())
@given(
    seed=st.integers(0, 2**32 - 1),
    hotness=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    dims=st.integers(1, 6),
    n=st.integers(1, 600),
    own=st.sampled_from([0.0, 0.3, 7.8, 1e12 + 0.5]),
    day=st.sampled_from([0.0, -0.7]),
)
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_sums_are_those_of_the_twin(  # noqa: PLR0917
    build: str, seed: int, hotness: list[int], dims: int, n: int, own: float, day: float
) -> None:
    rng = np.random.default_rng(seed)
    hot = np.array(hotness, np.int32)
    rows = rng.integers(0, 2**31 - 1, (sum(hotness), n), dtype=np.int32)
    keys = rng.integers(0, 2**32, (len(hot), dims + 1, 2), dtype=U32)
    angle = rng.random(dims) * np.pi / 2 * rng.integers(0, 2, dims)
    clocks = (
        rng.integers(0, 9, dims, dtype=U32),
        np.cos(angle).astype(np.float32),
        np.sin(angle).astype(np.float32),
    )
    start = int(rng.integers(0, n))
    found = np.empty((3, n - start), np.float32)
    before = instruction_set()
    use_instruction_set(build)
    try:
        plant_sums(rows, hot, keys, *clocks, found, start=start, own=own, day=day)
    finally:
        use_instruction_set(before)
    expected = sums_twin(rows[:, start:], hot, keys, clocks, own, day)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("build", instruction_sets())
def test_every_build_gives_the_same_bits(build: str) -> None:
    """A seed's labels may not depend on the machine."""
    rng = np.random.default_rng(1)
    rows = rng.integers(0, 1000, (5, 1000), dtype=np.int32)
    keys = rng.integers(0, 2**32, (5, 4, 2), dtype=U32)
    clocks = np.array([0, 1, 2], U32), np.full(3, 0.8, np.float32), np.full(3, 0.6, np.float32)
    found = {}
    before = instruction_set()
    for name in (build, "plain"):
        use_instruction_set(name)
        sums = np.empty((3, 1000), np.float32)
        plant_sums(rows, np.ones(5, np.int32), keys, *clocks, sums, start=0, own=1.5, day=0.3)
        placed = np.empty(1000, np.int32)
        place_ranks(
            np.random.PCG64(3),
            np.arange(1, 1001),
            np.array([0.4, 2.9]),
            np.array([1.7, 3.1]),
            placed,
            ids=1000,
            multiplier=7,
            offset=11,
            key=5,
            missing=0.1,
            hot=60,
        )
        found[name] = sums.tobytes() + placed.tobytes()
    use_instruction_set(before)
    assert found[build] == found["plain"]


@given(st.integers(1, 5000), st.floats(0, 1), st.floats(0, 100), st.integers(0, 2**32 - 1))
def test_trades_are_one_to_one_and_newcomers_leave_the_cold_ranks(
    ids: int, missing: float, clock: float, key: int
) -> None:
    def place(swaps: float, newcomers: float, share: float) -> np.ndarray:
        rows = np.empty(ids, np.int32)
        place_ranks(
            np.random.PCG64(1),
            np.arange(1, ids + 1),
            np.array([swaps], float),
            np.array([newcomers], float),
            rows,
            ids=ids,
            multiplier=1,
            offset=ids // 3,
            key=key,
            missing=share,
            hot=ids // 16,
        )
        return rows

    still = place(0, 0, 0)
    assert still.tolist() == [1 + (k + ids // 3) % ids for k in range(ids)]
    assert sorted(place(clock, 0, 0).tolist()) == list(range(1, ids + 1))
    came = place(0, clock, 0)
    assert np.array_equal(came[ids // 16 :], still[ids // 16 :])
    assert ((came >= 1) & (came <= ids)).all()
    gone = place(clock, clock, missing)
    assert ((gone >= 0) & (gone <= ids)).all()
    if ids > 1000:
        assert (gone == 0).mean() == pytest.approx(missing, abs=0.08)


@given(st.lists(st.lists(st.integers(-1, 60) | st.integers(-(2**63), 2**63 - 1))))
def test_a_dictionary_numbers_ids_as_they_first_appear(batches: list[list[int]]) -> None:
    dictionary, numbers = Dictionary(10_000), dict[int, int]()
    for batch in batches:
        rows = np.empty(len(batch), np.int32)
        dictionary.rows(np.array(batch, np.int64), rows)
        expected = [numbers.setdefault(i, len(numbers) + 1) if i >= 0 else 0 for i in batch]
        assert rows.tolist() == expected
    assert len(dictionary) == len(numbers)
    ids = np.empty(len(numbers), np.int64)
    dictionary.copy_ids(0, ids)
    assert ids.tolist() == list(numbers)


def test_a_dictionary_grows_and_ends_where_it_was_told_to() -> None:
    dictionary = Dictionary(5000)
    rows = np.empty(5000, np.int32)
    dictionary.rows(np.arange(5000) * 7, rows)
    assert rows.tolist() == list(range(1, 5001))
    with pytest.raises(OverflowError, match="more than 5000 distinct ids"):
        dictionary.rows(np.array([1]), rows[:1])
