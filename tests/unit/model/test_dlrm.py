"""The dense net against a plain reading of the paper, and its two forms against each other."""

import doctest

import numpy as np
import pytest
import torch

from lorabench.model import dlrm
from lorabench.model.dlrm import DenseNet, DlrmShape, InferenceNet

SHAPES = [
    DlrmShape(num_dense=13, num_sparse=26, dim=16, bottom=(64, 32), top=(64, 32)),
    DlrmShape(num_dense=1, num_sparse=1, dim=3, bottom=(), top=()),
    DlrmShape(num_dense=4, num_sparse=3, dim=7, bottom=(5,), top=(9,)),
    DlrmShape(num_dense=4, num_sparse=3, dim=7, bottom=(5,), top=(9,), interaction="dot-itself"),
    DlrmShape(num_dense=4, num_sparse=3, dim=7, bottom=(5,), top=(9,), interaction="cat"),
]


def by_hand(net: DenseNet, dense: np.ndarray, embeddings: np.ndarray) -> list[float]:
    """Logits one sample at a time, in float64, pair by pair as the reference orders them."""
    logits = []
    for features, vectors in zip(
        dense.astype(np.float64), embeddings.astype(np.float64), strict=True
    ):
        x = features
        for layer in net.dense_arch.layers:
            x = np.maximum(layer.weight.detach().numpy() @ x + layer.bias.detach().numpy(), 0)
        every = [x, *vectors]
        itself = net.shape.interaction == "dot-itself"
        pairs = [every[i] @ every[j] for i in range(len(every)) for j in range(i + itself)]
        z = np.concatenate(every if net.shape.interaction == "cat" else [x, pairs])
        layers = list(net.over_arch.layers)
        for layer in layers:
            z = layer.weight.detach().numpy() @ z + layer.bias.detach().numpy()
            if layer is not layers[-1]:
                z = np.maximum(z, 0)
        logits.append(float(z[0]))
    return logits


def example(shape: DlrmShape, rows: int) -> tuple[DenseNet, np.ndarray, np.ndarray]:
    net = DenseNet(shape)
    net.initialise(7)
    rng = np.random.default_rng(1)
    dense = rng.normal(size=(rows, shape.num_dense)).astype(np.float32)
    embeddings = rng.normal(size=(rows, shape.num_sparse, shape.dim)).astype(np.float32)
    return net, dense, embeddings


@pytest.mark.parametrize("shape", SHAPES)
def test_logits_are_those_of_the_paper_computed_by_hand(shape: DlrmShape) -> None:
    net, dense, embeddings = example(shape, 6)
    logits = net(torch.from_numpy(dense), torch.from_numpy(embeddings)).detach().numpy()
    np.testing.assert_allclose(logits, by_hand(net, dense, embeddings), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_serving_form_predicts_what_the_training_form_does(shape: DlrmShape) -> None:
    net, dense, embeddings = example(shape, 12)
    serving = InferenceNet(net.freeze(), 12)
    for n in (12, 1, 5, 12):  # buffers are used again, so a longer batch must leave no trace
        dense, embeddings = np.roll(dense, 1, axis=0), np.roll(embeddings, 1, axis=0)
        serving.dense.numpy()[:n] = dense[:n]
        serving.embeddings.numpy()[:n] = embeddings[:n]
        found = serving(n)
        logits = net(torch.from_numpy(dense[:n]), torch.from_numpy(embeddings[:n]))
        np.testing.assert_allclose(found, torch.sigmoid(logits).numpy(), rtol=1e-5, atol=1e-6)


def test_freezing_stops_gradients_at_the_weights_but_not_at_the_embeddings() -> None:
    net, dense, embeddings = example(SHAPES[0], 3)
    leaf = torch.from_numpy(embeddings).requires_grad_()
    net.freeze()(torch.from_numpy(dense), leaf).sum().backward()
    assert leaf.grad is not None
    assert bool((leaf.grad != 0).any())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_the_same_seed_gives_the_same_weights() -> None:
    (first, *_), (second, *_) = example(SHAPES[0], 1), example(SHAPES[0], 1)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_documented_example_runs() -> None:
    assert doctest.testmod(dlrm, extraglobs={"torch": torch}).failed == 0
