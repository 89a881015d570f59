"""Features of several ids a sample, and base vectors that are handed out and given back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_twins import make_adapter, pooled

from lorabench._kernels.lookup import Tables, advance_version
from lorabench._kernels.train import TableOptimizer

RANK = 3


@st.composite
def samples(draw: st.DrawFn):
    """Tables, their hotness, and the same batch twice: [B, C], and flat with offsets."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    hotness = draw(st.lists(st.sampled_from([1, 1, 2, 3, 5, 140]), min_size=1, max_size=4))
    dim = draw(st.sampled_from([1, 7, 16, 48, 100]))
    rows = [draw(st.integers(1, 30)) for _ in hotness]
    tables = [rng.normal(size=(v, dim)).astype(np.float32) for v in rows]
    batch = draw(st.integers(0, 9))
    parts = [rng.integers(0, v, (batch, hot)) for v, hot in zip(rows, hotness, strict=True)]
    dtype = draw(st.sampled_from([np.int32, np.int64]))
    together = np.concatenate(parts, axis=1).astype(dtype)
    flat = np.concatenate([part.ravel() for part in parts]).astype(dtype)
    offsets = np.concatenate([[0], np.cumsum(np.repeat(hotness, batch))]).astype(np.int64)
    return tables, hotness, together, (flat, offsets), rng


def trained(tables: Tables, flat, rng: np.random.Generator):
    """An adapter that has learned from a few batches."""
    writer, reader = make_adapter([12] * tables.count, min(RANK, tables.dim), tables.dim)
    batch = (len(flat[1]) - 1) // tables.count
    writer.begin()
    writer.set_basis(
        rng.normal(size=(tables.count, min(RANK, tables.dim), tables.dim)).astype(np.float32)
    )
    for _ in range(2):
        writer.begin()
        grad = rng.normal(size=(batch, tables.count, tables.dim)).astype(np.float32)
        learn(writer, tables, flat[0], grad, offsets=flat[1])
        writer.publish()
    writer.begin()
    return writer, reader


def learn(writer, tables: Tables, indices, grad, **options) -> None:
    writer.learn(
        tables,
        indices,
        grad,
        learning_rate=0.5,
        epsilon=1e-8,
        initial_accumulator=np.full(tables.count, 0.1, np.float32),
        **options,
    )


@given(samples())
@settings(max_examples=100)
def test_samples_of_fixed_hotness_are_the_bags_that_offsets_describe(case) -> None:
    arrays, hotness, together, flat, rng = case
    tables = Tables(arrays, hotness)
    assert tables.columns == sum(hotness)
    shape = (len(together), tables.count, tables.dim)
    one, other = (np.full(shape, np.nan, np.float32) for _ in range(2))
    tables.lookup(together, one)
    # 140 rows are added up in another order by numpy.
    np.testing.assert_allclose(one, pooled(arrays, *flat), rtol=1e-4, atol=1e-4)
    writer, reader = trained(tables, flat, rng)
    for look in (tables.lookup, *(lambda *a, v=v: v.lookup(tables, *a) for v in (writer, reader))):
        one[:], other[:] = np.nan, np.nan
        look(together, one)
        look(flat[0], other, flat[1])
        if (np.array(hotness) > 1).all():
            np.testing.assert_array_equal(one, other)
        else:  # a feature of one id is looked up by a kernel of its own
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@given(samples())
@settings(max_examples=50)
def test_learning_and_table_steps_take_samples_as_they_take_bags(case) -> None:
    arrays, hotness, together, flat, rng = case
    grad = rng.normal(size=(len(together), len(arrays), arrays[0].shape[1])).astype(np.float32)
    found = []
    for indices, offsets in ((together, None), flat):
        moved = [array.copy() for array in arrays]
        optimizer = TableOptimizer(
            moved, [np.full(len(a), 0.1, np.float32) for a in arrays], hotness
        )
        optimizer.step(indices, grad, learning_rate=0.1, offsets=offsets)
        again = np.random.default_rng(0)
        writer, _ = trained(Tables(arrays, hotness), flat, again)
        learn(writer, Tables(arrays, hotness), indices, grad, offsets=offsets)
        writer.publish()
        found.append([*moved, *(a for t in range(len(arrays)) for a in writer.arrays(t))])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@given(samples())
@settings(max_examples=100)
def test_base_vectors_that_were_handed_out_give_the_same_bits_as_the_rows(case) -> None:
    arrays, hotness, together, flat, rng = case
    tables = Tables(arrays, hotness)
    assert tables.reusable_features == tuple(f for f, hot in enumerate(hotness) if hot > 2)
    assert tables.reusable_rows == sum(hot for hot in hotness if hot > 2)
    writer, reader = trained(tables, flat, rng)
    plain, served, learned = (
        np.full((len(together), tables.count, tables.dim), np.nan, np.float32) for _ in range(3)
    )
    base = np.full((len(together), len(tables.reusable_features), tables.dim), np.nan, np.float32)
    tables.lookup(together, plain)
    reader.lookup(tables, together, served, base=base)
    np.testing.assert_array_equal(base, plain[:, list(tables.reusable_features)])
    gathered = np.full_like(base, np.nan)
    tables.gather(together, gathered)
    np.testing.assert_array_equal(gathered, base)
    without = np.full_like(served, np.nan)
    reader.lookup(tables, together, without)
    np.testing.assert_array_equal(served, without)
    # Tables without their rows: what is given is all there is.
    for array, hot in zip(arrays, hotness, strict=True):
        array[:] = np.nan if hot > 2 else array
    writer.lookup(tables, together, learned, base=base)
    np.testing.assert_array_equal(learned, served)
    tables.lookup(together, learned, base=base)
    np.testing.assert_array_equal(learned, plain)


def test_bad_hotness_and_bad_base_vectors_are_refused_before_anything_is_written() -> None:
    array = np.ones((5, 4), np.float32)
    for hotness in ((1,), (1, 0), (1, 2**20)):
        with pytest.raises(ValueError, match="hotness"):
            Tables([array, array], hotness)
    tables = Tables([array, array], (1, 3))
    out = np.full((2, 2, 4), 7, np.float32)
    good = np.zeros((2, 4), np.int32)
    for indices in (np.zeros((2, 2), np.int32), np.zeros((3, 4), np.int32)):
        with pytest.raises(ValueError, match=r"indices: found shape .* expected \[2, 4\]"):
            tables.lookup(indices, out)
    bad = good.copy()
    bad[1, 3] = 5
    with pytest.raises(IndexError, match="table 1: found 5 at position 5, expected 0 to 4"):
        tables.lookup(bad, out)
    with pytest.raises(ValueError, match="weights: found some without offsets"):
        tables.lookup(good, out, weights=np.ones((2, 4), np.float32))
    writer, reader = make_adapter([3, 3], 2, 4)
    writer.begin()
    read_only = np.zeros((2, 1, 4), np.float32)
    read_only.flags.writeable = False
    for base, message in (
        (np.zeros((2, 2, 4), np.float32), r"base: found shape \(2, 2, 4\), expected \[2, 1, 4\]"),
        (np.zeros((1, 1, 4), np.float32), "base: found shape"),
        (np.zeros((2, 1, 4)), "base: found float64"),
    ):
        for call in (
            lambda base=base: tables.lookup(good, out, base=base),
            lambda base=base: tables.gather(good, base),
            lambda base=base: reader.lookup(tables, good, out, base=base),
            lambda base=base: writer.lookup(tables, good, out, base=base),
        ):
            with pytest.raises(ValueError, match=message):
                call()
    with pytest.raises(ValueError, match="base: found a read-only array"):
        reader.lookup(tables, good, out, base=read_only)
    with pytest.raises(TypeError, match="base: found None"):
        tables.gather(good, None)  # type: ignore[arg-type]
    assert (out == 7).all()
    writer.lookup(tables, good, out, base=read_only)
    assert (out[:, 1] == 0).all()


def test_the_version_is_odd_while_tables_change() -> None:
    version = np.zeros(1, np.int64)
    tables = Tables([np.ones((5, 4), np.float32)], None, version)
    assert tables.version == 0
    advance_version(version)
    assert tables.version % 2 == 1
    advance_version(version)
    assert tables.version == 2
    version.flags.writeable = False
    assert Tables([np.ones((5, 4), np.float32)], None, version).version == 2
    with pytest.raises(ValueError, match="version: found a read-only array"):
        advance_version(version)
    with pytest.raises(ValueError, match="version: found 2 numbers, expected 1"):
        Tables([np.ones((5, 4), np.float32)], None, np.zeros(2, np.int64))
    assert Tables([np.ones((5, 4), np.float32)]).version == 0
