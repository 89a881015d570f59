"""How an adapter's budget is spent."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.errors import InputError
from lorabench.lora.layout import plan_adapter
from lorabench.lora.writer import Adapter, AdapterOwner, attach_reader
from lorabench.model.tables import TableLayout, TableSet


@given(
    st.lists(st.integers(1, 3_000_000), min_size=1, max_size=30),
    st.sampled_from([8, 16, 64, 128]),
    st.integers(1, 8),
    st.floats(0.001, 0.1),
)
def test_a_plan_stays_within_its_budget_and_uses_it(rows, dim, rank, budget) -> None:
    layout = TableLayout(tuple(rows), dim)
    try:
        plan = plan_adapter(layout, rank, 4, budget)
    except InputError:
        return
    assert plan.total_bytes <= budget * layout.table_bytes
    assert plan.fraction <= budget
    assert sum(plan.breakdown.values()) == plan.total_bytes
    assert all(0 <= s <= v for s, v in zip(plan.slots, rows, strict=True))
    # Every adapted table has as many slots as any other, or is adapted whole.
    level = max(plan.slots)
    assert all(s in (0, level, v) for s, v in zip(plan.slots, rows, strict=True))
    if level < max(rows):
        more = tuple(min(v, level + 1) if s else 0 for s, v in zip(plan.slots, rows, strict=True))
        grown = replace(plan, slots=more)
        assert not replace(grown, room_bytes=grown.shared_bytes).fits


def test_a_table_too_small_for_its_own_statistics_is_left_out_and_named() -> None:
    plan = plan_adapter(TableLayout((3, 1_000_000), 16), 4, 1, 0.02)
    assert plan.not_adapted == (0,)
    assert plan.slots[0] == 0


def test_about_as_many_rows_are_adapted_as_the_method_promises() -> None:
    for dim, rank, low, high in ((16, 8, 0.007, 0.02), (64, 8, 0.03, 0.06), (128, 4, 0.06, 0.20)):
        layout = TableLayout((1_000_000,) * 4, dim)
        share = sum(plan_adapter(layout, rank, 1, 0.02).slots) / sum(layout.rows)
        assert low < share < high, (dim, share)


@pytest.mark.parametrize("rank", [0, 17, -1])
def test_a_rank_out_of_range_is_refused(rank: int) -> None:
    with pytest.raises(InputError, match=f"--rank: found {rank}, expected auto or 1 to 16"):
        plan_adapter(TableLayout((1000,), 16), rank, 1, 0.02)


def test_a_budget_that_buys_nothing_is_refused_with_both_numbers() -> None:
    with pytest.raises(InputError, match=r"too small: found 2\.00% of 6,400 table bytes"):
        plan_adapter(TableLayout((100,), 16), 4, 1, 0.02)


def test_servers_see_through_their_own_mapping_what_the_trainer_published() -> None:
    layout = TableLayout((4000, 5000), 8)
    tables = TableSet.create(layout)
    rng = np.random.default_rng(0)
    tables.initialise(rng)
    adapter = Adapter(plan_adapter(layout, 2, 2, 0.5))
    state = AdapterOwner(adapter.handle)
    readers = [attach_reader(adapter.handle, server) for server in range(2)]
    indices = np.array([[7, 9], [7, 11]], np.int32)
    out = np.zeros((2, 2, 8), np.float32)
    basis = np.linalg.qr(rng.normal(size=(2, 8, 2)))[0].transpose(0, 2, 1).astype(np.float32)
    state.writer.begin()
    state.writer.set_basis(np.ascontiguousarray(basis))
    grad = rng.normal(size=(2, 2, 8)).astype(np.float32)
    start = state.medians()
    for _ in range(2):  # a row that is met once has not earned its slot
        state.writer.learn(
            tables.kernels, indices, grad, learning_rate=0.1, epsilon=0.0, initial_accumulator=start
        )
    state.writer.publish()
    for reader in readers:
        assert reader.lookup(tables.kernels, indices, out) == 1
        for f in range(2):
            A, B, rows = state.writer.arrays(f)
            slot = {int(row): i for i, row in enumerate(rows)}
            for b in range(2):
                row = int(indices[b, f])
                by_hand = tables.arrays[f][row] + A[slot[row]] @ B
                np.testing.assert_allclose(out[b, f], by_hand, rtol=1e-5, atol=1e-6)
    assert state.medians().shape == (2,)
    assert (state.medians() > 0).all()
    state.reset()
    assert readers[0].lookup(tables.kernels, indices, out) == 0
    np.testing.assert_array_equal(out[0, 0], tables.arrays[0][7])


def test_tables_larger_than_memory_are_refused_with_both_numbers() -> None:
    with pytest.raises(InputError, match=r"found [\d.]+ GiB available, expected at least [\d.]+"):
        TableSet.create(TableLayout((2**31 - 2,) * 40, 128))
