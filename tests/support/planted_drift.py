"""Gradients of a whole DLRM whose served tables lag behind a truth that drifted in k directions."""

import numpy as np
import torch
from numpy.typing import NDArray

from lorabench.model.dlrm import DenseNet, DlrmShape
from lorabench.model.gradients import embedding_gradients


def lagging_gradients(
    rank: int, *, dim: int, samples: int, seed: int, features: int = 4, rows: int = 300
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Rows [N, F] and gradients [N, F, D]; only table 0 drifted, in `rank` directions."""
    rng = np.random.default_rng(seed)
    net = DenseNet(DlrmShape(4, features, dim, (32,), (64, 32)))
    net.initialise(seed)
    net.freeze()
    served = (0.5 * rng.standard_normal((features, rows, dim))).astype(np.float32)
    truth = served.copy()
    if rank:
        directions, _ = np.linalg.qr(rng.standard_normal((dim, rank)))
        # Of the size of the rows themselves the net would bend: its mean gradient would leave the
        # directions of the drift.
        drift = 0.6 * rng.standard_normal((rows, rank)) @ directions.T
        truth[0] += drift.astype(np.float32)
    popularity = np.arange(1, rows + 1) ** -1.05
    popularity /= popularity.sum()
    drawn = rng.choice(rows, (samples, features), p=popularity).astype(np.int32)
    dense = rng.standard_normal((samples, 4)).astype(np.float32)
    every = np.arange(features)
    with torch.no_grad():
        last = net.over_arch.layers[-1]
        still = net(torch.from_numpy(dense), torch.from_numpy(served[every, drawn]))
        last.weight.mul_(2.0 / still.std())  # a net that tells rows apart, as a trained one does
        last.bias.zero_()
        logits = net(torch.from_numpy(dense), torch.from_numpy(truth[every, drawn])).numpy()
    labels = (rng.random(samples) < 1 / (1 + np.exp(-logits))).astype(np.int8)
    _, grad = embedding_gradients(net, dense, served[every, drawn], labels)
    return drawn, grad
