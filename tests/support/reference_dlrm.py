"""The reference DLRM's forward pass in plain torch modules, under the names of its checkpoints.

After Naumov et al. 2019: EmbeddingBags that sum, MLPs with ReLU, dot interaction, a sigmoid.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class ReferenceDlrm(nn.Module):
    """Tables of `counts` rows, and small MLPs."""

    def __init__(self, counts: Sequence[int], num_dense: int = 13, dim: int = 8) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.emb_l = nn.ModuleList(nn.EmbeddingBag(int(n), dim, mode="sum") for n in counts)
        for table in self.emb_l:
            nn.init.uniform_(table.weight, -0.3, 0.3)
        pairs = (len(counts) + 1) * len(counts) // 2
        self.bot_l = nn.Sequential(
            nn.Linear(num_dense, 16), nn.ReLU(), nn.Linear(16, dim), nn.ReLU()
        )
        self.top_l = nn.Sequential(
            nn.Linear(dim + pairs, 32), nn.ReLU(), nn.Linear(32, 1), nn.Sigmoid()
        )

    def forward(self, dense: Tensor, ids: Tensor) -> Tensor:
        """Click probabilities [B] of dense inputs [B, num_dense] and ids [B, F]."""
        x = self.bot_l(dense)
        ly = [table(ids[:, k : k + 1]) for k, table in enumerate(self.emb_l)]
        vectors = torch.stack([x, *ly], dim=1)
        z = torch.bmm(vectors, vectors.transpose(1, 2))
        places = [(i, j) for i in range(z.shape[1]) for j in range(i)]
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
