"""In what order slices are measured, and when a run ends."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.bench.rounds import Shape, Turn, run_blocks
from lorabench.results.case import Case

CASES = [Case(name) for name in ("solo", "solo_repeat", "pinned", "sham")]


class Order:
    """Remembers the blocks that it is told of."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def stage(self, text: str, done: float) -> None: ...

    def case(self, number: int, total: int, text: str) -> None:
        self.told.append(f"{number}/{total} {text}")


def run(
    shape: Shape,
    seed: int = 0,
    decided: Callable[[int], bool] = lambda _: False,
    first: dict[Case, Case] | None = None,
) -> tuple[list, Order, list[int]]:
    recorded, opened, observer = [], [], Order()

    @contextmanager
    def open_round(number: int) -> Iterator[Callable[[Case, Turn], tuple[Case, Turn]]]:
        opened.append(number)
        yield lambda case, turn: (case, turn)

    run_blocks(
        CASES,
        shape,
        seed=seed,
        open_round=open_round,
        record=lambda *found: recorded.append(found),
        decided=decided,
        observer=observer,
        first=first,
    )
    return recorded, observer, opened


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(1, 5), st.integers(0, 9))
def test_in_every_turn_each_case_has_one_slice_and_its_own_come_in_order(
    blocks: list[int], turns: int, seed: int
) -> None:
    recorded, observer, opened = run(Shape(tuple(blocks), turns), seed)
    assert opened == list(range(len(blocks)))
    assert [(block, round_) for block, round_, *_ in recorded] == [
        (sum(blocks[:r]) + b, r) for r, count in enumerate(blocks) for b in range(count)
    ]
    for block, round_, order, measured in recorded:
        assert len(order) == turns * len(CASES)
        for turn in range(turns):
            assert set(order[turn * len(CASES) : (turn + 1) * len(CASES)]) == set(CASES)
        inside = block - sum(blocks[:round_])
        for case, slices in measured.items():
            assert slices == [(case, Turn(round_, inside, number)) for number in range(turns)]
    assert observer.told[0] == f"1/{sum(blocks)} block 1 of at most {sum(blocks)}"
    assert len(observer.told) == sum(blocks)


def test_an_order_is_its_seeds_and_no_place_is_always_the_same_cases() -> None:
    shape = Shape((40,), 2)
    first, again, other = (run(shape, seed)[0] for seed in (1, 1, 2))
    assert [found[2] for found in first] == [found[2] for found in again]
    assert [found[2] for found in first] != [found[2] for found in other]
    leads = Counter(order[0].text for _, _, order, _ in first)
    assert set(leads) == {case.text for case in CASES}


@given(st.integers(0, 50))
def test_a_case_that_needs_to_know_another_comes_after_it_in_the_first_turn(seed: int) -> None:
    *_, pinned, sham = CASES
    recorded, *_ = run(Shape((2,), 2), seed, first={sham: pinned})
    order = recorded[0][2][: len(CASES)]
    assert order.index(pinned) < order.index(sham)
    assert set(order) == set(CASES)


@pytest.mark.parametrize("enough", [1, 3, 4])
def test_a_run_ends_after_the_block_that_decides_it(enough: int) -> None:
    recorded, _, opened = run(Shape((2, 2, 2), 1), decided=lambda blocks: blocks >= enough)
    assert len(recorded) == enough
    assert len(opened) == (enough + 1) // 2
