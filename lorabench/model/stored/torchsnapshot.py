"""Folders of torchsnapshot, which TorchRec's DLRMs are saved with; its manifest says what is where.

A sharded tensor lies in files whose names end in the row and the column at which they begin
(``sharded/model/…t_cat_0.weight_1048576_0``), each the bare values, and ``.snapshot_metadata`` has
their shapes. Files of another encoding, torch.save, are read too.
"""

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import torch

from lorabench.errors import InputError
from lorabench.model.stored.pickles import embedded
from lorabench.model.stored.tensors import (
    LeftOut,
    Piece,
    Stored,
    StoredTensor,
    joined,
    printable,
    raw,
)

MANIFEST = ".snapshot_metadata"
PARTS = ("sharded", "batched", "replicated")
"""Folders within, besides one for each rank."""


def open_torchsnapshot(folder: Path) -> Stored:
    """Open a folder that torchsnapshot wrote, of however many ranks.

    Raises
    ------
    InputError
        Its manifest is damaged, or names what is not there.
    """
    path = folder / MANIFEST
    tensors: dict[str, StoredTensor] = {}
    left_out: list[LeftOut] = []
    files: dict[Path, None] = {path: None}
    for name, parts in _entries(path).items():
        try:
            pieces = []
            for offsets, entry in parts:
                location = folder / entry["location"]
                files[location] = None
                pieces.append(Piece(tuple(offsets), _tensor(location, entry)))
        except NotImplementedError as error:
            left_out.append(LeftOut(name, str(error)))
            continue
        except (ValueError, OSError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{folder}: {name}: found no whole tensor ({printable(str(error))[:200]}), "
                f"expected what {MANIFEST} says"
            ) from None
        tensors[name] = joined(f"{folder}: {name}", pieces).tensor
    return Stored(folder, "a folder of torchsnapshot", tensors, left_out, tuple(files))


Part = tuple[list[int], dict[str, Any]]


def _entries(path: Path) -> dict[str, list[Part]]:
    """Return the parts of each tensor that a manifest names, of all ranks."""
    try:
        manifest = json.loads(path.read_text())["manifest"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(
            f"{path}: found no manifest in JSON, expected that of torchsnapshot 0.1.0; an older "
            "one's YAML becomes JSON by: python -c 'import json, sys, yaml; "
            "json.dump(yaml.safe_load(sys.stdin), sys.stdout)' < OLD > NEW"
        ) from None
    found: dict[str, list[Part]] = {}
    try:
        for place, entry in manifest:
            # What is before the first slash is the rank.
            logical = place.partition("/")[2]
            name = printable(".".join(unquote(part) for part in logical.split("/")))
            shards = entry.get("shards") or entry.get("chunks")
            if shards is not None:
                parts = found.setdefault(name, [])
                parts += [(shard["offsets"], shard["tensor"]) for shard in shards]
            elif entry["type"] == "Tensor":
                # What every rank holds is in the manifest once for each.
                found.setdefault(name, [([0] * len(entry["shape"]), entry)])
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: found an entry that is none of torchsnapshot's "
            f"({printable(str(error))[:80]}), expected its location, dtype and shape"
        ) from None
    return found


def _tensor(location: Path, entry: dict[str, Any]) -> StoredTensor:
    """Return the tensor that an entry tells of."""
    begin, end = entry.get("byte_range") or (0, location.stat().st_size)
    shape = tuple(int(size) for size in entry["shape"])
    if entry["serializer"] == "torch_save":
        found = embedded(location, begin, end - begin)
        if found.shape != shape:
            raise ValueError(f"{location.name} holds shape {list(found.shape)}")
        return found
    if entry["serializer"] != "buffer_protocol":
        raise NotImplementedError(f"stored as {printable(str(entry['serializer']))}")
    dtype = getattr(torch, str(entry["dtype"]).removeprefix("torch."), None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"it is of dtype {entry['dtype']}")
    found = raw(location, begin, dtype, shape)
    size = dtype.itemsize
    for one in shape:
        size *= one
    if size != end - begin:
        raise ValueError(f"{location.name} holds {end - begin} bytes where {size} belong")
    return found
