"""The brief pre-training that a run starts from: the whole DLRM, one pass over the first rows.

Nothing here runs beside a server. The dense net is trained with Adam and the tables with row-wise
Adagrad, in place in their shared memory.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lorabench.model.dlrm import DenseNet
from lorabench.model.full import FullTrainer
from lorabench.model.tables import TableSet

# Bumped when the procedure changes, since pre-trained models are cached by what made them.
VERSION = 3

_LARGEST_BATCH = 1024
_STEPS_WANTED = 200


def pretrain(
    tables: TableSet,
    net: DenseNet,
    dense: NDArray[np.float32],
    sparse: NDArray[np.int32],
    labels: NDArray[np.int8],
    *,
    progress: Callable[[float], None] = lambda _done: None,
) -> list[NDArray[np.float32]]:
    """Train tables and net in place, one pass in stream order.

    Parameters
    ----------
    tables, net
        Initialised; trained when this returns.
    dense : float32 [N, num_dense]
    sparse : int32 [N, C]
    labels : int8 [N]
    progress : callable
        Told the share of the rows that is done.

    Returns
    -------
    list of float32 [V_f]
        The tables' Adagrad accumulators, with which `FullTrainer` goes on.
    """
    rows = len(labels)
    batch = max(32, min(_LARGEST_BATCH, rows // _STEPS_WANTED))
    trainer = FullTrainer(tables, net)
    for begin in range(0, rows, batch):
        end = min(begin + batch, rows)
        trainer.step(dense[begin:end], sparse[begin:end], labels[begin:end])
        progress(end / rows)
    assert trainer.accumulators is not None
    return trainer.accumulators
