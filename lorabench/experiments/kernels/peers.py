"""What people would use instead of this project's kernels: torch and FBGEMM, as candidates.

Each reads the memory that it is given, without a copy, on one thread, through the lowest operator
that its library offers: what its Python front end costs is not charged to it. Torch and FBGEMM are
imported only when one of them is asked for.
"""

from collections.abc import Callable, Mapping
from functools import cache
from importlib import metadata, util
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lorabench.bench.timing import Candidate
from lorabench.experiments.kernels.ours import IndexSampler
from lorabench.model import fbgemm

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float32]
Prepare = Callable[[np.random.Generator], Floats]
Stage = Callable[[Any], None]

_DISTRIBUTIONS = {"torch": "torch", "fbgemm": fbgemm.DISTRIBUTION}

_SUM, _FP32 = fbgemm.SUM, fbgemm.FP32

_LEARNING_RATE, _EPSILON = 1e-3, 1e-8


@cache
def unavailable(name: str) -> str | None:
    """Return in one line why a peer cannot be used here; None if it can be."""
    if util.find_spec("torch") is None:
        return "torch is not installed"
    if name == "fbgemm":
        return fbgemm.unavailable()
    try:
        import torch  # noqa: F401
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        return f"it cannot be loaded: {' '.join(str(error).split())[:200]}"
    return None


def version(name: str) -> str:
    """Return the version of a peer that can be used."""
    return metadata.version(_DISTRIBUTIONS[name])


def use_one_thread() -> None:
    """Keep torch, and FBGEMM with it, to the calling thread."""
    import torch

    torch.set_num_threads(1)


def lookup(peer: str, name: str, table: Floats, draw: IndexSampler) -> Candidate:
    """Sum pooling of fp32 rows: torch's `embedding_bag`, or FBGEMM's inference TBE.

    Parameters
    ----------
    peer : {"torch", "fbgemm"}
        Which.
    name : str
        The candidate's.
    table : float32 [V, D]
        Read where it lies.
    draw : IndexSampler
        int32 indices and offsets, which both take as they are.
    """
    import torch

    weight = torch.from_numpy(table)
    if peer == "fbgemm":
        work = _inference_tbe(weight)
    else:

        def work(inputs: "tuple[Tensor, Tensor]") -> object:
            return torch.embedding_bag(weight, *inputs, False, _SUM, False, None, True)

    return Candidate(name, _tensors(draw), {"lookup": work})


def _tensors(draw: IndexSampler) -> "Callable[[np.random.Generator], tuple[Tensor, Tensor]]":
    import torch

    def prepare(rng: np.random.Generator) -> "tuple[Tensor, Tensor]":
        bags = draw(rng)
        return torch.from_numpy(bags.indices), torch.from_numpy(bags.offsets)

    return prepare


def _inference_tbe(weight: "Tensor") -> "Callable[[tuple[Tensor, Tensor]], object]":
    fbgemm.load()
    import torch
    from fbgemm_gpu import split_table_batched_embeddings_ops_inference as inference

    module = inference.IntNBitTableBatchedEmbeddingBagsCodegen(
        [("table", *weight.shape, inference.SparseType.FP32, inference.EmbeddingLocation.HOST)],
        device="cpu",
        output_dtype=inference.SparseType.FP32,
        bounds_check_mode=inference.BoundsCheckMode.NONE,  # the operator has its own
    )
    # Without `initialize_weights` it has allocated nothing; the table takes that place.
    module.weights_host = weight.view(-1).view(torch.uint8)
    module.weights_physical_offsets = [0]
    module.initialize_logical_weights_placements_and_offsets()
    operators: Any = torch.ops.fbgemm
    operator = operators.int_nbit_split_embedding_codegen_lookup_function.default
    # In the order of the operator's schema.
    before = (
        module.weights_host,
        module.weights_uvm,
        module.weights_placements,
        module.weights_offsets,
        module.weights_tys,
        module.D_offsets,
        module.total_D,
        module.max_int2_D,
        module.max_int4_D,
        module.max_int8_D,
        module.max_float16_D,
        module.max_float32_D,
    )
    after = (_SUM, None, _FP32, None, None, module.row_alignment)
    return lambda inputs: operator(*before, *inputs, *after)


def trained(peer: str, table: Floats) -> Mapping[str, Stage]:
    """Full-precision training of a table in place: its forward and backward stages.

    Torch has no row-wise Adagrad: its users take a sparse `EmbeddingBag` and the element-wise one,
    whose state is as large as the table. FBGEMM's training TBE has exact row-wise Adagrad.
    """
    import torch

    make = _torch_update if peer == "torch" else _fbgemm_update
    forward, backward = make(torch.from_numpy(table))
    return {"forward": forward, "backward": backward}


def update(name: str, stages: Mapping[str, Stage], dim: int, draw: IndexSampler) -> Candidate:
    """Train with what `trained` gave, on bags that `draw` draws and gradients [B, dim]."""
    import torch

    tensors = _tensors(draw)

    def prepare(rng: np.random.Generator) -> "tuple[Tensor, Tensor, Tensor]":
        grad = rng.standard_normal((draw.bags, dim), dtype=np.float32)
        return *tensors(rng), torch.from_numpy(grad * np.float32(1e-3))

    return Candidate(name, prepare, stages)


def _torch_update(weight: "Tensor") -> tuple[Stage, Stage]:
    import torch
    from torch.optim.adagrad import Adagrad, adagrad

    parameter = torch.nn.Parameter(weight)
    state = Adagrad([parameter]).state[parameter]
    # They are off unless asked for; without a word on it torch warns at the first step.
    invariants: Any = torch.sparse.check_sparse_tensor_invariants
    invariants.disable()
    outputs: list[Tensor] = []

    def forward(inputs: "tuple[Tensor, Tensor, Tensor]") -> None:
        indices, offsets, _ = inputs
        outputs[:] = torch.embedding_bag(
            parameter, indices, offsets, False, _SUM, True, None, True
        )[:1]

    def backward(inputs: "tuple[Tensor, Tensor, Tensor]") -> None:
        torch.autograd.backward(outputs.pop(), inputs[2])
        assert parameter.grad is not None
        with torch.no_grad():
            adagrad(
                [parameter],
                [parameter.grad],
                [state["sum"]],
                [state["step"]],
                has_sparse_grad=True,
                foreach=False,
                lr=_LEARNING_RATE,
                weight_decay=0.0,
                lr_decay=0.0,
                eps=_EPSILON,
                maximize=False,
            )
        parameter.grad = None

    return forward, backward


def _fbgemm_update(weight: "Tensor") -> tuple[Stage, Stage]:
    rows, dim = weight.shape
    optimizer = fbgemm.RowwiseAdagrad(
        weight.view(-1), (rows,), dim, learning_rate=_LEARNING_RATE, epsilon=_EPSILON
    )

    def forward(inputs: "tuple[Tensor, Tensor, Tensor]") -> None:
        optimizer.forward(*inputs[:2])

    def backward(inputs: "tuple[Tensor, Tensor, Tensor]") -> None:
        optimizer.backward(*inputs)

    return forward, backward


def torch_top_rows(name: str, prepare: Prepare, k: int) -> Candidate:
    """Norms of all rows, then `topk`."""
    import torch

    def work(x: Floats) -> object:
        return torch.topk(torch.linalg.vector_norm(torch.from_numpy(x), dim=1), k)

    return Candidate(name, prepare, {"find": work})


def torch_gram(name: str, prepare: Prepare, dim: int) -> Candidate:
    """Add the full matrix product ``x.T @ x``, both triangles, to what is there."""
    import torch

    sums = torch.zeros((dim, dim))

    def work(x: Floats) -> object:
        samples = torch.from_numpy(x[:, 0])
        return sums.addmm_(samples.T, samples)

    return Candidate(name, prepare, {"add": work})
