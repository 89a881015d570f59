"""Folders of torch.distributed.checkpoint, put together without a process group.

Each tensor lies there in chunks, a rank's in a file of its own (``__0_0.distcp``), and
``.metadata`` says which is where. That file is a pickle: it is read by an unpickler that makes none
but the classes of which it consists.
"""

import pickle
from pathlib import Path
from typing import Any

import torch

from lorabench.errors import InputError
from lorabench.model.stored.pickles import embedded
from lorabench.model.stored.tensors import (
    LeftOut,
    Piece,
    Stored,
    StoredTensor,
    joined,
    named,
    printable,
)

METADATA = ".metadata"

_ALLOWED = {
    "torch.distributed.checkpoint.metadata": {
        *("Metadata", "MetadataIndex", "StorageMeta", "TensorStorageMetadata"),
        *("BytesStorageMetadata", "ChunkStorageMetadata", "TensorProperties"),
        "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed._shard.sharded_tensor.metadata": {"TensorProperties", "MEM_FORMAT_ENCODING"},
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.serialization": {"_get_layout"},
    "torch": {"Size"},
    "collections": {"OrderedDict"},
    "builtins": {"list", "dict", "set", "tuple"},
    "pathlib": {"Path", "PosixPath", "PurePosixPath"},
    "pathlib._local": {"Path", "PosixPath", "PurePosixPath"},
}


class _Unpickler(pickle.Unpickler):
    """Makes what metadata consists of, and refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        if name in _ALLOWED.get(module, ()):
            return super().find_class(module, name)
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        raise pickle.UnpicklingError(f"{module}.{name}")


def open_distributed(folder: Path) -> Stored:
    """Open a folder that torch.distributed.checkpoint wrote.

    Raises
    ------
    InputError
        Its metadata holds anything else, is damaged, or names what is not there.
    """
    metadata = _metadata(folder / METADATA)
    tensors: dict[str, StoredTensor] = {}
    left_out: list[LeftOut] = []
    files: dict[Path, None] = {folder / METADATA: None}
    for found, entry in metadata.state_dict_metadata.items():
        name = printable(str(found))
        if not hasattr(entry, "chunks"):
            continue  # bytes: numbers and the like
        try:
            pieces = []
            for chunk in entry.chunks:
                path, piece = _chunk(folder, metadata, found, chunk)
                files[path] = None
                if piece.tensor.dtype != entry.properties.dtype:
                    raise ValueError(f"{path.name} holds {piece.tensor.form}")
                pieces.append(piece)
        except (ValueError, OSError, AttributeError, TypeError) as error:
            raise InputError(
                f"{folder}: {name}: found no whole tensor ({printable(str(error))}), expected what "
                f"{METADATA} says; save it again"
            ) from None
        if pieces:
            tensors[name] = joined(f"{folder}: {name}", pieces, tuple(entry.size)).tensor
    return Stored(
        folder, "a folder of torch.distributed.checkpoint", tensors, left_out, tuple(files)
    )


def _metadata(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            found = _Unpickler(file).load()
        _ = found.state_dict_metadata.items(), found.storage_data.items()
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: found a pickled {printable(str(error))[:100]}, expected no more than what "
            "torch.distributed.checkpoint writes there"
        ) from None
    except Exception as error:  # noqa: BLE001 - a damaged pickle fails anywhere
        first = printable((str(error).splitlines() or [type(error).__name__])[0])[:100]
        raise InputError(
            f"{path}: found damaged metadata ({first}), expected what torch.distributed.checkpoint "
            "writes there"
        ) from None
    return found


def _chunk(folder: Path, metadata: Any, name: str, chunk: Any) -> tuple[Path, Piece]:
    """Return where a chunk lies, and the piece of a tensor that it is."""
    stored = [
        info
        for index, info in metadata.storage_data.items()
        if index.fqn == name
        and (index.offset is None or tuple(index.offset) == tuple(chunk.offsets))
    ]
    if not stored:
        raise ValueError(f"no file for the part at {list(chunk.offsets)}")
    info = stored[0]
    path = folder / info.relative_path
    if Path(info.relative_path).name != info.relative_path or not path.is_file():
        raise ValueError(f"no file {info.relative_path}")
    if getattr(info, "transform_descriptors", None):
        raise ValueError(f"{path.name} is compressed: {named(list(info.transform_descriptors))}")
    tensor = embedded(path, info.offset, info.length)
    if tensor.shape != tuple(chunk.sizes):
        raise ValueError(f"{path.name} holds shape {list(tensor.shape)}")
    return path, Piece(tuple(chunk.offsets), tensor)
