"""The error memory against every error that it was ever told of, kept as it came."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategy_contract import BUDGET, Rows

from lorabench.errors import InputError
from lorabench.lora.learner import WINDOW
from lorabench.model.full import TrainedModel
from lorabench.model.tables import TableLayout
from lorabench.strategies import memory
from lorabench.strategies.deployment import Deployment
from lorabench.strategies.memory import HiddenKeys, IdKeys, Sketch, hidden_arrays, id_buckets
from lorabench.strategies.registry import parse


@given(
    st.integers(0, 2**16),
    st.lists(st.tuples(st.integers(1, 6), st.floats(1e-4, 1.0)), min_size=1, max_size=12),
    st.integers(1, 3),
)
def test_a_sketch_is_what_all_errors_add_up_to_each_faded(seed, batches, arrays) -> None:
    rng = np.random.default_rng(seed)
    sketch = Sketch(arrays * 4)
    told: list[list] = []  # [keys, error, weight, how much of it is left]
    for size, kept in batches:
        keys = rng.integers(0, 4, (size, arrays)) + 4 * np.arange(arrays)
        errors = rng.standard_normal(size).astype(np.float32)
        weights = rng.random(size).astype(np.float32)
        for one in told:
            one[3] *= kept
        told += [[*one, 1.0] for one in zip(keys, errors, weights, strict=True)]
        sketch.fade(kept)
        sketch.add(keys, errors, weights)
    left = np.array([one[3] for one in told])
    error, weight = left * [one[1] for one in told], left * [one[2] for one in told]
    mean = error.sum() / (weight.sum() + memory._PRIOR)
    assert sketch.mean == pytest.approx(mean, rel=1e-3, abs=1e-5)
    buckets = np.arange(4 * arrays).reshape(arrays, 4)
    there = np.array([np.isin(buckets, one[0]) for one in told])
    e, v = np.tensordot(error, there, 1), np.tensordot(weight, there, 1)
    expected = (e - mean * v) / (v + memory._PRIOR)
    np.testing.assert_allclose(sketch.excess(buckets), expected, rtol=1e-3, atol=1e-5)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=6), st.integers(0, 6000), st.booleans())
def test_buckets_fill_the_budget_and_every_row_has_one_of_its_own_table(rows, budget, bags) -> None:
    if budget < 8 * len(rows):
        with pytest.raises(InputError, match=f"found {budget:,} bytes, expected at least"):
            id_buckets(rows, budget)
        return
    buckets = id_buckets(rows, budget)
    assert 8 * sum(buckets) <= budget
    short = [f for f, count in enumerate(rows) if buckets[f] < count]
    assert not short or 8 * (sum(buckets) + len(short)) > budget
    hotness = (2,) * len(rows) if bags else ()
    keys = IdKeys(TableLayout(tuple(rows), 4, hotness), buckets)
    columns = np.repeat(np.arange(len(rows)), hotness or 1)
    sparse = np.stack([np.arange(300) % rows[f] for f in columns], axis=1).astype(np.int32)
    found = keys(sparse)
    starts = np.cumsum([0, *buckets])
    for column, f in enumerate(columns):
        inside = found[:, column] - starts[f]
        assert (inside >= 0).all()
        assert (inside < buckets[f]).all()
        if f not in short:
            np.testing.assert_array_equal(inside, sparse[:, column])
    assert keys.share.sum() == pytest.approx(len(rows))


def test_hidden_layers_meet_in_more_arrays_the_more_alike_they_are() -> None:
    rng = np.random.default_rng(0)
    keys = HiddenKeys(32, 16, seed=0)
    one = rng.standard_normal((200, 32)).astype(np.float32)
    keys.center(one + 3)
    met = [
        (
            keys(one + 3) == keys(one + 3 + far * rng.standard_normal(one.shape).astype(np.float32))
        ).mean()
        for far in (0, 0.1, 0.5, 5)
    ]
    assert met[0] == 1.0
    assert met == sorted(met, reverse=True)
    assert met[-1] < 0.1


def test_what_it_holds_is_within_the_budget_with_and_without_the_hidden_layer() -> None:
    rows = Rows(())
    size = rows.tables.layout.table_bytes
    model = TrainedModel(rows.tables, rows.net)
    for budget in (BUDGET, 0.01):
        strategy = parse("memory").make(Deployment(model, budget))
        held = strategy.peak_bytes
        assert sum(held.values()) <= budget * size
        assert ("hidden" in held) == (hidden_arrays(16, int(budget * size)) > 0) == (budget > 0.1)
        strategy.learn(rows.dense, rows.sparse, rows.labels)
    spec = parse("memory")
    with pytest.raises(InputError, match="the error memory's budget is too small: found 6 bytes"):
        spec.kind.check(spec, rows.tables.layout, 8 / size)


def test_its_rate_is_how_strongly_it_compensates_and_its_decay_how_soon_it_forgets() -> None:
    rows = Rows(())
    base = rows.predict(rows.make(parse("none")))
    moved = []
    for rate in (0.5, 1.0):
        strategy = rows.make(parse("memory", rate))
        rows.learn(strategy)
        moved.append(rows.predict(strategy) - base)
        np.testing.assert_array_equal(rows.predict(strategy) - base, moved[-1])  # reads only
    np.testing.assert_allclose(2 * moved[0], moved[1], rtol=1e-3, atol=1e-4)
    strategy = rows.make(parse("memory"))
    rows.learn(strategy, WINDOW // len(rows.dense))
    sums = strategy._ids._sums.sum(axis=1) / strategy._ids._scale
    clicks = 1 / (1 + np.exp(-base.astype(np.float64)))
    ever = 2 * WINDOW * (clicks * (1 - clicks)).mean()  # in both tables
    left = (1 - strategy.default_decay) / -np.log(strategy.default_decay)
    assert sums[1] == pytest.approx(ever * left, rel=0.02)


def test_rows_are_compensated_towards_the_labels_of_those_alike() -> None:
    rows = Rows(())
    strategy = rows.make(parse("memory"))
    base = rows.predict(rows.make(parse("none")))
    rows.learn(strategy)
    correction = rows.predict(strategy) - base
    even = rows.sparse[:, 0] % 2 == 0
    assert correction[even].mean() < -0.2 < 0.2 < correction[~even].mean()
