"""What every verdict asks first: whether there was anything to learn."""

import pytest

from lorabench.results.learnable import LabelCount, Learned
from lorabench.results.statistics import Estimate

BOTH = LabelCount(100, 20)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (BOTH, None),
        (LabelCount(0, 0), None),
        (LabelCount(1200, 0), "all 1,200 labels were negative"),
        (LabelCount(1200, 1200), "all 1,200 labels were positive"),
        (LabelCount(1200, 30, known=False), "the rows have no labels"),
    ],
)
def test_labels_that_are_all_alike_teach_nothing(labels, expected) -> None:
    found = labels.obstacle
    assert (found is None) if expected is None else found.startswith(expected)


def test_each_window_takes_both_labels_and_a_loss_below_that_of_their_mean() -> None:
    good = Learned(BOTH, 0, 8, Estimate(0.93, (0.9, 0.96), 8))
    assert (good.impossible, good.doubt) == (None, None)
    assert "of 2 of 8 windows were all alike" in (Learned(BOTH, 2, 8).impossible or "")
    noise = Learned(BOTH, 0, 8, Estimate(1.02, (1.0, 1.04), 8))
    assert "normalized entropy 1.020" in (noise.doubt or "")
