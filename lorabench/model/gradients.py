"""Gradients by looked-up embeddings at parameters that stay where they are."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from lorabench.model.dlrm import DenseNet


def embedding_gradients(
    net: DenseNet,
    dense: NDArray[np.float32],
    embeddings: NDArray[np.float32],
    labels: NDArray[np.int8],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Forward and backward pass, down to the embeddings and nowhere else.

    Parameters
    ----------
    net : DenseNet
        Neither moved nor given gradients.
    dense : float32 [B, num_dense]
    embeddings : float32 [B, F, D]
        Rows as the tables, or tables and adapter, give them.
    labels : int8 [B]

    Returns
    -------
    logits : float32 [B]
    grad : float32 [B, F, D]
        Of the batch's summed log loss: one sample's gradient a row, whatever the batch.
    """
    leaf = torch.from_numpy(embeddings).requires_grad_()
    logits = net(torch.from_numpy(dense), leaf)
    target = torch.from_numpy(labels.astype(np.float32))
    loss = functional.binary_cross_entropy_with_logits(logits, target, reduction="sum")
    (grad,) = torch.autograd.grad(loss, leaf)
    return logits.detach().numpy(), grad.contiguous().numpy()
