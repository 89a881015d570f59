"""The reference DLRM's forward pass in plain torch modules, under the names of its checkpoints.

After Naumov et al. 2019: EmbeddingBags that sum, MLPs with ReLU, interaction by dot or side by
side, a sigmoid.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


def _mlp(sizes: Sequence[int], last: nn.Module) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width, following in pairwise(sizes):
        layers += [nn.Linear(width, following), nn.ReLU()]
    layers[-1] = last
    return nn.Sequential(*layers)


class ReferenceDlrm(nn.Module):
    """Tables of `counts` rows, and small MLPs.

    Parameters
    ----------
    counts : sequence of int
        Rows of each table.
    num_dense, dim : int
        Dense features, and D.
    bottom, top : sequence of int
        Hidden widths of the MLPs.
    op : {"dot", "cat"}
        ``--arch-interaction-op``.
    itself : bool
        ``--arch-interaction-itself``.
    weighted : bool
        ``--weighted-pooling=learned``.
    """

    def __init__(
        self,
        counts: Sequence[int],
        num_dense: int = 13,
        dim: int = 8,
        *,
        bottom: Sequence[int] = (16,),
        top: Sequence[int] = (32,),
        op: str = "dot",
        itself: bool = False,
        weighted: bool = False,
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self._cat, self._itself, vectors = op == "cat", itself, len(counts) + 1
        self.emb_l = nn.ModuleList(nn.EmbeddingBag(int(n), dim, mode="sum") for n in counts)
        for table in self.emb_l:
            nn.init.uniform_(table.weight, -0.3, 0.3)
        width = dim + vectors * (vectors - 1) // 2 + vectors * itself
        self.bot_l = _mlp([num_dense, *bottom, dim], nn.ReLU())
        self.top_l = _mlp([vectors * dim if self._cat else width, *top, 1], nn.Sigmoid())
        if weighted:
            self.v_W_l = nn.ParameterList(torch.rand(int(n)) + 0.5 for n in counts)

    def forward(self, dense: Tensor, ids: Tensor) -> Tensor:
        """Click probabilities [B] of dense inputs [B, num_dense] and ids [B, F]."""
        x = self.bot_l(dense)
        ly = []
        for k, table in enumerate(self.emb_l):
            bags = ids[:, k : k + 1]
            weights = self.v_W_l[k][bags] if hasattr(self, "v_W_l") else None
            ly.append(table(bags, per_sample_weights=weights))
        if self._cat:
            joined: Tensor = self.top_l(torch.cat([x, *ly], dim=1)).squeeze(1)
            return joined
        vectors = torch.stack([x, *ly], dim=1)
        z = torch.bmm(vectors, vectors.transpose(1, 2))
        places = [(i, j) for i in range(z.shape[1]) for j in range(i + self._itself)]
        li, lj = (torch.tensor(one) for one in zip(*places, strict=True))
        found: Tensor = self.top_l(torch.cat([x, z[:, li, lj]], dim=1)).squeeze(1)
        return found

    def train_on(
        self, dense: Tensor, ids: Tensor, label: NDArray[np.int32], epochs: int = 4
    ) -> None:
        """Learn rows by Adam, in order."""
        optimiser = torch.optim.Adam(self.parameters(), lr=0.01)
        truth = torch.from_numpy(label.astype(np.float32))
        for _ in range(epochs):
            for begin in range(0, len(dense), 256):
                part = slice(begin, begin + 256)
                optimiser.zero_grad()
                loss = nn.functional.binary_cross_entropy(self(dense[part], ids[part]), truth[part])
                loss.backward()
                optimiser.step()

    def predict(self, dense: Tensor, ids: Tensor) -> NDArray[np.float32]:
        """Click probabilities [N]."""
        with torch.no_grad():
            found: NDArray[np.float32] = self(dense, ids).numpy()
        return found

    def save(self, path: Path) -> Path:
        """Write a checkpoint as ``--save-model`` names things."""
        torch.save({"iter": 1, "epoch": 0, "state_dict": self.state_dict()}, path)
        return path
