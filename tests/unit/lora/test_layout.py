"""How an adapter's budget is spent."""

import math
import mmap
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench._kernels.adapter import PIN_BYTES
from lorabench.errors import InputError
from lorabench.lora.layout import AdapterPlan, plan_adapter
from lorabench.lora.writer import Adapter, AdapterOwner, attach_reader
from lorabench.model.tables import TableLayout, TableSet
from lorabench.workload.spec import load_spec

PAGE_BYTES = {"2m": 2 << 20, "4k": mmap.PAGESIZE}
LAYOUTS = st.builds(
    TableLayout,
    st.lists(st.integers(1, 3_000_000), min_size=1, max_size=30).map(tuple),
    st.sampled_from([8, 16, 64, 128]),
)


def rounded(size: int, to: int) -> int:
    return -(-size // to) * to


def mapped_bytes(plan: AdapterPlan) -> int:
    """What a plan takes in whole pages, and the trainer's own arrays."""
    sides = rounded(plan.shared_bytes, PAGE_BYTES[plan.pages])
    pins = rounded(plan.servers * PIN_BYTES, mmap.PAGESIZE)
    return sides + pins + plan.breakdown["slot_state"] + plan.breakdown["spectra"]


@given(LAYOUTS, st.integers(1, 8), st.floats(0.001, 0.1), st.integers(1, 64))
def test_a_plan_stays_within_its_budget_as_mapped_and_uses_it(
    layout, rank, budget, servers
) -> None:
    try:
        plan = plan_adapter(layout, rank, servers, budget)
    except InputError:
        return
    rows = layout.rows
    assert plan.fits
    assert plan.total_bytes == mapped_bytes(plan) <= budget * layout.table_bytes
    assert plan.fraction <= budget
    assert sum(plan.breakdown.values()) == plan.total_bytes
    assert all(0 <= s <= v for s, v in zip(plan.slots, rows, strict=True))
    # Every adapted table has as many slots as any other, or is adapted whole.
    with_slots = [f for f, rank in enumerate(plan.ranks) if rank]
    level = max(plan.slots[f] for f in with_slots)
    assert all(plan.slots[f] in (level, rows[f]) for f in with_slots)
    assert all(plan.slots[f] == rows[f] for f in plan.plain)
    if level < max(rows[f] for f in with_slots):
        more = tuple(
            min(v, level + 1) if r else s
            for s, r, v in zip(plan.slots, plan.ranks, rows, strict=True)
        )
        grown = replace(plan, slots=more)
        room = rounded(grown.shared_bytes, PAGE_BYTES[plan.pages])
        assert not replace(grown, room_bytes=room).fits


@given(LAYOUTS, st.floats(0.001, 1.0), st.data())
def test_no_later_layout_takes_more_pages_than_the_budget_has(layout, budget, data) -> None:
    try:
        plan = plan_adapter(layout, None, 4, budget)
    except InputError:
        return
    ranks = [rank and data.draw(st.integers(1, min(16, layout.dim))) for rank in plan.ranks]
    factor = data.draw(st.floats(0, 4))
    slots = [
        min(max(1, int(count * factor)), rows) if count else 0
        for count, rows in zip(plan.slots, layout.rows, strict=True)
    ]
    try:
        later = plan.with_ranks(ranks, slots)
    except ValueError:
        return
    assert (later.room_bytes, later.pages) == (plan.room_bytes, plan.pages)
    assert mapped_bytes(later) <= later.total_bytes <= budget * layout.table_bytes


@pytest.mark.parametrize("rank", [None, 1, 8, 16])
@pytest.mark.parametrize(("preset", "pages"), [("tiny", "4k"), ("demo", "2m")])
def test_presets_stay_under_two_percent_as_mapped(preset: str, pages: str, rank) -> None:
    spec = load_spec(preset)
    layout = TableLayout(spec.table_rows, spec.model.dim, spec.sparse.hotness)
    plan = plan_adapter(layout, rank, 2, 0.02)
    assert mapped_bytes(plan) / layout.table_bytes == plan.fraction < 0.02
    if rank is None:
        assert plan.pages == pages


def size_in_smaps(name: str) -> int:
    """Bytes of all of this process's mappings of a region."""
    smaps = Path("/proc/self/smaps").read_text()
    found = re.findall(rf"/memfd:lorabench-{name} \(deleted\)\nSize: +(\d+) kB", smaps)
    return 1024 * sum(map(int, found))


@pytest.mark.parametrize(("rows", "pages"), [(40_000, "4k"), (4_000_000, "2m")])
def test_what_the_kernel_maps_is_what_the_plan_counts(rows: int, pages: str) -> None:
    plan = plan_adapter(TableLayout((rows,), 16), 4, 3, 0.1)
    assert plan.pages == pages
    before = size_in_smaps("adapter"), size_in_smaps("pins")
    adapter = Adapter(plan)
    sides = size_in_smaps("adapter") - before[0]
    pins = size_in_smaps("pins") - before[1]
    assert (sides, pins) == (plan.breakdown["sides"], plan.breakdown["pins"])
    assert os.fstat(adapter.sides.fd).st_size == plan.room_bytes
    assert (adapter.sides.method != "4k") <= (pages == "2m")
    adapter.close()


def test_huge_pages_are_taken_until_rounding_to_them_costs_an_eighth_of_the_slots() -> None:
    def holds(plan: AdapterPlan, slots: int, pages: str) -> bool:
        other = replace(plan, slots=(slots,))
        room = rounded(other.shared_bytes, PAGE_BYTES[pages])
        return replace(other, room_bytes=room).fits

    chosen = set()
    for rows in range(100_000, 6_000_000, 100_000):
        plan = plan_adapter(TableLayout((rows,), 16), 4, 2, 0.02)
        (slots,) = plan.slots
        chosen.add(plan.pages)
        if plan.pages == "4k":
            assert not holds(plan, math.ceil(slots * 7 / 8), "2m")
        else:
            assert not holds(plan, int(slots * 8 / 7) + 1, "4k")
    assert chosen == {"2m", "4k"}


def test_tables_too_small_for_their_own_statistics_have_plain_deltas_while_these_are_cheap() -> (
    None
):
    plan = plan_adapter(TableLayout((3, 1_000_000), 16), 4, 1, 0.02)
    assert plan.plain == (0,)
    assert (plan.slots[0], plan.ranks[0]) == (3, 0)
    assert plan.not_adapted == ()
    # A quarter of the budget pays for some of them: the smallest.
    many = TableLayout((30, *range(10, 30), 4000), 32)
    plan = plan_adapter(many, 4, 1, 0.2)
    assert plan.plain
    assert plan.not_adapted
    assert max(many.rows[f] for f in plan.plain) < min(many.rows[f] for f in plan.not_adapted)
    assert plan.fits


def test_what_consists_of_small_tables_alone_is_refused() -> None:
    with pytest.raises(InputError, match="found no table that an adapter of rank 4 would not out"):
        plan_adapter(TableLayout((10, 20), 16), 4, 1, 0.2)


@pytest.mark.parametrize("budget", [1e-6, 0.001, 0.004])
def test_a_budget_too_small_is_told_beside_one_that_suffices(budget: float) -> None:
    layout = TableLayout((3000, 2000, 10, 400), 16)
    with pytest.raises(InputError, match="budget is too small") as refused:
        plan_adapter(layout, None, 1, budget)
    found = re.search(r"found ([\d,]+) bytes .* at least ([\d,]+) \(([\d.]+)\)", str(refused.value))
    assert found is not None
    assert int(found[1].replace(",", "")) == int(budget * layout.table_bytes)
    assert plan_adapter(layout, None, 1, float(found[3])).fits


def test_pages_of_2_mib_are_taken_only_where_they_buy_slots_beside_plain_deltas() -> None:
    layout = TableLayout((*(20,) * 59, 300), 8)
    for thousandths in range(300, 1001, 10):
        try:
            plan = plan_adapter(layout, 4, 1, thousandths / 1000)
        except InputError:
            continue
        assert plan.fits
        assert any(plan.ranks)


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
    with pytest.raises(InputError, match=r"too small: found 128 bytes"):
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
