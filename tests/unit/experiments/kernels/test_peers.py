"""The peers of `lorabench kernels`: what they work on."""

import numpy as np
import pytest

from lorabench.experiments.kernels import peers
from lorabench.experiments.kernels.ours import IndexSampler


@pytest.mark.parametrize("peer", ["torch", "fbgemm"])
@pytest.mark.parametrize("dim", [16, 64])
def test_peers_read_and_train_the_very_memory_that_they_are_given(peer: str, dim: int) -> None:
    if (why := peers.unavailable(peer)) is not None:
        pytest.skip(f"{peer}: {why}")
    rng = np.random.default_rng(0)
    table = rng.standard_normal((1000, dim), dtype=np.float32)
    draw = IndexSampler(len(table), 32, 5, "uniform")
    looked_up = peers.lookup(peer, peer, table, draw)
    indices, offsets = looked_up.prepare(rng)
    for _ in range(2):
        found = looked_up.stages["lookup"]((indices, offsets))
        pooled = (found[0] if isinstance(found, tuple) else found).numpy()  # type: ignore[attr-defined]
        np.testing.assert_allclose(
            pooled, table[indices.numpy().reshape(32, 5)].sum(axis=1), rtol=1e-5, atol=1e-5
        )
        table += 1  # seen by the second look
    update = peers.update(peer, peers.trained(peer, table), dim, draw)
    before = table.copy()
    inputs = update.prepare(rng)
    for stage in update.stages.values():
        stage(inputs)
    changed = np.flatnonzero((table != before).any(axis=1))
    assert set(changed.tolist()) == set(inputs[0].numpy().tolist())
