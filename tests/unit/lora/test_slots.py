"""Where slots go when tables compete."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lorabench.lora.layout import plan_adapter
from lorabench.lora.slots import allocate_slots
from lorabench.model.tables import TableLayout

LAYOUT = TableLayout((400_000, 400_000, 50), 32)


def lookup_counts(slots: int) -> np.ndarray:
    return (10_000 / np.arange(1, slots + 1)).astype(np.uint16)


@given(
    st.lists(st.integers(1, 16), min_size=2, max_size=2),
    st.lists(st.floats(0, 1e6), min_size=3, max_size=3),
    st.integers(0, 5000),
)
@example([1, 1], [0.0, 5e-324, 0.0], 1)
@settings(max_examples=50)
def test_whatever_the_signal_the_layout_stays_within_room_and_budget(ranks, energy, used) -> None:
    plan = plan_adapter(LAYOUT, None, 1, 0.02)
    wanted = [*ranks, 1 if plan.ranks[2] else 0]
    found = allocate_slots(
        plan, wanted, energy, [lookup_counts(n) for n in (used, used, min(used, 50))]
    )
    assert found is not None
    assert found.fits
    assert found.ranks == tuple(wanted)
    assert found.total_bytes <= 0.02 * LAYOUT.table_bytes
    assert all(s <= v for s, v in zip(found.slots, LAYOUT.rows, strict=True))
    assert all(found.slots)
    assert found.plain == plan.plain
    assert plan.plain == (() if plan.ranks[2] else (2,))


def test_more_signal_buys_more_slots_and_a_higher_rank_costs_some() -> None:
    plan = plan_adapter(LAYOUT, None, 1, 0.02)
    last = 1 if plan.ranks[2] else 0
    curves = [lookup_counts(3000), lookup_counts(3000), lookup_counts(50)]
    even = allocate_slots(plan, [2, 2, last], [1.0, 1.0, 0.0], curves)
    tilted = allocate_slots(plan, [2, 2, last], [9.0, 1.0, 0.0], curves)
    dear = allocate_slots(plan, [8, 8, last], [1.0, 1.0, 0.0], curves)
    assert even is not None
    assert tilted is not None
    assert dear is not None
    assert abs(even.slots[0] - even.slots[1]) <= 1
    assert tilted.slots[0] > even.slots[0] > tilted.slots[1]
    assert sum(dear.slots) < sum(even.slots)
    assert even.used_bytes > 0.8 * plan.budget_bytes


def test_without_any_signal_the_proportions_stay() -> None:
    plan = plan_adapter(LAYOUT, None, 1, 0.02)
    none = [np.zeros(0, np.uint16)] * 3
    found = allocate_slots(plan, plan.ranks, [0.0, 0.0, 0.0], none)
    assert found is not None
    assert found.slots[0] == found.slots[1]
