"""Row -> slot: a dict's behaviour in buckets that fill up, overflow and are emptied again."""

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lorabench._kernels.dispatch import instruction_sets, use_instruction_set
from lorabench._kernels.index import RowIndex

LAST = 2**31 - 1

# Few rows, so that they meet again; among them the ends of the range.
rows = st.one_of(st.integers(0, 60), st.sampled_from([LAST, LAST - 1, 2**30]))


def i32(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def find(index: RowIndex, *asked: int) -> list[int]:
    slots = np.full(len(asked), -7, np.int32)
    index.find(i32(*asked), slots)
    return slots.tolist()


class AsADict(RuleBasedStateMachine):
    @initialize(capacity=st.integers(1, 40))
    def start(self, capacity: int) -> None:
        self.index, self.twin, self.capacity = RowIndex(capacity), {}, capacity

    @rule(row=rows, slot=st.integers(0, 1000))
    def insert(self, row: int, slot: int) -> None:
        if row in self.twin:
            with pytest.raises(ValueError, match="which is in the index already"):
                self.index.insert(i32(row), i32(slot))
        elif len(self.twin) == self.capacity:
            with pytest.raises(ValueError, match="found the index full"):
                self.index.insert(i32(row), i32(slot))
        else:
            self.index.insert(i32(row), i32(slot))
            self.twin[row] = slot

    @rule(row=rows)
    def erase(self, row: int) -> None:
        assert self.index.erase(i32(row)) == (self.twin.pop(row, None) is not None)

    @invariant()
    def every_row_is_found_and_no_other(self) -> None:
        if not hasattr(self, "index"):
            return
        asked = [*range(61), LAST, LAST - 1, 2**30]
        for name in instruction_sets():
            use_instruction_set(name)
            assert find(self.index, *asked) == [self.twin.get(row, -1) for row in asked]
        use_instruction_set(instruction_sets()[0])
        assert self.index.used == len(self.twin)


TestAsADict = AsADict.TestCase
TestAsADict.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


def test_rows_that_come_and_go_for_long_leave_no_trace() -> None:
    rng = np.random.default_rng(5)
    capacity = 500
    index = RowIndex(capacity)
    held: list[int] = []
    for _ in range(400):
        gone = rng.permutation(len(held))[: len(held) // 2]
        leaving = [held[place] for place in gone]
        assert index.erase(np.array(leaving, np.int32)) == len(leaving)
        held = sorted(set(held) - set(leaving))
        free = capacity - len(held)
        coming = [row for row in rng.integers(0, 10**6, free).tolist() if row not in set(held)]
        coming = sorted(set(coming))
        index.insert(np.array(coming, np.int32), np.arange(len(coming), dtype=np.int32))
        held = sorted({*held, *coming})
        assert find(index, *held).count(-1) == 0
    assert index.erase(np.array(held, np.int32)) == len(held)
    assert index.used == 0
    # As good as new: full again, and nothing of the past is found.
    fresh = np.arange(capacity, dtype=np.int32)
    index.insert(fresh, fresh)
    assert find(index, *range(capacity)) == list(range(capacity))
    assert set(find(index, *(row for row in held if row >= capacity))) <= {-1}


@pytest.mark.parametrize(
    ("asked", "slots", "message"),
    [
        (i32(3, -1), i32(0, 0), r"rows\[1\]: found -1, expected 0 to 2147483647"),
        (i32(3), i32(-2), r"slots\[0\]: found -2"),
        (i32(3), i32(0, 1), "slots: found 2, expected 1"),
        (np.array([3]), i32(0), "rows: found int64, expected int32"),
    ],
)
def test_what_is_no_row_or_slot_is_refused(asked, slots, message: str) -> None:
    index = RowIndex(4)
    with pytest.raises(ValueError, match=message):
        index.insert(asked, slots)
    assert find(index, 3) == [-1] or index.used == 1


@pytest.mark.parametrize("capacity", [0, -1, 2**31])
def test_a_capacity_out_of_range_is_refused(capacity: int) -> None:
    with pytest.raises(ValueError, match=f"capacity: found {capacity}"):
        RowIndex(capacity)
