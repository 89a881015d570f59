"""A DLRM on disk: read in every form that `lorabench.model.stored` opens, written in one.

Which it is, the names tell (`lorabench.model.stored.dlrm`), and the sizes tell how its vectors
interact. Tables of half precision, of doubles or quantised by rows become fp32 as they are copied,
part by part, and their values are looked at on the way. We write ``emb_l.{f}.weight`` [V_f, D],
``bot_l.{2i}`` and ``top_l.{2i}`` as the reference does, flat, by torch.save; and maybe
``emb_l.{f}.accumulator`` [V_f], of row-wise Adagrad, so that training can go on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lorabench.errors import InputError
from lorabench.model.dlrm import DenseNet, DlrmShape, Interaction
from lorabench.model.full import TrainedModel
from lorabench.model.stored.dlrm import Layer, Parts, find_parts
from lorabench.model.stored.opening import open_stored
from lorabench.model.stored.summary import digest, said
from lorabench.model.stored.tensors import FLOATS, LeftOut, StoredTensor
from lorabench.model.tables import TableLayout, TableSet
from lorabench.replacing import replacing

_FLOATS = ", ".join(str(dtype).removeprefix("torch.") for dtype in FLOATS[:-1]) + " or float64"
_PART_BYTES = 64 << 20

_HOW = {
    "dot": "as the dot interaction has it",
    "dot-itself": "with --arch-interaction-itself",
    "cat": "with --arch-interaction-op=cat",
}


@dataclass(frozen=True)
class Checkpoint:
    """A DLRM's parts, the tables still on disk, and the shapes that they imply.

    Parameters
    ----------
    path : Path
        Where it lies.
    kind : str
        What it was recognised as.
    layout : TableLayout
        Of the tables.
    shape : DlrmShape
        Of the dense net.
    notes : tuple of str
        What was done to it or assumed of it on reading.
    left_out : tuple of LeftOut
        What else lies there.
    sha256 : str
        Of its files' sizes and times, as of a snapshot.
    """

    path: Path
    kind: str
    layout: TableLayout
    shape: DlrmShape
    notes: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    sha256: str
    _parts: Parts
    _net: dict[str, Tensor]

    def table(self, f: int) -> str:
        """Return what table `f` is called there."""
        return self._parts.tables[f]

    def load_into(self, tables: TableSet, net: DenseNet) -> None:
        """Copy the tensors into tables and net of the same shapes.

        Raises
        ------
        InputError
            A table has a value that is not finite.
        """
        with tables.changing():
            for f, table in enumerate(tables.arrays):
                into = torch.from_numpy(table)
                for begin, part in self._rows(f):
                    into[begin : begin + len(part)] = part
        with torch.no_grad():
            for name, parameter in _named_parameters(net).items():
                parameter.copy_(self._net[name])

    def check_values(self) -> None:
        """Look at every value of the tables, as `load_into` does, and keep none.

        Raises
        ------
        InputError
            A table has a value that is not finite.
        """
        for f in range(len(self.layout.rows)):
            for _ in self._rows(f):
                pass

    def _rows(self, f: int) -> Iterator[tuple[int, Tensor]]:
        """Give a table's rows as they will be served, a part at a time, and where each begins."""
        name = self._parts.tables[f]
        table, rows = self._parts.tensors[name], self.layout.rows[f]
        weights = self._parts.pooling.get(f)
        step = max(1, _PART_BYTES // (self.layout.dim * 4))
        for begin in range(0, rows, step):
            end = min(begin + step, rows)
            part = table.rows(begin, end).float()
            if weights is not None:
                # Rows are weighted before they are summed: the product is a table that is not.
                part = part * self._parts.tensors[weights].rows(begin, end).float()[:, None]
            _require_finite(self.path, name, part, begin)
            yield begin, part

    def load_accumulators(self) -> list[NDArray[np.float32]] | None:
        """Return a copy of the tables' Adagrad accumulators; None where it has none."""
        sums = self._parts.sums
        if not sums:
            return None
        return [
            self._parts.tensors[sums[f]].whole().float().numpy().copy()
            for f in range(len(self.layout.rows))
        ]

    def as_document(self) -> dict[str, Any]:
        """Return what a result says of it."""
        return {
            "file": self.path.name,
            "sha256": self.sha256,
            "kind": self.kind,
            "interaction": self.shape.interaction,
        }

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was done to it, assumed of it and left out, a sentence each."""
        told = (*self.notes, *said(self.left_out))
        return tuple(f"{self.path.name}: {text}" for text in told)

    def describe(self) -> list[str]:
        """Return what it is, in lines for people."""
        shape, rows = self.shape, self.layout.rows
        lines = [
            f"checkpoint: {self.kind}, {len(rows)} tables of dim {shape.dim} "
            f"({min(rows):,} to {max(rows):,} rows), MLPs "
            f"{'-'.join(map(str, shape.bottom_sizes))} and {'-'.join(map(str, shape.top_sizes))}, "
            f"interaction {shape.interaction}"
        ]
        return lines + [f"note: {remark}" for remark in self.remarks]


def _named_parameters(net: DenseNet) -> dict[str, Tensor]:
    named = {}
    for prefix, arch in (("bot_l", net.dense_arch), ("top_l", net.over_arch)):
        for i, layer in enumerate(arch.layers):
            assert isinstance(layer, nn.Linear)
            # The reference numbers activations too: linear layers are the even ones.
            named[f"{prefix}.{2 * i}.weight"] = layer.weight
            named[f"{prefix}.{2 * i}.bias"] = layer.bias
    return named


def save_checkpoint(path: Path, model: TrainedModel) -> None:
    """Write a model to `path`, whole or not at all."""
    tensors = {
        f"emb_l.{f}.weight": torch.from_numpy(table) for f, table in enumerate(model.tables.arrays)
    }
    tensors |= {
        f"emb_l.{f}.accumulator": torch.from_numpy(sums)
        for f, sums in enumerate(model.accumulators or ())
    }
    tensors |= {name: value.detach() for name, value in _named_parameters(model.net).items()}
    with replacing(path) as partial:
        torch.save(tensors, partial)


def load_checkpoint(path: Path) -> Checkpoint:
    """Open a checkpoint and check that it is a DLRM; the tables' values are not read yet.

    Parameters
    ----------
    path : Path
        A file or folder, as of `lorabench.model.stored.opening.open_stored`.

    Raises
    ------
    InputError
        It is missing, holds more than plain tensors, is no DLRM that can be served, its tensors do
        not fit together, or a weight of an MLP is not finite.
    """
    stored = open_stored(path)
    parts = find_parts(stored)
    layout, shape, notes = _shapes(path, parts)
    net: dict[str, Tensor] = {}
    for prefix, layers in (("bot_l", parts.bottom), ("top_l", parts.top)):
        for i, layer in enumerate(layers):
            for part, name in (("weight", layer.weight), ("bias", layer.bias)):
                value = parts.tensors[name].whole().float()
                _require_finite(path, name, value, 0)
                net[f"{prefix}.{2 * i}.{part}"] = value
    if parts.upper_pairs and shape.interaction == "dot":
        net["top_l.0.weight"] = net["top_l.0.weight"][:, _columns_of_torchrec(shape)]
    for f in parts.pooling:
        _require_finite(path, parts.pooling[f], parts.tensors[parts.pooling[f]].whole(), 0)
    return Checkpoint(
        path,
        stored.kind,
        layout,
        shape,
        (*parts.notes, *notes),
        parts.left_out,
        digest(stored),
        parts,
        net,
    )


def _columns_of_torchrec(shape: DlrmShape) -> Tensor:
    """Return where our interactions stand among TorchRec's.

    TorchRec hands on the pairs of the first vector first (upper triangle), the reference those of
    each vector with the ones before it (lower triangle).
    """
    vectors = shape.num_sparse + 1
    first, second = torch.triu_indices(vectors, vectors, offset=1)
    at = torch.zeros(vectors, vectors, dtype=torch.long)
    at[second, first] = torch.arange(len(first))
    lower = at[tuple(torch.tril_indices(vectors, vectors, offset=-1))]
    return torch.cat([torch.arange(shape.dim), shape.dim + lower])


def _require_finite(path: Path, name: str, part: Tensor, begin: int) -> None:
    finite = torch.isfinite(part)
    if finite.all():
        return
    row = (
        int((~finite).flatten(1).any(1).nonzero()[0])
        if part.dim() > 1
        else int((~finite).nonzero()[0])
    )
    value = part[row][~finite[row]].reshape(-1)[0].item()
    raise InputError(
        f"{path}: {name}: found {value} in row {begin + row}, expected finite numbers that fit "
        "fp32; take a checkpoint from before training diverged"
    )


def _shapes(path: Path, parts: Parts) -> tuple[TableLayout, DlrmShape, tuple[str, ...]]:
    """Return what the tensors' sizes imply, and what was noticed meanwhile."""
    first = _take(path, parts, parts.tables[0], None, None)
    dim = first[1]
    rows = tuple(_take(path, parts, name, None, dim)[0] for name in parts.tables)
    _take_each(path, parts, parts.pooling, "v_W_l.{}", rows)
    _take_each(path, parts, parts.sums, "emb_l.{}.accumulator", rows)
    bottom = _mlp(path, parts, parts.bottom, None, dim)
    draft = DlrmShape(bottom[0], len(rows), dim, bottom[1:-1], ())
    interaction, notes = _interaction(path, parts, draft)
    width = DlrmShape(bottom[0], len(rows), dim, (), (), interaction).interactions
    top = _mlp(path, parts, parts.top, width, 1)
    shape = DlrmShape(bottom[0], len(rows), dim, bottom[1:-1], top[1:-1], interaction)
    return TableLayout(rows, dim), shape, (*notes, *_notes(parts))


def _notes(parts: Parts) -> Iterator[str]:
    """Tell what is done to tables on the way."""
    forms: dict[str, int] = {}
    for name in parts.tables:
        form = parts.tensors[name].form
        forms[form] = forms.get(form, 0) + 1
    forms.pop("float32", None)
    for form, count in forms.items():
        yield f"{count} of {len(parts.tables)} tables are of {form}, and served as fp32"
    if parts.pooling:
        yield f"the weights of {len(parts.pooling)} tables' rows (v_W_l) are multiplied into them"
    if parts.upper_pairs:
        yield "the top MLP's columns are put into the order of the reference's pairs"


def _interaction(path: Path, parts: Parts, draft: DlrmShape) -> tuple[Interaction, tuple[str, ...]]:
    """Tell by the width of the top MLP how vectors interact."""
    name = parts.top[0].weight
    _, width = _take(path, parts, name, None, None)
    possible: tuple[Interaction, ...] = (
        ("dot",) if parts.upper_pairs else ("dot", "dot-itself", "cat")
    )
    widths = {
        how: DlrmShape(draft.num_dense, draft.num_sparse, draft.dim, (), (), how).interactions
        for how in possible
    }
    fitting = [how for how in possible if widths[how] == width]
    if not fitting:
        expected = ", or ".join(f"[any, {widths[how]}] {_HOW[how]}" for how in possible)
        found = list(parts.tensors[name].shape)
        raise InputError(f"{path}: {name}: found shape {found}, expected {expected}")
    if len(fitting) > 1:
        others = " or ".join(_HOW[how] for how in fitting[1:])
        return fitting[0], (
            f"the interaction was taken to be {fitting[0]}; {others}, the top MLP would be as wide",
        )
    return fitting[0], ()


def _take(path: Path, parts: Parts, name: str, *expected: int | None) -> tuple[int, ...]:
    """Return a tensor's shape once it is what was expected, and of floating point."""
    tensor: StoredTensor = parts.tensors[name]
    wanted = [str(n or "any") for n in expected]
    if len(tensor.shape) != len(expected) or any(
        n is not None and n != m for n, m in zip(expected, tensor.shape, strict=True)
    ):
        raise InputError(
            f"{path}: {name}: found shape {list(tensor.shape)}, expected [{', '.join(wanted)}]"
        )
    if tensor.dtype not in FLOATS:
        out = (
            "; with scales beside it (weight_qscaleshift) it would be dequantised"
            if tensor.dtype in (torch.int8, torch.uint8)
            else ""
        )
        raise InputError(f"{path}: {name}: found {tensor.dtype}, expected {_FLOATS}{out}")
    if 0 in tensor.shape:
        raise InputError(f"{path}: {name}: found shape {list(tensor.shape)}, expected values in it")
    return tensor.shape


def _take_each(
    path: Path, parts: Parts, numbered: dict[int, str], called: str, rows: Sequence[int]
) -> None:
    """Check that each table has one of these, a value a row, if any has."""
    for f, count in enumerate(rows if numbered else ()):
        if f not in numbered:
            raise InputError(f"{path}: found no tensor {called.format(f)}, expected one")
        _take(path, parts, numbered[f], count)


def _mlp(
    path: Path, parts: Parts, layers: Sequence[Layer], width: int | None, last: int
) -> tuple[int, ...]:
    """Return the widths along an MLP."""
    sizes: list[int] = []
    for i, layer in enumerate(layers):
        out, inner = _take(path, parts, layer.weight, last if i == len(layers) - 1 else None, width)
        _take(path, parts, layer.bias, out)
        sizes += [inner, out] if i == 0 else [out]
        width = out
    return tuple(sizes)
