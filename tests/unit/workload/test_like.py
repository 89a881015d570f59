"""The fit against the real sample's targets, against known laws, and on odd samples."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorabench.errors import InputError
from lorabench.workload.generator import generate_blocks
from lorabench.workload.like import Sample, fit_spec, sample_blocks, sample_criteo
from lorabench.workload.spec import WorkloadSpec, load_spec

BASE = load_spec("tiny")


def test_a_known_law_is_found_again() -> None:
    content = BASE.model_dump()
    content["sparse"].update(cardinality=(5000,) * 26, zipf=tuple(np.linspace(0.5, 1.5, 26)))
    truth = WorkloadSpec.model_validate(content)
    sample = sample_blocks(generate_blocks(truth, 1, rows=60_000))
    found = fit_spec(sample, BASE, "again")
    np.testing.assert_allclose(found.sparse.missing, truth.sparse.missing, atol=0.01)
    np.testing.assert_allclose(found.dense.missing, truth.dense.missing, atol=0.01)
    # Chao's bound is a lower one; steep laws hide their tail.
    ratio = np.array(found.sparse.cardinality) / 5000
    assert (ratio[:12] > 0.95).all()
    assert (ratio < 1.1).all()
    synthetic = sample_blocks(generate_blocks(found, 2, rows=60_000))
    for f in range(26):
        seen = len(sample.counts[f])
        assert len(synthetic.counts[f]) == pytest.approx(seen, rel=0.05)


VALUES = st.lists(st.integers(-(2**31) + 1, 2**31 - 1), max_size=20)


@settings(max_examples=15)
@given(st.lists(VALUES, min_size=1, max_size=4), st.data())
def test_odd_samples_give_specs_that_generate(dense: list[list[int]], data: st.DataObject) -> None:
    rows = 20
    counts = [
        -np.sort(-np.array(data.draw(st.lists(st.integers(1, 5), max_size=4)), np.int64))
        for _ in range(3)
    ]
    counts.append(np.ones(rows, np.int64))  # every id was seen once
    counts.append(np.array([rows], np.int64))  # a constant column
    sample = Sample(
        rows=rows,
        clicks=data.draw(st.sampled_from([0, 7, rows])),
        dense=[np.sort(np.array(dense[d % len(dense)], np.float32)) for d in range(13)],
        counts=[counts[f % len(counts)] for f in range(26)],
    )
    spec = fit_spec(sample, BASE, "odd")
    assert 0 < spec.labels.base_rate < 1
    block = next(generate_blocks(spec, 0, rows=100))
    assert (block.sparse < np.array(spec.table_rows)).all()
    for d in range(13):
        present = block.dense[:, d][~np.isnan(block.dense[:, d])]
        if len(present):
            assert sample.dense[d].min() <= present.min()
            assert present.max() <= sample.dense[d].max()


def test_the_base_must_have_criteos_columns(criteo_rows: Path) -> None:
    content = BASE.model_dump()
    content["dense"].update(count=1, missing=0.0, location=0.0, scale=1.0, quantiles=())
    sample = sample_criteo(criteo_rows)
    with pytest.raises(InputError, match="found 1 dense and 26 sparse features, expected 13"):
        fit_spec(sample, WorkloadSpec.model_validate(content), "x")
