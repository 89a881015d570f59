"""What stored tensors are for: tables, their scales, dense layers, an optimiser's sums.

Names decide, those of the reference DLRM and of TorchRec first, then words that people use; shapes
and the company of a bias or a scale decide where names say nothing. What is no table is left out
with the reason.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lorabench.model.stored.tensors import FLOATS, LeftOut, Stored, StoredTensor

_WRAPPERS = {
    *("module", "_orig_mod", "_fsdp_wrapped_module", "_dmp_wrapped_module"),
    *("_checkpoint_wrapped_module", "_forward_module"),
}
"""What DataParallel, torch.compile, FSDP, TorchRec and DeepSpeed put into names."""

_TABLE = re.compile(
    r"(^|\.)(emb_l\.\d+(\.embs)?\.weight|(embedding_bags|embeddings)\.[^.]+\.weight)$"
)
_TABLE_WORD = re.compile(
    r"(^|[._])(emb|embs|embed|embeds|embedding|embeddings|lookup|tables?|[a-z]+emb)\d*([._]|$)",
    re.I,
)
_DENSE_WORD = re.compile(
    r"(^|[._])(mlp|linear|fc|dense|dnn|proj|projection|cross|crossnet|attn|attention|conv\d*|norm|"
    r"layernorm|bn|gru|lstm|rnn|bot_l|top_l|dense_arch|over_arch|inter_arch|hidden|head)\d*([._]|$)",
    re.I,
)
_OPTIMISER = re.compile(
    r"(^|\.)(optimizer|optim|opt|optimizer_state|optimizer_state_dict|opt_state_dict|optimizers)\.|"
    r"(^|[._])(momentum\d*|momentum_buffer|exp_avg|exp_avg_sq|accumulator|max_exp_avg_sq)$"
)
_QUOTIENT = re.compile(r"(^|\.)weight_[qr]$")

# What stands beside a quantised table, behind the table's name; a scale and an offset may be one.
_SCALES = ("weight_qscale", "qscale", "scale", "scales", "weight_scale", "weight_scales")
_BIASES = ("weight_qbias", "qbias", "weight_qshift", "qshift", "shift", "offset", "weight_offset")
_ZEROS = ("zero_point", "zero_points", "weight_zero_point", "weight_zero_points")
_BOTH = ("weight_qscaleshift", "qscaleshift", "scale_shift", "scale_bias", "weight_scale_bias")


def unwrapped(name: str) -> str:
    """Return a name without what wrappers of modules put into it."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def natural(name: str) -> tuple[tuple[bool, int, str], ...]:
    """Return a key that sorts numbers within names by their size."""
    parts = re.split(r"(\d+)", name)
    return tuple((p.isdigit(), int(p) if p.isdigit() else 0, p) for p in parts if p)


@dataclass(frozen=True)
class Roles:
    """What was found.

    Parameters
    ----------
    tables : dict of str to StoredTensor
        Two-dimensional, of a floating-point dtype; quantised ones as their values.
    left_out : list of LeftOut
        All other tensors, and why.
    """

    tables: dict[str, StoredTensor]
    left_out: list[LeftOut]


def find_tables(stored: Stored) -> Roles:
    """Tell tables from all else.

    Parameters
    ----------
    stored : Stored
        As opened.
    """
    left_out = list(stored.left_out)
    scaled, used = dequantised(stored.tensors, left_out)
    candidates: dict[str, StoredTensor] = {}
    for name, tensor in stored.tensors.items():
        if name in used:
            continue
        why = _no_table(name, tensor, stored.tensors, name in scaled)
        if why:
            left_out.append(LeftOut(name, why))
        else:
            candidates[name] = scaled.get(name, tensor)
    for pattern in (_TABLE, _TABLE_WORD):
        called = {n: t for n, t in candidates.items() if pattern.search(unwrapped(n))}
        if called:
            left_out += [
                LeftOut(name, "not called a table, as others there are")
                for name in candidates
                if name not in called
            ]
            candidates = called
            break
    return Roles(candidates, left_out)


def _no_table(
    name: str, tensor: StoredTensor, every: Mapping[str, StoredTensor], scaled: bool
) -> str:
    """Return why a tensor is no table; nothing where it may be one."""
    short, shape = unwrapped(name), tensor.shape
    if _QUOTIENT.search(name):
        return "half of a quotient-remainder embedding, whose rows are made of two"
    if _OPTIMISER.search(short):
        return "of an optimiser"
    dense = _DENSE_WORD.search(short) and not _TABLE.search(short)
    if len(shape) != 2 or 0 in shape:
        few = "a vector" if len(shape) == 1 else f"of shape {list(shape)}"
        return "of a dense layer" if dense else few
    if not scaled and tensor.dtype not in FLOATS:
        return _no_values(tensor)
    bias = every.get(f"{name.removesuffix('weight')}bias") if name.endswith("weight") else None
    biased = bias is not None and bias.shape == shape[:1] and not _TABLE.search(short)
    return "of a dense layer" if dense or biased else ""


def _no_values(tensor: StoredTensor) -> str:
    if tensor.dtype not in (torch.int8, torch.uint8):
        return f"of dtype {tensor.form}"
    return (
        f"{tensor.form} without {_SCALES[0]} or {_BOTH[0]} beside it; where FBGEMM keeps scales "
        "within the rows, quant_prep_enable_quant_state_dict_split_scale_bias of TorchRec saves "
        "them apart"
    )


def dequantised(
    tensors: Mapping[str, StoredTensor], left_out: list[LeftOut]
) -> tuple[dict[str, StoredTensor], set[str]]:
    """Return the values of integer tables that have scales beside them, and the scales' names.

    A row's values are ``scale * q + offset``, as of FBGEMM's row-wise quantisation, or
    ``scale * (q - zero point)``, as of torch's.

    Parameters
    ----------
    tensors : mapping of str to StoredTensor
        All that there are.
    left_out : list of LeftOut
        Told of scales that do not fit.

    Returns
    -------
    dict of str to StoredTensor
        float32, by the name of the integers.
    set of str
        What was used up.
    """
    found: dict[str, StoredTensor] = {}
    used: set[str] = set()
    for name, tensor in tensors.items():
        if tensor.dtype not in (torch.int8, torch.uint8) or len(tensor.shape) != 2:
            continue
        beside = _beside(name, tensors)
        if not beside:
            continue
        rows = tensor.shape[0]
        try:
            columns = {key: _per_row(tensors[at], rows, key) for key, at in beside.items()}
        except ValueError as error:
            left_out.append(LeftOut(name, str(error)))
        else:
            found[name] = _scaled(tensor, columns)
        used |= {*beside.values()} | (set() if name in found else {name})
    return found, used


def _beside(name: str, tensors: Mapping[str, StoredTensor]) -> dict[str, str]:
    """Return what stands beside a table, by what it is: both, scale, bias, zero."""
    bases = [name] + ([name.removesuffix("weight")] if name.endswith("weight") else [])
    found: dict[str, str] = {}
    for key, names in (("both", _BOTH), ("scale", _SCALES), ("bias", _BIASES), ("zero", _ZEROS)):
        for base in bases:
            for one in names:
                for mark in (".", "_") if base == name else ("",):
                    if f"{base}{mark}{one}" in tensors:
                        found.setdefault(key, f"{base}{mark}{one}")
    return found if "both" in found or "scale" in found else {}


def _per_row(tensor: StoredTensor, rows: int, key: str) -> Tensor:
    """Return what a row is scaled by or moved by, float32 [V, 1] or [V, 2]; [1, 1] for all rows."""
    wanted = 2 if key == "both" else 1
    value = tensor.whole()
    if (
        tensor.dtype == torch.uint8
        and value.dim() == 2
        and value.shape[1] in (2 * wanted, 4 * wanted)
    ):
        # FBGEMM hands them out as the bytes that they are in a row.
        half = value.shape[1] == 2 * wanted
        value = value.contiguous().view(torch.float16 if half else torch.float32)
    value = value.float()
    if value.numel() == wanted:
        value = value.reshape(1, wanted)
    elif value.dim() == 1 and wanted == 1:
        value = value[:, None]
    if value.dim() != 2 or value.shape[1] != wanted or value.shape[0] not in (1, rows):
        raise ValueError(
            f"its scales have shape {list(tensor.shape)}, expected {wanted} for each of {rows} rows"
        )
    return value


def _scaled(tensor: StoredTensor, columns: Mapping[str, Tensor]) -> StoredTensor:
    if "both" in columns:
        scale, bias = columns["both"][:, :1], columns["both"][:, 1:]
    else:
        scale, bias = columns["scale"], columns.get("bias", torch.zeros(1, 1))
    zero = columns.get("zero", torch.zeros(1, 1))

    def rows(begin: int, end: int) -> Tensor:
        part = [one[begin:end] if len(one) > 1 else one for one in (zero, scale, bias)]
        return (tensor.rows(begin, end).float() - part[0]) * part[1] + part[2]

    return StoredTensor(tensor.shape, torch.float32, rows, f"row-wise {tensor.form}")
