"""What all forms of stored tensors have in common: names, shapes, and rows read on demand.

A tensor may lie in pieces, as row-wise and column-wise sharding leaves it; `joined` makes one of
them that reads no more than what it is asked for. Nothing here knows what a tensor is for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lorabench.errors import InputError

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""What a table's values may be without more being known."""


def printable(text: str) -> str:
    """Return a stranger's text without what a terminal would obey."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def named(names: Sequence[str], most: int = 3) -> str:
    """Write down the first few of names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


@dataclass(frozen=True)
class LeftOut:
    """Something that was found and is not used.

    Parameters
    ----------
    name : str
        As it is called there.
    why : str
        The reason, in words.
    """

    name: str
    why: str


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that stays where it is until rows are asked for.

    Parameters
    ----------
    shape : tuple of int
        Its sizes.
    dtype : torch.dtype
        Of what `rows` gives.
    rows : callable
        Rows `begin` to `end`, along the first dimension; all there is where it has none.
    stored_as : str
        How it lies there, where that is not its dtype: ``sparse``, ``quint8``.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    rows: Callable[[int, int], Tensor]
    stored_as: str = ""

    def whole(self) -> Tensor:
        """Return all of it."""
        return self.rows(0, self.shape[0] if self.shape else 1)

    @property
    def form(self) -> str:
        """Its dtype or form, in a word."""
        return self.stored_as or str(self.dtype).removeprefix("torch.")


@dataclass
class Stored:
    """What one file or folder holds.

    Parameters
    ----------
    path : Path
        As it was named.
    kind : str
        What it was recognised as.
    tensors : dict of str to StoredTensor
        In the order in which they stand there, if there is one.
    left_out : list of LeftOut
        What cannot be read as a tensor, or could not be used.
    files : tuple of Path
        Of which it consists.
    offsets : dict of str to tuple of int
        Where in a larger tensor those begin that are said to be shards of one.
    """

    path: Path
    kind: str
    tensors: dict[str, StoredTensor]
    left_out: list[LeftOut] = field(default_factory=list)
    files: tuple[Path, ...] = ()
    offsets: dict[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Piece:
    """A part of a tensor: where it begins, along each dimension, and what it holds."""

    offsets: tuple[int, ...]
    tensor: StoredTensor

    @property
    def ends(self) -> tuple[int, ...]:
        """Where it ends, along each dimension."""
        return tuple(o + n for o, n in zip(self.offsets, self.tensor.shape, strict=True))


def joined(where: str, pieces: Sequence[Piece], shape: tuple[int, ...] | None = None) -> Piece:
    """Put pieces together that tile a tensor.

    Parameters
    ----------
    where : str
        File and tensor, for the error.
    pieces : sequence of Piece
        In any order; the same one twice counts once.
    shape : tuple of int, optional
        Of the whole; by default as far as the pieces reach.

    Raises
    ------
    InputError
        They leave a gap, overlap, or differ in dtype or in their number of dimensions.
    """
    distinct = list({piece.offsets: piece for piece in pieces}.values())
    first = distinct[0]
    ranks = {len(p.offsets) for p in distinct} | {len(p.tensor.shape) for p in distinct}
    if len(ranks) > 1 or len({piece.tensor.dtype for piece in distinct}) > 1:
        raise InputError(
            f"{where}: found shards of different dtypes or numbers of dimensions, expected alike"
        )
    ends = tuple(max(sizes) for sizes in zip(*(p.ends for p in distinct), strict=True))
    shape = ends if shape is None else shape
    _check_tiling(where, distinct, shape)
    if len(distinct) == 1:
        return first

    def rows(begin: int, end: int) -> Tensor:
        found = torch.empty((max(0, end - begin), *shape[1:]), dtype=first.tensor.dtype)
        for piece in distinct:
            top, bottom = max(begin, piece.offsets[0]), min(end, piece.ends[0])
            if top < bottom:
                rest = zip(piece.offsets[1:], piece.ends[1:], strict=True)
                into = (slice(top - begin, bottom - begin), *(slice(o, e) for o, e in rest))
                found[into] = piece.tensor.rows(top - piece.offsets[0], bottom - piece.offsets[0])
        return found

    tensor = StoredTensor(shape, first.tensor.dtype, rows, first.tensor.stored_as)
    return Piece((0,) * len(shape), tensor)


def _check_tiling(where: str, pieces: Sequence[Piece], shape: tuple[int, ...]) -> None:
    """Refuse pieces that do not cover a tensor once: they overlap, or hold too little."""
    inside = all(e <= n for p in pieces for e, n in zip(p.ends, shape, strict=True))
    held = sum(prod(piece.tensor.shape) for piece in pieces)
    ordered = sorted((p for p in pieces if prod(p.tensor.shape)), key=lambda p: p.offsets)
    overlap = _overlapping(ordered)
    if overlap:
        raise InputError(
            f"{where}: found shards that overlap, at {list(overlap[0])} and {list(overlap[1])}, "
            "expected each value once"
        )
    if not inside or held != prod(shape):
        raise InputError(
            f"{where}: found {held:,} values in {len(pieces)} shards (at "
            f"{named([str(list(p.offsets)) for p in ordered], 4)}), expected {prod(shape):,} for "
            f"shape {list(shape)}; add the shards that are missing"
        )


def _overlapping(pieces: Sequence[Piece]) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Return where two pieces begin that share a value; pieces are in order of their offsets."""
    open_: list[Piece] = []
    for piece in pieces:
        if not piece.offsets:
            return None
        open_ = [other for other in open_ if other.ends[0] > piece.offsets[0]]
        for other in open_:
            spans = zip(piece.offsets, piece.ends, other.offsets, other.ends, strict=True)
            if all(a < d and c < b for a, b, c, d in spans):
                return other.offsets, piece.offsets
        open_.append(piece)
    return None


def plain(tensor: Tensor) -> StoredTensor | str:
    """Return a tensor of torch as a stored one, or why it is none.

    Sparse ones give dense rows, quantised ones their values: neither is made dense or dequantised
    as a whole.
    """
    tensor = tensor.detach()
    if tensor.is_meta:
        return "of device meta: a shape without values"
    if tensor.is_nested:
        return "nested: its rows are of several lengths"
    if tensor.is_quantized:
        return _quantised(tensor)
    if tensor.layout != torch.strided:
        return _sparse(tensor)
    shape = tuple(tensor.shape)
    return StoredTensor(shape, tensor.dtype, lambda b, e: tensor[b:e] if shape else tensor)


def _quantised(tensor: Tensor) -> StoredTensor | str:
    if tensor.dtype not in (torch.quint8, torch.qint8, torch.qint32) or tensor.dim() == 0:
        return f"of dtype {tensor.dtype}, of which no part can be dequantised"
    form = str(tensor.dtype).removeprefix("torch.")
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        scale, zero = tensor.q_scale(), tensor.q_zero_point()
        values = tensor.int_repr()
        return StoredTensor(
            tuple(tensor.shape),
            torch.float32,
            lambda b, e: (values[b:e].float() - zero) * scale,
            form,
        )
    if tensor.q_per_channel_axis() != 0:
        return f"quantised along dimension {tensor.q_per_channel_axis()}, not by rows"
    scales, zeros = tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()
    values, one_a_row = tensor.int_repr(), (-1,) + (1,) * (tensor.dim() - 1)

    def rows(begin: int, end: int) -> Tensor:
        scale, zero = (one[begin:end].float().view(one_a_row) for one in (scales, zeros))
        return (values[begin:end].float() - zero) * scale

    return StoredTensor(tuple(tensor.shape), torch.float32, rows, form)


def _sparse(tensor: Tensor) -> StoredTensor | str:
    try:
        found = tensor.to_sparse_coo().coalesce()  # type: ignore[no-untyped-call]
    except (RuntimeError, NotImplementedError) as error:
        return f"of layout {tensor.layout}, and cannot be read: {_reason(error)}"
    indices, values = found.indices(), found.values()
    shape = tuple(tensor.shape)

    def rows(begin: int, end: int) -> Tensor:
        # Coalesced indices are in order, those of the first dimension first.
        at = torch.searchsorted(indices[0].contiguous(), torch.tensor([begin, end]))
        part = slice(int(at[0]), int(at[1]))
        here = indices[:, part].clone()
        here[0] -= begin
        dense = torch.zeros((max(0, end - begin), *shape[1:]), dtype=values.dtype)
        dense[tuple(here)] = values[part]
        return dense

    return StoredTensor(shape, values.dtype, rows, "sparse")


def _reason(error: Exception) -> str:
    """Return the first line of an error, fit for a terminal."""
    return printable((str(error).splitlines() or [type(error).__name__])[0])


def raw(
    path: Path, offset: int, dtype: torch.dtype, shape: tuple[int, ...], stored_as: str = ""
) -> StoredTensor:
    """Return values that lie in a file as memory has them, row after row.

    Parameters
    ----------
    path : Path
        The file; mapped, and never read as a whole.
    offset : int
        Byte of the first value.
    dtype : torch.dtype
        Of the values.
    shape : tuple of int
        Of the tensor.
    stored_as : str
        As of `StoredTensor`.

    Raises
    ------
    ValueError
        The file ends before the tensor does.
    """
    row_bytes = prod(shape[1:]) * dtype.itemsize
    size = row_bytes * (shape[0] if shape else 1)
    if offset < 0 or offset + size > path.stat().st_size:
        raise ValueError(f"{path.name} ends before its values do")
    if size == 0:
        return StoredTensor(
            shape, dtype, lambda b, e: torch.empty((e - b, *shape[1:]), dtype=dtype)
        )
    held = np.memmap(path, np.uint8, "r", offset, (size,))

    def rows(begin: int, end: int) -> Tensor:
        # A copy: the bytes may lie anywhere, and torch wants values aligned and writable.
        part = np.array(held[begin * row_bytes : end * row_bytes])
        return torch.from_numpy(part).view(dtype).view((end - begin, *shape[1:]) if shape else ())

    return StoredTensor(shape, dtype, rows, stored_as)


def flattened(found: object) -> Mapping[str, Tensor]:
    """Return all tensors in nested dicts, lists and tuples, by names joined with dots."""
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()

    def walk(value: object, name: str) -> None:
        if isinstance(value, Tensor):
            name = name or "table"
            while name in tensors:
                name += "'"  # a name with a dot in it, and the same by nesting
            tensors[name] = value
            return
        if id(value) in seen:
            return
        if isinstance(value, Mapping | list | tuple):
            seen.add(id(value))
            items = value.items() if isinstance(value, Mapping) else enumerate(value)
            for key, inner in items:
                part = printable(str(key))
                walk(inner, f"{name}.{part}" if name else part)

    walk(found, "")
    return tensors
