"""A checkpoint whose tables were trained on other ids is told of, and a good one is not."""

from dataclasses import replace

import numpy as np
import pytest

from lorabench.model.doubts import doubts
from lorabench.model.prepare import prepare
from lorabench.workload.source import open_source


class Source:
    """Rows of a preset behind those that it pre-trains on, as somebody made them."""

    def __init__(self, change=lambda block: block, *, labelled: bool = True) -> None:
        self._source = open_source("tiny", None, 0)
        self._change = change
        self.labelled = labelled
        self.spec = self._source.spec

    def blocks(self, start: int = 0):
        return map(self._change, self._source.blocks(start))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield prepare(open_source("tiny", None, 0), None, 0, lambda _text, _done: None).model


def renumbered(block):
    """Each table's rows the other way round: the same ids under other numbers."""
    most = np.array([rows - 1 for rows in open_source("tiny", None, 0).spec.table_rows])
    return replace(block, sparse=(most - block.sparse).astype(np.int32))


def test_a_model_is_not_doubted_on_the_rows_that_it_was_trained_on(model) -> None:
    assert doubts(model, Source()) == ()


def test_the_same_ids_under_other_numbers_are_noticed(model) -> None:
    (told,) = doubts(model, Source(renumbered))
    assert told.startswith("these ids may not be the ones that the tables were trained on: on the")
    assert "normalized entropy is" in told


@pytest.mark.parametrize("labelled", [True, False])
def test_without_labels_of_both_kinds_it_says_that_it_cannot_tell(model, labelled) -> None:
    none = Source(lambda block: replace(block, label=np.zeros_like(block.label)), labelled=labelled)
    (told,) = doubts(model, none)
    assert told.endswith("whether the checkpoint was trained on such ids cannot be checked")
