"""The model on its way from the parent to its processes: memory by descriptor, weights by value."""

import torch

from lorabench.model.dlrm import DenseNet
from lorabench.model.tables import TableSet
from lorabench.targets.node.messages import ModelSetup


def model_setup(tables: TableSet, net: DenseNet) -> ModelSetup:
    """Return what the processes are told; the net's weights are small enough to be copied."""
    weights = {name: value.numpy() for name, value in net.state_dict().items()}
    return ModelSetup(tables.handle, net.shape, weights)


def dense_net(setup: ModelSetup) -> DenseNet:
    """Make a process's own dense net."""
    net = DenseNet(setup.shape)
    net.load_state_dict({name: torch.from_numpy(value) for name, value in setup.weights.items()})
    return net
