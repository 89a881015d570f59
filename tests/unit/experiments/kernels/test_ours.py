"""What `lorabench kernels` draws."""

from dataclasses import replace

import numpy as np
import pytest

from lorabench.experiments.kernels.ours import IndexSampler, scatter


@pytest.mark.parametrize("rows", [1, 2, 1000, 524_288, 999_983])
def test_scattering_is_one_to_one(rows: int) -> None:
    rows_of = scatter(np.arange(rows), rows)
    assert len(np.unique(rows_of)) == rows
    assert rows_of.min() == 0
    assert rows_of.max() == rows - 1


@pytest.mark.parametrize("distribution", ["uniform", "zipf"])
def test_bags_are_in_range_and_all_of_one_size(distribution: str) -> None:
    bags = IndexSampler(rows=77, bags=13, pooling=5, distribution=distribution)(
        np.random.default_rng(0)
    )
    assert bags.indices.dtype == bags.offsets.dtype == np.int32
    np.testing.assert_array_equal(np.diff(bags.offsets), 5)
    assert bags.offsets[0] == 0
    assert bags.offsets[-1] == len(bags.indices)
    assert bags.indices.min() >= 0
    assert bags.indices.max() < 77


def test_a_hit_share_is_drawn_from_the_adapted_rows() -> None:
    rows, adapted = 10_000, 200
    draw = IndexSampler(rows, 2000, 10, "uniform", adapted, 0.05)
    hot = set(scatter(np.arange(adapted), rows).tolist())
    drawn = draw(np.random.default_rng(3)).indices
    share = np.mean([row in hot for row in drawn.tolist()])
    assert share == pytest.approx(0.05, abs=0.01)
    every = replace(draw, hit_share=1.0)(np.random.default_rng(3)).indices
    assert set(every.tolist()) <= hot
