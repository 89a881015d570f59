"""The DLRM of Naumov et al. 2019 (arXiv 1906.00091), without its embedding tables.

Class names are TorchRec's. The tables live in shared memory and are looked up by the kernels; what
is here turns dense features and looked-up embeddings into a click's logit: once as ordinary
modules, through which training differentiates, and once with buffers allocated beforehand, for the
server's loop. Feature order and parameter names follow the reference implementation, so that its
checkpoints serve the same predictions here.

Letters: B batch, F sparse features, D embedding dim.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Interaction = Literal["dot", "dot-itself", "cat"]
"""What the reference has as ``--arch-interaction-op`` and ``--arch-interaction-itself``."""


@dataclass(frozen=True)
class DlrmShape:
    """Sizes of a DLRM's dense net.

    Parameters
    ----------
    num_dense, num_sparse : int
        Dense features and F.
    dim : int
        D.
    bottom, top : tuple of int
        Hidden widths; the bottom MLP ends in D and the top MLP in 1.
    interaction : {"dot", "dot-itself", "cat"}
        Products of all pairs among the F + 1 vectors, of each with itself too, or the vectors side
        by side.
    """

    num_dense: int
    num_sparse: int
    dim: int
    bottom: tuple[int, ...]
    top: tuple[int, ...]
    interaction: Interaction = "dot"

    @property
    def interactions(self) -> int:
        """Width of what the interaction hands on: D, and a product for every pair or F D more."""
        vectors = self.num_sparse + 1
        if self.interaction == "cat":
            return vectors * self.dim
        pairs = vectors * (vectors - 1) // 2
        return self.dim + pairs + (vectors if self.interaction == "dot-itself" else 0)

    @property
    def hidden(self) -> int:
        """Width of the top MLP's last hidden layer; of the interactions where there is none."""
        return self.top_sizes[-2]

    @property
    def bottom_sizes(self) -> tuple[int, ...]:
        """Widths along the bottom MLP."""
        return (self.num_dense, *self.bottom, self.dim)

    @property
    def top_sizes(self) -> tuple[int, ...]:
        """Widths along the top MLP."""
        return (self.interactions, *self.top, 1)


def _linears(sizes: tuple[int, ...]) -> list[nn.Linear]:
    return [nn.Linear(width, following) for width, following in pairwise(sizes)]


class DenseArch(nn.Module):
    """Bottom MLP: dense features [B, num_dense] -> [B, D], ReLU after every layer."""

    def __init__(self, shape: DlrmShape) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_linears(shape.bottom_sizes))

    def forward(self, dense: Tensor) -> Tensor:
        """Embed the dense features."""
        for layer in self.layers:
            dense = torch.relu(layer(dense))
        return dense


class InteractionArch(nn.Module):
    """How the dense vector [B, D] and the embeddings [B, F, D] meet; gives [B, interactions].

    The dense vector, then the products of vector i with every vector j < i, in that order; with
    every vector j <= i where they meet themselves. Or all vectors side by side.
    """

    pairs: Tensor

    def __init__(self, shape: DlrmShape) -> None:
        super().__init__()
        vectors = shape.num_sparse + 1
        i, j = torch.tril_indices(
            vectors, vectors, offset=0 if shape.interaction == "dot-itself" else -1
        )
        self._cat = shape.interaction == "cat"
        self.register_buffer("pairs", i * vectors + j, persistent=False)

    def forward(self, dense: Tensor, embeddings: Tensor) -> Tensor:
        """Interact."""
        if self._cat:
            return torch.cat([dense, embeddings.flatten(1)], dim=1)
        vectors = torch.cat([dense.unsqueeze(1), embeddings], dim=1)
        products = torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1)
        return torch.cat([dense, products.index_select(1, self.pairs)], dim=1)


class OverArch(nn.Module):
    """Top MLP: [B, interactions] -> logits [B], ReLU between layers."""

    def __init__(self, shape: DlrmShape) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_linears(shape.top_sizes))

    def forward(self, interactions: Tensor) -> Tensor:
        """Score."""
        return self.score(self.represent(interactions))

    def represent(self, interactions: Tensor) -> Tensor:
        """Last hidden layer [B, H]; the interactions where there is none."""
        for layer in self.layers[:-1]:
            interactions = torch.relu(layer(interactions))
        return interactions

    def score(self, hidden: Tensor) -> Tensor:
        """Logits [B] of the last hidden layer."""
        logits: Tensor = self.layers[-1](hidden).squeeze(1)
        return logits


class DenseNet(nn.Module):
    """Everything of a DLRM but the tables.

    Parameters
    ----------
    shape : DlrmShape
        Sizes.

    Examples
    --------
    >>> net = DenseNet(DlrmShape(num_dense=13, num_sparse=26, dim=16, bottom=(64,), top=(32,)))
    >>> net(torch.zeros(5, 13), torch.zeros(5, 26, 16)).shape
    torch.Size([5])
    """

    def __init__(self, shape: DlrmShape) -> None:
        super().__init__()
        self.shape = shape
        self.dense_arch = DenseArch(shape)
        self.interaction = InteractionArch(shape)
        self.over_arch = OverArch(shape)

    def forward(self, dense: Tensor, embeddings: Tensor) -> Tensor:
        """Logits [B] of dense features [B, num_dense] and embeddings [B, F, D]."""
        return self.over_arch.score(self.represent(dense, embeddings))

    def represent(self, dense: Tensor, embeddings: Tensor) -> Tensor:
        """Last hidden layer [B, H] of the top MLP, as of `forward`."""
        hidden: Tensor = self.over_arch.represent(
            self.interaction(self.dense_arch(dense), embeddings)
        )
        return hidden

    def initialise(self, seed: int) -> None:
        """Draw weights as the reference does: normal, Xavier-like; biases N(0, 1/sqrt(fan out))."""
        generator = torch.Generator().manual_seed(seed)
        for layer in (*self.dense_arch.layers, *self.over_arch.layers):
            assert isinstance(layer, nn.Linear)
            fan_in, fan_out = layer.in_features, layer.out_features
            with torch.no_grad():
                layer.weight.normal_(0.0, (2.0 / (fan_in + fan_out)) ** 0.5, generator=generator)
                layer.bias.normal_(0.0, (1.0 / fan_out) ** 0.5, generator=generator)

    def freeze(self) -> "DenseNet":
        """Stop gradients at the weights; they still flow to the embeddings."""
        return self.requires_grad_(False).eval()


class InferenceNet:
    """A `DenseNet` for a serving loop: every buffer is allocated beforehand.

    Parameters
    ----------
    net : DenseNet
        Its weights are used, not copied.
    most : int
        Largest batch.

    Notes
    -----
    `dense` [most, num_dense] and `embeddings` [most, F, D] are where a batch is put.
    """

    def __init__(self, net: DenseNet, most: int) -> None:
        shape = net.shape
        self._net = net
        self._cat = shape.interaction == "cat"
        self._pairs = net.interaction.pairs
        count = shape.num_sparse + 1
        self.dense = torch.zeros(most, shape.num_dense)
        self.embeddings = torch.zeros(most, shape.num_sparse, shape.dim)
        self._interactions = torch.zeros(most, shape.interactions)
        if not self._cat:
            self._vectors = torch.zeros(most, count, shape.dim)
            self._products = torch.zeros(most, count, count)
            self._pooled = torch.zeros(most, len(self._pairs))
        self._bottom = [torch.zeros(most, width) for width in shape.bottom_sizes[1:]]
        self._top = [torch.zeros(most, width) for width in shape.top_sizes[1:]]
        self._bottom_weights = [(w.weight.t(), w.bias) for w in _linear_layers(net.dense_arch)]
        self._top_weights = [(w.weight.t(), w.bias) for w in _linear_layers(net.over_arch)]

    @torch.inference_mode()
    def __call__(self, n: int) -> NDArray[np.float32]:
        """Click probabilities [n] of the first `n` rows of the buffers; valid until the next call.

        Parameters
        ----------
        n : int
            Rows, 1 to `most`.
        """
        value = self.dense[:n]
        for (weight, bias), out in zip(self._bottom_weights, self._bottom, strict=True):
            value = torch.addmm(bias, value, weight, out=out[:n]).relu_()
        value = self._interact(value, n)
        for layer, ((weight, bias), out) in enumerate(
            zip(self._top_weights, self._top, strict=True), start=1
        ):
            value = torch.addmm(bias, value, weight, out=out[:n])
            if layer < len(self._top):
                value.relu_()
        return value.sigmoid_().view(-1).numpy()

    def _interact(self, dense: Tensor, n: int) -> Tensor:
        """Fill the interactions of `n` rows, as `InteractionArch` does."""
        interactions, width = self._interactions[:n], dense.shape[1]
        interactions[:, :width] = dense
        if self._cat:
            interactions[:, width:] = self.embeddings[:n].flatten(1)
            return interactions
        vectors = self._vectors[:n]
        vectors[:, 0] = dense
        vectors[:, 1:] = self.embeddings[:n]
        products = torch.bmm(vectors, vectors.transpose(1, 2), out=self._products[:n])
        interactions[:, width:] = torch.index_select(
            products.view(n, -1), 1, self._pairs, out=self._pooled[:n]
        )
        return interactions


def _linear_layers(arch: DenseArch | OverArch) -> list[nn.Linear]:
    return [layer for layer in arch.layers if isinstance(layer, nn.Linear)]
