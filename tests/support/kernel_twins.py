"""Adapters in memory of their own, and plain numpy twins of the kernels, for several tests."""

import os

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from lorabench._kernels.adapter import PIN_BYTES, AdapterReader, adapter_bytes, format_adapter
from lorabench._kernels.memory import Mapping
from lorabench._kernels.writer import AdapterWriter

F32 = NDArray[np.float32]


def shared(length: int) -> Mapping:
    fd = os.memfd_create("test")
    os.ftruncate(fd, length)
    mapping = Mapping(fd, length, writable=True)
    os.close(fd)
    return mapping


def make_adapter(
    slots: list[int],
    rank: int | list[int],
    dim: int,
    servers: int = 1,
    *,
    rows: list[int] | None = None,
    room: int = 1,
) -> tuple[AdapterWriter, AdapterReader]:
    """Writer and reader of an adapter; `rows` turns pruning on, `room` is for other layouts."""
    sizes = np.array(slots, dtype=np.int64)
    sides = shared(room * adapter_bytes(sizes, rank, dim))
    format_adapter(sides, sizes, rank, dim)
    pins = shared(servers * PIN_BYTES)
    held = None if rows is None else np.array(rows, dtype=np.int64)
    return AdapterWriter(sides, pins, servers, held), AdapterReader(sides, pins, 0)


def pooled(tables: list[F32], indices: NDArray[np.int32], offsets: NDArray[np.int64] | None) -> F32:
    """Numpy twin of the lookup, either layout."""
    count = len(tables)
    if offsets is None:
        return np.stack([tables[f][indices[:, f]] for f in range(count)], axis=1)
    batch = (len(offsets) - 1) // count
    out = np.zeros((batch, count, tables[0].shape[1]), np.float32)
    for f in range(count):
        for b in range(batch):
            bag = indices[offsets[f * batch + b] : offsets[f * batch + b + 1]]
            out[b, f] = tables[f][bag].sum(axis=0)
    return out


@st.composite
def batches(draw: st.DrawFn):
    """Tables and a batch in either layout, empty batches and empty bags included."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    count = draw(st.integers(1, 4))
    dim = draw(st.sampled_from([1, 7, 16, 48, 100, 128]))
    rows = [draw(st.integers(1, 30)) for _ in range(count)]
    tables = [rng.normal(size=(v, dim)).astype(np.float32) for v in rows]
    batch = draw(st.integers(0, 9))
    if draw(st.booleans()):
        indices = np.stack([rng.integers(0, v, batch) for v in rows], axis=1).astype(np.int32)
        return tables, indices, None, batch, rng
    lengths = rng.integers(0, 5, (count, batch))
    offsets = np.concatenate([[0], np.cumsum(lengths.ravel())]).astype(np.int64)
    parts = [rng.integers(0, v, lengths[f].sum()) for f, v in enumerate(rows)]
    return tables, np.concatenate(parts).astype(np.int32), offsets, batch, rng
