"""What is left of an adapter when rows land, against a twin that adds up what was learned."""

from contextlib import closing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorabench._kernels.lookup import Tables
from lorabench.lora.layout import AdapterPlan
from lorabench.lora.rank import shrunk
from lorabench.lora.writer import Adapter, AdapterOwner
from lorabench.model.tables import TableLayout

DIM = 6
ROWS = (40, 5)
SLOTS = 8


class History:
    """An adapter of a pruned table and of a plain delta; `newer` adds up what it learns.

    A sample is learned at a time, so that who had a slot before and after says whose began anew.
    """

    def __init__(self, seed: int = 0, slots: int = SLOTS) -> None:
        self.rng = np.random.default_rng(seed)
        self.tables = Tables([np.zeros((rows, DIM), np.float32) for rows in ROWS])
        layout, room = TableLayout(ROWS, DIM), 1 << 16
        plan = AdapterPlan(layout, (4, 0), 1, (slots, 5), (0, 0), room, "4k", 2 * room)
        self.adapter = Adapter(plan)
        self.owner = AdapterOwner(self.adapter.handle)
        self.writer = self.owner.writer
        bases = np.zeros((2, 4, DIM), np.float32)
        bases[0] = np.linalg.qr(self.rng.standard_normal((DIM, 4)))[0].T
        self.writer.begin()
        self.writer.set_basis(bases)
        self.writer.publish()
        self.newer: list[dict[int, np.ndarray]] = [{}, {}]

    def close(self) -> None:
        self.adapter.close()

    def coordinates(self) -> list[dict[int, np.ndarray]]:
        """A of every row in use."""
        found = [self.writer.arrays(f) for f in range(2)]
        return [dict(zip(map(int, rows), A, strict=True)) for A, _, rows in found]

    def terms(self) -> list[np.ndarray]:
        """What is served beside the base, of every row."""
        out = np.zeros((ROWS[0], 2, DIM), np.float32)
        every = np.stack([np.arange(ROWS[0]), np.arange(ROWS[0]) % ROWS[1]], axis=1)
        self.writer.begin()
        self.writer.lookup(self.tables, every.astype(np.int32), out)
        return [out[: ROWS[f], f].copy() for f in range(2)]

    def learn(self, *rows: int) -> None:
        grad = self.rng.standard_normal((len(rows), 2, DIM)).astype(np.float32)
        indices = np.array([[row, row % ROWS[1]] for row in rows], np.int32)
        before = self.coordinates()
        self.writer.begin()
        self.writer.learn(
            *(self.tables, indices, grad),
            learning_rate=0.3,
            epsilon=1e-8,
            initial_accumulator=np.zeros(2, np.float32),
        )
        self.writer.publish()
        self.owner.follow()
        for f, after in enumerate(self.coordinates()):
            moved = {row: A - before[f].get(row, 0) for row, A in after.items()}
            self.newer[f] = {
                row: A + (self.newer[f].get(row, 0) if row in before[f] else 0)
                for row, A in moved.items()
            }

    def relayout(self, basis: np.ndarray, turn: np.ndarray, slots: int = SLOTS) -> None:
        plan = self.owner.plan.with_ranks((len(basis), 0), (slots, ROWS[1]))
        self.writer.begin()
        self.owner.relayout(plan, [basis, np.zeros((0, DIM))], [turn, np.zeros((0, 0))])
        self.writer.publish()
        self.newer[0] = {
            row: self.newer[0].get(row, np.zeros(len(turn))) @ turn for row in self.coordinates()[0]
        }

    def turn(self, slots: int = SLOTS) -> None:
        """Turn to a basis of the same rank that holds only a part of the old one."""
        basis = self.writer.basis(0).astype(np.float64)
        drawn = np.linalg.qr(self.rng.standard_normal((DIM, len(basis))))[0].T
        self.relayout(drawn, basis @ drawn.T, slots)

    def shrink(self) -> None:
        found = shrunk(self.writer.basis(0).astype(np.float64), self.writer.gram(0), 2)
        self.relayout(found.basis, found.turn)

    def grow(self) -> None:
        basis = self.writer.basis(0).astype(np.float64)
        rest = np.linalg.svd(basis)[2][len(basis) : 4]
        self.relayout(np.concatenate([basis, rest]), np.eye(len(basis), 4))

    def clear(self) -> None:
        self.writer.begin()
        self.owner.clear()
        self.writer.publish()
        self.newer = [{}, {}]

    def note(self):
        snapshot = self.owner.note()
        self.newer = [{row: 0 * A for row, A in held.items()} for held in self.coordinates()]
        return snapshot

    def land(self, snapshot, landed) -> bool:
        self.writer.begin()
        return self.owner.rebase(snapshot, [np.array(rows, np.int32) for rows in landed])

    def check(self, landed) -> None:
        """Rows that landed serve what is newer, all others what they served."""
        before, state = self.terms(), [self.writer.slot_state(f) for f in range(2)]
        snapshot = self.owner.noted
        self.land(snapshot, landed)
        for f, (was, now) in enumerate(zip(before, self.terms(), strict=True)):
            expected = was.astype(np.float64)
            B = self.writer.basis(f) if f == 0 else np.eye(DIM)
            for row in landed[f]:
                expected[row] = self.newer[f][row] @ B if row in self.newer[f] else 0.0
            np.testing.assert_allclose(now, expected, atol=2e-5)
            for kept, found in zip(state[f], self.writer.slot_state(f), strict=True):
                np.testing.assert_array_equal(kept, found)


ALL = [range(rows) for rows in ROWS]


def some(history: History, *rows: int, times: int = 3) -> None:
    for _ in range(times):
        for row in rows:
            history.learn(row)


def test_what_landed_with_nothing_newer_leaves_no_term_and_the_rest_its_own() -> None:
    with closing(History()) as history:
        some(history, 0, 1, 2, 3)
        before, snapshot = history.terms(), history.note()
        assert history.land(snapshot, [[0, 2, 39], [1]])
        for f, landed in enumerate(([0, 2], [1])):
            assert before[f][landed].any(axis=1).all()
            before[f][landed] = 0
            np.testing.assert_array_equal(history.terms()[f], before[f])
        history.learn(0)  # it goes on from where it is
        assert history.terms()[0][0].any()


STEPS = {
    "learn": lambda history: some(history, 0, 2, 4, times=1),
    "turn": History.turn,
    "shrink": History.shrink,
    "shrink and grow": lambda history: (history.shrink(), history.grow()),
    "fewer slots": lambda history: history.turn(slots=2),
    "others come": lambda history: some(history, *range(10, 30), times=4),
    "the guard": History.clear,
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_only_what_is_newer_is_left_whatever_happened_meanwhile(step) -> None:
    with closing(History()) as history:
        some(history, *range(SLOTS))
        history.note()
        some(history, 1, 2, 3, times=1)
        step(history)
        some(history, 0, 2, 5, times=2)
        history.check([range(0, 40, 2), [0, 1, 2]])


@given(
    st.integers(0, 2**16),
    st.lists(
        st.one_of(
            st.integers(0, ROWS[0] - 1), st.sampled_from([6, 7, "turn", "shrink", "grow", "clear"])
        ),
        max_size=60,
    ),
    st.integers(0, 60),
    st.lists(st.integers(0, ROWS[0] - 1), max_size=30),
)
@settings(max_examples=60, deadline=None)
def test_any_history_leaves_what_is_newer(seed, steps, noted_at, landed) -> None:
    with closing(History(seed)) as history:
        for place, step in enumerate([*steps, None]):
            if place == min(noted_at, len(steps)):
                history.note()
            if isinstance(step, str):
                getattr(history, step)()
            elif step is not None:
                some(history, step, step % SLOTS, times=2)
        history.check([landed, [row for row in landed if row < ROWS[1]]])


def test_a_row_that_loses_its_slot_and_wins_one_in_one_step_keeps_its_new_term() -> None:
    with closing(History(slots=2)) as history:
        some(history, 0, 1)
        snapshot = history.note()
        history.learn(*[9] * 12, *[1] * 12)  # 9 takes the slot of 1, and 1 that of 0
        assert set(history.coordinates()[0]) == {9, 1}
        before = history.terms()[0]
        history.land(snapshot, ALL)
        np.testing.assert_array_equal(history.terms()[0], before)


def test_a_note_is_smaller_than_a_side_and_ends_with_its_push() -> None:
    with closing(History()) as history:
        some(history, *range(30))
        ended = history.note()
        snapshot = history.note()
        assert 0 < snapshot.nbytes <= history.owner.plan.shared_bytes / 2
        for wrong, landed, expected in (
            (ended, ALL, "expected what was noted last"),
            (snapshot, ALL[:1], "landed: found 1, expected 2 tables"),
        ):
            with pytest.raises(ValueError, match=expected):
                history.land(wrong, landed)
        history.land(snapshot, ALL)
        assert history.owner.noted is None
        with pytest.raises(ValueError, match="found one that has ended"):
            history.land(snapshot, ALL)


def test_an_empty_adapter_has_nothing_to_rebase_and_publishes_nothing() -> None:
    with closing(History()) as history:
        epoch = history.writer.epoch
        assert not history.land(history.note(), ALL)
        assert history.writer.epoch == epoch
        with pytest.raises(ValueError, match=r"A: found shape \(1, 4\), expected \[0, 4\]"):
            history.writer.rewrite(0, np.zeros((1, 4), np.float32))
