"""Every shape of batch that the lookups and the training step take, in every build of the kernels.

Widths that no vector divides, both widths of indices and offsets, bf16, weights, means, rows that a
batch repeats, bags longer than the kernels' groups, and arrays that begin between two vectors.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_twins import make_adapter

from lorabench._kernels.lookup import Tables

pytestmark = pytest.mark.usefixtures("build")

DIMS = [1, 4, 7, 8, 16, 17, 32, 48, 64, 100, 128, 200]


@dataclass
class Case:
    """A batch, and what its rows are in fp64."""

    given: list[np.ndarray]
    exact: list[np.ndarray]
    indices: np.ndarray
    offsets: np.ndarray | None
    weights: np.ndarray | None
    mode: str
    batch: int
    dim: int
    rng: np.random.Generator

    @property
    def options(self) -> dict[str, object]:
        return {"offsets": self.offsets, "weights": self.weights, "mode": self.mode}

    def bags(self, f: int):
        """Rows and factors of each bag of table f."""
        for b in range(self.batch):
            if self.offsets is None:
                place: object = (slice(b, b + 1), f)
            else:
                begin = f * self.batch + b
                place = slice(self.offsets[begin], self.offsets[begin + 1])
            rows = self.indices[place]
            factors = np.ones(len(rows)) if self.weights is None else self.weights[place]
            yield rows, factors / max(1, len(rows)) if self.mode == "mean" else factors

    def pooled(self, tables: list[np.ndarray]) -> np.ndarray:
        out = np.zeros((self.batch, len(tables), self.dim))
        for f, table in enumerate(tables):
            for b, (rows, factors) in enumerate(self.bags(f)):
                out[b, f] = (table[rows] * factors[:, None]).sum(axis=0)
        return out


def off_by_four(array: np.ndarray) -> np.ndarray:
    """Copy to an address four bytes (or one element) behind a multiple of 64."""
    room = np.zeros(array.nbytes + 128, np.uint8)
    begin = -room.ctypes.data % 64 + max(4, array.itemsize)
    view = room[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dim, count = draw(st.sampled_from(DIMS)), draw(st.integers(1, 3))
    sizes = [draw(st.sampled_from([1, 2, 9, 300])) for _ in range(count)]
    exact, stored = [], []
    for rows in sizes:
        table = rng.normal(size=(rows, dim)).astype(np.float32)
        if draw(st.booleans()):
            bits = (table.view(np.uint32) >> 16).astype(np.uint16)
            stored.append(off_by_four(bits))
            exact.append((bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64))
        else:
            stored.append(off_by_four(table))
            exact.append(table.astype(np.float64))
    wide = st.sampled_from([np.int32, np.int64])
    batch = draw(st.sampled_from([0, 1, 3, 5, 70, 300]))
    offsets = None
    if draw(st.booleans()):
        lengths = rng.integers(0, draw(st.sampled_from([1, 3, 30])), (count, batch))
        if batch and draw(st.booleans()):
            lengths[:, rng.integers(batch)] = draw(st.sampled_from([127, 128, 129, 400]))
        offsets = off_by_four(np.concatenate([[0], lengths.cumsum()]).astype(draw(wide)))
        parts = [rng.integers(0, v, n) for v, n in zip(sizes, lengths.sum(axis=1), strict=True)]
        indices = np.concatenate(parts)
    else:
        indices = np.stack([rng.integers(0, v, batch) for v in sizes], axis=1)
    indices = off_by_four(indices.astype(draw(wide)))
    weights, mode = None, draw(st.sampled_from(["sum", "mean"]))
    if mode == "sum" and draw(st.booleans()):
        weights = off_by_four(rng.normal(size=indices.shape).astype(np.float32))
    return Case(stored, exact, indices, offsets, weights, mode, batch, dim, rng)


@given(cases())
@settings(max_examples=150)
def test_a_lookup_pools_as_numpy_does(case: Case) -> None:
    out = off_by_four(np.full((case.batch, len(case.given), case.dim), np.nan, np.float32))
    Tables(case.given).lookup(case.indices, out, **case.options)
    np.testing.assert_allclose(out, case.pooled(case.exact), rtol=1e-4, atol=1e-4)


@given(
    cases(),
    st.sampled_from([1, 2, 3, 5, 8, 16, 33, 64]),
    st.sampled_from([0, 1, 5, 300]),
    st.integers(1, 3),
)
@settings(max_examples=150)
def test_the_lora_term_and_its_training_agree_with_numpy(
    case: Case, rank: int, slots: int, steps: int
) -> None:
    rank = min(rank, case.dim)
    count = len(case.given)
    tables = Tables(case.given)
    writer, reader = make_adapter([slots] * count, rank, case.dim)
    B = case.rng.normal(size=(count, rank, case.dim)).astype(np.float32)
    writer.begin()
    writer.set_basis(B)
    start = case.rng.random(count).astype(np.float32)
    held: list[dict[int, list]] = [{} for _ in range(count)]  # row -> [A, accumulator]
    shape = (case.batch, count, case.dim)
    for _ in range(steps):
        assert writer.begin()
        grad = off_by_four(case.rng.normal(size=shape).astype(np.float32))
        by_basis = np.zeros((count, rank if slots else 0, case.dim), np.float32)
        refused = writer.learn(
            tables,
            case.indices,
            grad,
            learning_rate=0.3,
            epsilon=1e-6,
            initial_accumulator=start,
            basis_grad=by_basis,
            **case.options,
        )
        writer.publish()
        expected_refused = 0
        for f in range(count):
            if slots == 0:
                continue
            sums: dict[int, np.ndarray] = {}
            wanted = np.zeros((rank, case.dim))
            for b, (rows, factors) in enumerate(case.bags(f)):
                g = grad[b, f].astype(np.float64)
                for row, factor in zip(rows.tolist(), factors, strict=True):
                    if row not in held[f]:
                        if len(held[f]) == slots:
                            expected_refused += 1
                            continue
                        held[f][row] = [np.zeros(rank), float(start[f])]
                    sums[row] = sums.get(row, 0) + factor * (B[f].astype(np.float64) @ g)
                    wanted += factor * np.outer(held[f][row][0], g)
            np.testing.assert_allclose(by_basis[f], wanted, rtol=2e-3, atol=2e-3)
            for row, total in sums.items():
                held[f][row][1] += float(total @ total)
                held[f][row][0] -= 0.3 / (np.sqrt(held[f][row][1]) + 1e-6) * total
        assert refused == expected_refused
    adapted = [table.copy() for table in case.exact]
    for f in range(count):
        A, _, rows = writer.arrays(f)
        assert rows.tolist() == list(held[f])
        for a, row in zip(A, rows.tolist(), strict=True):
            np.testing.assert_allclose(a, held[f][row][0], rtol=2e-3, atol=2e-3)
            adapted[f][row] += a.astype(np.float64) @ B[f]
    out = off_by_four(np.full(shape, np.nan, np.float32))
    reader.lookup(tables, case.indices, out, **case.options)
    np.testing.assert_allclose(out, case.pooled(adapted), rtol=2e-3, atol=2e-3)


@given(cases(), st.sampled_from([1, 8]))
@settings(max_examples=30)
def test_training_twice_on_the_same_gives_the_same_bits(case: Case, rank: int) -> None:
    rank = min(rank, case.dim)
    count = len(case.given)
    tables = Tables(case.given)
    B = case.rng.normal(size=(count, rank, case.dim)).astype(np.float32)
    grad = case.rng.normal(size=(case.batch, count, case.dim)).astype(np.float32)
    found = []
    for _ in range(2):
        writer, _ = make_adapter([50] * count, rank, case.dim)
        writer.begin()
        writer.set_basis(B)
        for _ in range(3):
            writer.begin()
            writer.learn(
                tables,
                case.indices,
                grad,
                learning_rate=0.1,
                epsilon=1e-8,
                initial_accumulator=np.zeros(count, np.float32),
                **case.options,
            )
            writer.publish()
        found.append([writer.arrays(f)[0].tobytes() for f in range(count)])
    assert found[0] == found[1]


@pytest.mark.parametrize("wide", [np.int32, np.int64])
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("dim", [7, 16, 32, 48, 64, 100, 128])
def test_tables_beyond_the_cache_are_read_as_those_in_it(dim: int, bf16: bool, wide: type) -> None:
    """More than 1 MiB: rows are asked for in another way, from when on lookup.h decides."""
    rng = np.random.default_rng(dim)
    rows = (3 << 20) // (dim * (2 if bf16 else 4))
    table = rng.standard_normal((rows, dim), dtype=np.float32)
    stored = table
    if bf16:
        stored = (table.view(np.uint32) >> 16).astype(np.uint16)
        table = (stored.astype(np.uint32) << 16).view(np.float32)
    lengths = rng.integers(0, 40, 50)
    offsets = np.concatenate([[0], lengths.cumsum()])
    indices = rng.integers(0, rows, offsets[-1]).astype(wide)
    out = np.full((50, 1, dim), np.nan, np.float32)
    Tables([stored]).lookup(indices, out, offsets)
    expected = [table[indices[a:b]].sum(axis=0) for a, b in itertools.pairwise(offsets)]
    np.testing.assert_allclose(out[:, 0], expected, rtol=1e-4, atol=1e-4)
    one_hot = np.full((len(indices), 1, dim), np.nan, np.float32)
    Tables([stored]).lookup(indices[:, None], one_hot)
    np.testing.assert_array_equal(one_hot[:, 0], table[indices])


@given(cases(), st.booleans())
@settings(max_examples=150)
def test_a_plain_delta_and_its_training_agree_with_numpy(case: Case, given_base: bool) -> None:
    count = len(case.given)
    rows = [len(table) for table in case.given]
    writer, reader = make_adapter(rows, 0, case.dim)
    tables = Tables(case.given)
    held = [case.rng.normal(size=(n, case.dim)).astype(np.float32) for n in rows]
    sums = [case.rng.random(n).astype(np.float32) for n in rows]
    assert writer.begin()
    for f in range(count):
        writer.put_plain(f, held[f], sums[f])
    grad = off_by_four(case.rng.normal(size=(case.batch, count, case.dim)).astype(np.float32))
    writer.learn(
        tables,
        case.indices,
        grad,
        learning_rate=9.0,
        plain_rate=0.3,
        epsilon=1e-6,
        initial_accumulator=np.zeros(count, np.float32),
        **case.options,
    )
    moved = [delta.astype(np.float64) for delta in held]
    for f in range(count):
        total = np.zeros_like(moved[f])
        for b, (bag, factors) in enumerate(case.bags(f)):
            np.add.at(total, bag, factors[:, None] * grad[b, f].astype(np.float64))
        touched = np.unique(np.concatenate([bag for bag, _ in case.bags(f)] or [[]])).astype(int)
        after = sums[f] + np.square(total).sum(axis=1)
        steps = 0.3 * total / (np.sqrt(after)[:, None] + 1e-6)
        moved[f][touched] -= steps[touched]
    out = off_by_four(np.full((case.batch, count, case.dim), np.nan, np.float32))
    options = dict(case.options)
    if given_base:
        options["base"] = np.zeros((case.batch, 0, case.dim), np.float32)
    writer.publish()
    reader.lookup(tables, case.indices, out, **options)
    expected = case.pooled([a + b for a, b in zip(case.exact, moved, strict=True)])
    # Of the terms of a long bag, which may cancel each other, fp32 keeps seven digits.
    largest = np.abs(expected).max(initial=0.0)
    np.testing.assert_allclose(out, expected, rtol=1e-3, atol=1e-3 + 1e-5 * largest)
