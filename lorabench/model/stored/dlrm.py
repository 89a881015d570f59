"""Which stored tensors are the parts of a DLRM, by the names of the reference and of TorchRec.

Naumov et al.'s own program (facebookresearch/dlrm) calls them ``emb_l.N.weight``,
``bot_l.2N.weight`` and ``top_l.2N.weight``; TorchRec ``embedding_bags.NAME.weight``, ``dense_arch``
and ``over_arch``. Either may stand behind any prefix. What would change the predictions and is not
supported is refused here; what does not is left out with the reason.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from lorabench.errors import InputError
from lorabench.model.stored.roles import dequantised, natural, unwrapped
from lorabench.model.stored.tensors import LeftOut, Stored, StoredTensor, named

# Behind the number: of itself, of a mixed-dimension embedding, of torch's quantised EmbeddingBag.
_TABLE = re.compile(
    r"(?P<root>(.*\.)?)emb_l\.(?P<n>\d+)((\.embs)?\.weight|\._packed_params\._packed_weight)"
)
_BAG = re.compile(r"(?P<root>(.*\.)?)embedding_bags\.(?P<n>[^.]+)\.weight")
_BOTTOM = re.compile(r"(?P<root>(.*\.)?)(?P<arch>bot_l|dense_arch)\.(.+\.)?(weight|bias)")
_TOP = re.compile(r"(?P<root>(.*\.)?)(?P<arch>top_l|over_arch)\.(.+\.)?(weight|bias)")
_POOLING = re.compile(r"(.*\.)?v_W_l\.(?P<n>\d+)")
_SUMS = re.compile(r"(.*\.)?emb_l\.(?P<n>\d+)\.accumulator")
_OPTIMISER = re.compile(r"(^|\.)(optim|opt_state_dict|optimizer[^.]*)\.")

_UNSUPPORTED = (
    (
        re.compile(r"emb_l\.\d+\.weight_[qr]$"),
        "half of a quotient-remainder embedding (--qr-flag), whose rows are made of two",
    ),
    (
        re.compile(r"emb_l\.\d+\.proj\.weight$"),
        "the projection of a mixed-dimension embedding (--md-flag)",
    ),
    (
        re.compile(r"(^|\.)(crossnet|inter_arch)\."),
        "a part of an interaction with weights of its own (DCN or projection)",
    ),
)


@dataclass(frozen=True)
class Layer:
    """A linear layer: the names of its tensors, of which `bias` need not be there."""

    weight: str
    bias: str


@dataclass(frozen=True)
class Parts:
    """The parts of a DLRM.

    Parameters
    ----------
    tensors : dict of str to StoredTensor
        By their names as found; quantised tables as their values.
    tables : tuple of str
        In the order of the features.
    bottom, top : tuple of Layer
        The two MLPs, from the input on.
    pooling : dict of int to str
        Weights of rows by number of the table, ``v_W_l``.
    sums : dict of int to str
        Adagrad's accumulators, which our own checkpoints have.
    upper_pairs : bool
        The interaction hands on pairs as TorchRec does, those of the first vector first.
    notes : tuple of str
        What was assumed.
    left_out : tuple of LeftOut
        Tensors that are no part of it.
    """

    tensors: dict[str, StoredTensor]
    tables: tuple[str, ...]
    bottom: tuple[Layer, ...]
    top: tuple[Layer, ...]
    pooling: dict[int, str]
    sums: dict[int, str]
    upper_pairs: bool
    notes: tuple[str, ...]
    left_out: tuple[LeftOut, ...]


def find_parts(stored: Stored) -> Parts:
    """Find the parts of a DLRM.

    Raises
    ------
    InputError
        There are none, those of two models, or such as cannot be served.
    """
    left_out = list(stored.left_out)
    values, used = dequantised(stored.tensors, left_out)
    tensors = {n: values.get(n, t) for n, t in stored.tensors.items() if n not in used}
    short = _unwrapped(stored, tensors)
    _refuse_unsupported(stored, short)
    reference, bags = _numbered(stored, short, _TABLE), _numbered(stored, short, _BAG)
    if reference and bags:
        raise InputError(
            f"{stored.path}: found tables called emb_l.N and others called embedding_bags.NAME, "
            "expected those of one model; save it alone"
        )
    notes: list[str] = []
    tables = _by_number(stored, reference) if reference or not bags else _in_order(bags, notes)
    bottom, top = (_mlp(stored, short, pattern) for pattern in (_BOTTOM, _TOP))
    pooling, sums = (
        {int(m["n"]): name for s, name in short.items() if (m := pattern.fullmatch(s))}
        for pattern in (_POOLING, _SUMS)
    )
    taken = {*tables, *pooling.values(), *sums.values()}
    taken |= {one for layer in (*bottom, *top) for one in (layer.weight, layer.bias)}
    left_out += [LeftOut(name, _why(name)) for name in tensors if name not in taken]
    # DenseNet's own names aside, over_arch is TorchRec's.
    upper = "over_arch.model." in unwrapped(top[0].weight)
    return Parts(tensors, tables, bottom, top, pooling, sums, upper, tuple(notes), tuple(left_out))


def _unwrapped(stored: Stored, names: Iterable[str]) -> dict[str, str]:
    """Return names as found by what they are without wrappers; an optimiser's are none."""
    short: dict[str, str] = {}
    for name in names:
        one = unwrapped(name)
        if _OPTIMISER.search(one):
            continue
        if one in short and any(pattern.fullmatch(one) for pattern in (_TABLE, _BAG, _TOP)):
            raise InputError(
                f"{stored.path}: found both {short[one]} and {name}, expected the tensors of one "
                "model; save it alone"
            )
        short[one] = name
    return short


def _why(name: str) -> str:
    optimiser = _OPTIMISER.search(unwrapped(name))
    return "of an optimiser" if optimiser else "no part of a DLRM"


def _refuse_unsupported(stored: Stored, short: dict[str, str]) -> None:
    for one, name in short.items():
        for pattern, what in _UNSUPPORTED:
            if pattern.search(one):
                raise InputError(
                    f"{stored.path}: {name}: found {what}, expected a DLRM of plain tables with "
                    "interaction by dot or cat; such a model cannot be served here"
                )


def _numbered(stored: Stored, short: dict[str, str], pattern: re.Pattern[str]) -> dict[str, str]:
    """Return names as found by what tells them apart, of one model."""
    roots: dict[str, dict[str, str]] = {}
    for one, name in short.items():
        if match := pattern.fullmatch(one):
            roots.setdefault(match["root"], {})[match["n"]] = name
    _one(stored, roots)
    return next(iter(roots.values()), {})


def _one(stored: Stored, roots: Iterable[str]) -> None:
    found = [root.rstrip(".") or "no prefix" for root in roots]
    if len(found) > 1:
        raise InputError(
            f"{stored.path}: found the tensors of {len(found)} models ({named(found)}), expected "
            "those of one; save it alone"
        )


def _by_number(stored: Stored, found: dict[str, str]) -> tuple[str, ...]:
    """Return the reference's tables, which must be numbered from 0 on."""
    for f in range(max(len(found), 1)):
        if str(f) not in found:
            raise _missing(stored, f"emb_l.{f}.weight")
    return tuple(found[str(f)] for f in range(len(found)))


def _in_order(found: dict[str, str], notes: list[str]) -> tuple[str, ...]:
    """Return TorchRec's tables: by number where their names have no more, else as they stand."""
    stems = {re.sub(r"\d+", "", name) for name in found}
    if len(stems) == 1 and all(re.search(r"\d", name) for name in found):
        return tuple(found[name] for name in sorted(found, key=natural))
    notes.append(f"features were taken to be in the order of the file: {named([*found], 6)}")
    return tuple(found.values())


def _mlp(stored: Stored, short: dict[str, str], pattern: re.Pattern[str]) -> tuple[Layer, ...]:
    """Return the linear layers of an MLP in the order of their numbers."""
    roots: dict[str, set[str]] = {}
    for one in short:
        if match := pattern.fullmatch(one):
            roots.setdefault(f"{match['root']}{match['arch']}", set()).add(one.rpartition(".")[0])
    _one(stored, roots)
    arch = "bot_l" if pattern is _BOTTOM else "top_l"
    if not roots:
        raise _missing(stored, f"{arch}.0.weight")
    ((root, layers),) = roots.items()
    ordered = sorted(layers, key=natural)
    if root.endswith(arch):
        # The reference numbers activations too: linear layers are the even ones.
        ordered = [f"{root}.{2 * i}" for i in range(len(layers))]
    for layer in ordered:
        for one in (f"{layer}.weight", f"{layer}.bias"):
            if one not in short:
                raise _missing(stored, one)
    return tuple(Layer(short[f"{one}.weight"], short[f"{one}.bias"]) for one in ordered)


def _missing(stored: Stored, name: str) -> InputError:
    for left in stored.left_out:
        if f".{unwrapped(left.name)}".endswith(f".{name}"):
            return InputError(f"{stored.path}: {left.name}: found it {left.why}, expected values")
    seen = [*stored.tensors, *(left.name for left in stored.left_out)]
    return InputError(
        f"{stored.path}: found no tensor {name}, expected one; it holds "
        f"{named(seen) or 'nothing'}, and a DLRM has the names of the reference (emb_l.N, bot_l.N, "
        "top_l.N) or of TorchRec (embedding_bags.NAME, dense_arch, over_arch)"
    )
