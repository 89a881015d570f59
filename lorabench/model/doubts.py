"""Whether a given model fits the rows that it is to serve: it should predict their labels.

Ids that were numbered in another way than the tables' rows were point at other rows, and nothing
else shows it: shapes agree, and predictions are probabilities. So the first labelled rows are
scored, by the model as it is and with its tables zeroed. One that does no better than the mean of
the labels, or better without its tables, was probably not trained on such ids. Nor was one that
predicts as well by the ids of other rows: where wrong numbers lead to rows that were hardly
trained, it knows less but is not misled (permutation importance, Breiman 2001, "Random Forests").
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy

from lorabench.model.dlrm import InferenceNet
from lorabench.model.full import TrainedModel
from lorabench.workload.block import Block, dense_features
from lorabench.workload.source import RowSource

SCORED_ROWS = 16_384
_BATCH = 1024
# Fewer rows than that may not show by chance what ids tell.
_LEAST_SHUFFLED = 1024
# So many standard errors, by which a model that was trained on such ids is far above.
_SURE = 3.0


def doubts(model: TrainedModel, source: RowSource) -> tuple[str, ...]:
    """Return what speaks against the model having been trained on such ids, a sentence each.

    Parameters
    ----------
    model : TrainedModel
        As it is served.
    source : RowSource
        At most its first `SCORED_ROWS` rows, and what ends their block, are read.
    """
    rows = _first(source)
    first = f"the first {len(rows):,} rows"
    if not source.labelled or rows.label.min() == rows.label.max():
        none = f"all labels of {first} are alike" if source.labelled else "there are no labels"
        return (f"{none}: whether the checkpoint was trained on such ids cannot be checked",)
    dense = dense_features(rows.dense, source.spec.dense)
    losses = _losses(rows, _scores(model, rows.sparse, dense))
    best = float(_losses(rows, np.full(len(rows), rows.label.mean(), np.float32)).mean())
    entropy = float(losses.mean()) / best
    without = float(_losses(rows, _scores(model, None, dense)).mean()) / best
    if entropy > 1:
        why = "so that predicting their mean is better"
    elif entropy > without:
        why = f"and with its tables zeroed {without:.3f}, which is better"
    elif len(rows) >= _LEAST_SHUFFLED and not _better_than_shuffled(model, rows, dense, losses):
        why = "and no worse when the ids of each column are dealt out to other rows"
    else:
        return ()
    return (
        f"these ids may not be the ones that the tables were trained on: on {first} the "
        f"checkpoint's normalized entropy is {entropy:.3f}, {why}",
    )


def _better_than_shuffled(
    model: TrainedModel,
    rows: Block,
    dense: NDArray[np.float32],
    losses: NDArray[np.float64],
) -> bool:
    """Whether ids tell the model anything: it predicts better by a row's own than by another's."""
    rng = np.random.default_rng(0)
    shuffled = rng.permuted(rows.sparse, axis=0)
    gain = _losses(rows, _scores(model, shuffled, dense)) - losses
    return bool(gain.mean() > _SURE * gain.std(ddof=1) / np.sqrt(len(rows)))


def _first(source: RowSource) -> Block:
    found: list[Block] = []
    count = 0
    for block in source.blocks():
        found.append(block)
        count += len(block)
        if count >= SCORED_ROWS:
            break
    return Block.concat(found).slice(0, SCORED_ROWS).by_row()


def _scores(
    model: TrainedModel, sparse: NDArray[np.int32] | None, dense: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return click probabilities [N] of ids [N, C] and features; None zeroes the tables."""
    net = InferenceNet(model.net, _BATCH)
    features, embeddings = net.dense.numpy(), net.embeddings.numpy()
    found = np.empty(len(dense), np.float32)
    for begin in range(0, len(dense), _BATCH):
        part = slice(begin, begin + _BATCH)
        count = len(dense[part])
        features[:count] = dense[part]
        if sparse is not None:
            model.tables.kernels.lookup(sparse[part], embeddings[:count])
        found[part] = net(count)
    return found


def _losses(rows: Block, scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the log loss of each row's click probability, [N]."""
    labels = torch.from_numpy(rows.label.astype(np.float64))
    found = binary_cross_entropy(torch.from_numpy(scores).double(), labels, reduction="none")
    losses: NDArray[np.float64] = found.numpy()
    return losses
