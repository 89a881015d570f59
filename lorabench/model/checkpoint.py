"""A DLRM on disk: plain tensors under the names of the reference implementation.

``emb_l.{f}.weight`` [V_f, D], ``bot_l.{2i}.weight`` / ``.bias`` and ``top_l.{2i}.weight`` /
``.bias``, flat or under ``state_dict``, written by `torch.save` and read with
``weights_only=True``: a checkpoint is data and cannot run code. So a model trained with the
reference DLRM can be served as it is. Ours may hold ``emb_l.{f}.accumulator`` [V_f] besides, of
row-wise Adagrad, so that training can go on.
"""

import pickle
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lorabench.errors import InputError
from lorabench.model.dlrm import DenseNet, DlrmShape
from lorabench.model.full import TrainedModel
from lorabench.model.tables import TableLayout, TableSet
from lorabench.replacing import replacing

_NAME = re.compile(r"(emb_l|bot_l|top_l)\.(\d+)\.(weight|bias)|emb_l\.(\d+)\.accumulator")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's tensors, mapped from the file, and the shapes that they imply."""

    tensors: dict[str, Tensor]
    layout: TableLayout
    shape: DlrmShape

    def load_into(self, tables: TableSet, net: DenseNet) -> None:
        """Copy the tensors into tables and net of the same shapes."""
        with tables.changing():
            for f, table in enumerate(tables.arrays):
                torch.from_numpy(table).copy_(self.tensors[f"emb_l.{f}.weight"])
        with torch.no_grad():
            for name, parameter in _named_parameters(net).items():
                parameter.copy_(self.tensors[name])

    def load_accumulators(self) -> list[NDArray[np.float32]] | None:
        """Return a copy of the tables' Adagrad accumulators; None where it has none."""
        names = [f"emb_l.{f}.accumulator" for f in range(len(self.layout.rows))]
        if names[0] not in self.tensors:
            return None
        return [self.tensors[name].numpy().copy() for name in names]


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
    """Read a checkpoint and check that it is a DLRM.

    Raises
    ------
    InputError
        The file is missing, is no checkpoint of plain tensors, or its tensors do not fit
        together.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected a checkpoint") from None
    except (
        OSError,
        RuntimeError,
        ValueError,
        EOFError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
    ) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{path}: found no checkpoint of plain tensors ({reason}); expected one written by "
            "torch.save, readable with weights_only=True"
        ) from None
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict):
        raise InputError(f"{path}: found a {type(found).__name__}, expected a dict of tensors")
    tensors = {
        name: value
        for name, value in found.items()
        if isinstance(name, str) and _NAME.fullmatch(name) and isinstance(value, Tensor)
    }
    return Checkpoint(tensors, *_shapes(path, tensors))


def _shapes(path: Path, tensors: dict[str, Tensor]) -> tuple[TableLayout, DlrmShape]:
    def take(name: str, *expected: int | None) -> tuple[int, ...]:
        if name not in tensors:
            raise InputError(f"{path}: found no tensor {name}, expected one")
        found, wanted = tuple(tensors[name].shape), [str(n or "any") for n in expected]
        if len(found) != len(expected) or any(
            n is not None and n != m for n, m in zip(expected, found, strict=True)
        ):
            raise InputError(
                f"{path}: {name}: found shape {list(found)}, expected [{', '.join(wanted)}]"
            )
        if tensors[name].dtype != torch.float32:
            raise InputError(f"{path}: {name}: found {tensors[name].dtype}, expected torch.float32")
        return found

    def count(prefix: str) -> int:
        return sum(name.startswith(f"{prefix}.") and name.endswith("weight") for name in tensors)

    def mlp(prefix: str, width: int | None, last: int) -> tuple[int, ...]:
        layers = count(prefix)
        sizes = []
        for i in range(max(layers, 1)):
            out, inner = take(f"{prefix}.{2 * i}.weight", last if i == layers - 1 else None, width)
            take(f"{prefix}.{2 * i}.bias", out)
            sizes += [inner, out] if i == 0 else [out]
            width = out
        return tuple(sizes)

    tables = count("emb_l")
    first = take("emb_l.0.weight", None, None)
    dim = first[1]
    rows = tuple(take(f"emb_l.{f}.weight", None, dim)[0] for f in range(tables))
    if any(name.endswith(".accumulator") for name in tensors):
        for f, count_rows in enumerate(rows):
            take(f"emb_l.{f}.accumulator", count_rows)
    bottom = mlp("bot_l", None, dim)
    draft = DlrmShape(bottom[0], tables, dim, bottom[1:-1], ())
    top = mlp("top_l", draft.interactions, 1)
    return (
        TableLayout(rows, dim),
        DlrmShape(bottom[0], tables, dim, bottom[1:-1], top[1:-1]),
    )
