"""What is sent in a trial of the link: bytes as they come, or a delta's rows, encoded.

A push of rows is a key of 8 bytes a row and behind the keys the embeddings: fp32, or 8 bits a value
and behind these scales and offsets (`lorabench.updates.quantise`). It lies in one buffer, so that
it is sent at once. Encoding and decoding are what the two ends of a push do, and are timed apart
from what the link takes.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from lorabench.updates.delta import Delta
from lorabench.updates.payload import KEY_BYTES, SCALE_AND_OFFSET_BYTES, VALUE_BYTES
from lorabench.updates.quantise import QuantisedRows, quantise

Content = Literal["bytes", "fp32", "int8"]
CONTENTS: tuple[Content, ...] = get_args(Content)
"""Bytes without meaning, or rows in either encoding."""

# Rows of the tables that a trial's delta is of: many more than it sends.
_SPREAD = 8


@dataclass(frozen=True)
class Format:
    """How a buffer is laid out.

    Parameters
    ----------
    content : {"bytes", "fp32", "int8"}
        What is in it.
    dim : int
        D.
    """

    content: Content
    dim: int

    @property
    def row_bytes(self) -> int:
        """Of a row, its key with it; 1 of bytes without meaning."""
        if self.content == "bytes":
            return 1
        if self.content == "fp32":
            return KEY_BYTES + self.dim * VALUE_BYTES
        return KEY_BYTES + self.dim + SCALE_AND_OFFSET_BYTES

    def rows(self, size: int) -> int:
        """Return how many rows so many bytes have room for, at least one."""
        return max(1, size // self.row_bytes)

    def size(self, rows: int) -> int:
        """Return how many bytes so many rows take."""
        return rows * self.row_bytes


def draw_bytes(size: int, seed: int) -> NDArray[np.uint8]:
    """Draw bytes that nothing can compress: uint8 [size]."""
    return np.frombuffer(np.random.Generator(np.random.SFC64(seed)).bytes(size), np.uint8).copy()


def draw_delta(rows: int, dim: int, seed: int) -> Delta:
    """Draw a delta of one table: rows spread over it, ascending, with normal values."""
    rng = np.random.Generator(np.random.SFC64(seed))
    ids = np.cumsum(rng.integers(1, 2 * _SPREAD, rows, np.int32), dtype=np.int32)
    values = rng.standard_normal((rows, dim), np.float32)
    return Delta(step=0, time_s=0.0, rows=(ids,), values=(values,))


def encode(delta: Delta, form: Format) -> NDArray[np.uint8]:
    """Put a delta of one table into a buffer, uint8 [`Format.size`]: all keys, then all rows."""
    (ids,), (values,) = delta.rows, delta.values
    found = np.empty(form.size(len(ids)), np.uint8)
    keys = len(ids) * KEY_BYTES
    found[:keys].view(np.int64)[:] = ids
    if form.content == "fp32":
        found[keys:].view(np.float32)[:] = values.reshape(-1)
        return found
    packed = quantise(values)
    parts = (packed.codes, packed.scale.view(np.uint8), packed.offset.view(np.uint8))
    np.concatenate([part.reshape(-1) for part in parts], out=found[keys:])
    return found


def decode(
    buffer: NDArray[np.uint8], form: Format
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return keys int64 [n] and embeddings fp32 [n, D] of what `encode` has written."""
    rows = len(buffer) // form.row_bytes
    keys = rows * KEY_BYTES
    ids, packed = buffer[:keys].view(np.int64).copy(), buffer[keys:]
    if form.content == "fp32":
        return ids, packed.view(np.float32).reshape(rows, form.dim).copy()
    codes, behind = packed[: rows * form.dim], packed[rows * form.dim :]
    # Copied, since codes of any number leave what is behind them unaligned.
    scale, offset = behind.copy().view(np.float32).reshape(2, rows)
    return ids, QuantisedRows(codes.reshape(rows, form.dim), scale, offset).rows()
