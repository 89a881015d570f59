"""FBGEMM's own training of full-precision tables on the CPU: what ours is held against.

Row-wise Adagrad by the operators of its table-batched embeddings (Mudigere et al. 2022), the lowest
that it offers, so that what its Python front end costs is not charged to it; it moves the memory
that it is given. FBGEMM is optional, and is imported, with torch, only when it is asked for.
"""

import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import metadata, util
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

DISTRIBUTION = "fbgemm-gpu-cpu"
INSTALL = "pip install --no-deps fbgemm-gpu-cpu==1.8.0 beside torch 2.13.0"

# PoolingMode.SUM and SparseType.FP32, as the operators take them.
SUM, FP32 = 0, 0


@cache
def unavailable() -> str | None:
    """Return in one line why FBGEMM cannot be used here; None if it can be."""
    if util.find_spec("fbgemm_gpu") is None:
        return f"{DISTRIBUTION} is not installed"
    # Looked at first: FBGEMM loads beside any torch, and with the wrong one it may crash.
    if reason := _mismatch():
        return reason
    try:
        load()
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        return f"it cannot be loaded: {' '.join(str(error).split())[:200]}"
    return None


def _mismatch() -> str | None:
    """Compare versions: FBGEMM 1.x goes with torch 2.(x + 5), for every release so far."""
    torch_version = metadata.version("torch")
    try:
        found = metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return None  # another build of it, which has to be tried
    major, minor = found.split(".")[:2]
    wanted = f"2.{int(minor) + 5}"
    if major == "1" and torch_version.split(".")[:2] != wanted.split("."):
        return f"{DISTRIBUTION} {found} goes with torch {wanted}, not with {torch_version}"
    return None


@cache
def load() -> None:
    """Import it; what its libraries print goes to stderr."""
    with _stdout_to_stderr():
        import fbgemm_gpu.split_table_batched_embeddings_ops_inference
        import fbgemm_gpu.split_table_batched_embeddings_ops_training  # noqa: F401


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    # By descriptor, since it is shared libraries that print when they are loaded.
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)
        os.dup2(kept, 1)
        os.close(kept)


class RowwiseAdagrad:
    """Sum pooling of F tables, and exact row-wise Adagrad in place by the gradient of that.

    Batches are of FBGEMM's layout: `indices` of one table after the other, `offsets` [F * B + 1],
    both int32 or both int64, not checked.

    Parameters
    ----------
    weights : float32 tensor [N]
        Memory of all tables; moved where it lies.
    rows : sequence of int
        V_f, rows of each table.
    dim : int
        D, a multiple of 4.
    offsets : sequence of int, optional
        Where in `weights` each table begins; one behind the other by default.
    learning_rate, epsilon : float
        A row with summed gradient g moves by ``-learning_rate * g / (sqrt(a) + epsilon)``.

    Attributes
    ----------
    accumulators : list of float32 [V_f]
        Each row's running sum of mean squared gradients, a: zero at first, and to be read and
        written between steps.
    """

    def __init__(
        self,
        weights: "Tensor",
        rows: Sequence[int],
        dim: int,
        *,
        offsets: Sequence[int] | None = None,
        learning_rate: float,
        epsilon: float,
    ) -> None:
        load()
        import torch
        from fbgemm_gpu import split_table_batched_embeddings_ops_training as training

        sums = np.zeros(sum(rows), np.float32)
        host, cpu = training.EmbeddingLocation.HOST, training.ComputeDevice.CPU
        module = training.SplitTableBatchedEmbeddingBagsCodegen(
            [(count, dim, host, cpu) for count in rows],
            optimizer=training.OptimType.EXACT_ROWWISE_ADAGRAD,
            learning_rate=learning_rate,
            eps=epsilon,
            device="cpu",
            bounds_check_mode=training.BoundsCheckMode.NONE,
            # It knows tables without gaps only; the operators are told where these begin.
            preallocated_host_buffers={
                "weights": weights[: len(sums) * dim],
                "momentum1": torch.from_numpy(sums),
            },
        )
        operators: Any = torch.ops.fbgemm
        self._pool = operators.split_embedding_codegen_forward_cpu.default
        self._step = operators.split_embedding_backward_codegen_rowwise_adagrad_cpu.default
        self._module = module
        self._weights = weights
        self._offsets = module.weights_offsets
        if offsets is not None:
            self._offsets = torch.tensor(offsets, dtype=torch.int64)
        self._epsilon = epsilon
        self._sums = module.momentum1_host.detach()
        self.accumulators: list[NDArray[np.float32]] = np.split(sums, np.cumsum(rows)[:-1])

    def forward(self, indices: "Tensor", offsets: "Tensor") -> "Tensor":
        """Return the sums of all bags, float32 [B, F * D]."""
        module = self._module
        pooled: Tensor = self._pool(
            self._weights,
            self._offsets,
            module.D_offsets,
            module.total_D,
            module.hash_size_cumsum,
            indices,
            offsets,
            SUM,
            None,
            FP32,
        )
        return pooled

    def backward(self, indices: "Tensor", offsets: "Tensor", grad: "Tensor") -> None:
        """Take a step by the gradient of the sums, float32 [B, F * D]."""
        module = self._module
        self._step(
            grad,
            self._weights,
            module.weights_placements,
            self._offsets,
            module.D_offsets,
            module.max_D,
            module.hash_size_cumsum,
            module.total_hash_size_bits,
            indices,
            offsets,
            SUM,
            None,
            False,
            self._sums,
            module.momentum1_placements,
            module.momentum1_offsets,
            module.learning_rate_tensor,
            self._epsilon,
        )
