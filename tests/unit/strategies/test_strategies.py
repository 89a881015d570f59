"""Every registered strategy keeps the contract; names are read in one place."""

import pickle

import numpy as np
import pytest
from strategy_contract import Rows, StrategyContract

from lorabench.errors import InputError
from lorabench.strategies.fbgemm import FbgemmIdeal
from lorabench.strategies.ideal import Ideal
from lorabench.strategies.lora import Lora
from lorabench.strategies.lora_delta import LoraDelta
from lorabench.strategies.memory import ErrorMemory
from lorabench.strategies.none import Frozen
from lorabench.strategies.priority import Priority
from lorabench.strategies.recorded import Recorded
from lorabench.strategies.registry import parse, strategies
from lorabench.strategies.shipping import Deltas, Full, QuantisedDeltas
from lorabench.strategies.stream import Stream


class TestNone(StrategyContract):
    kind = Frozen
    names = ("none",)


class TestLora(StrategyContract):
    kind = Lora
    names = ("lora", "lora-r2", "lora-r4-random")


class TestLoraDelta(StrategyContract):
    kind = LoraDelta
    names = ("lora+delta", "lora+delta-r2")


class TestErrorMemory(StrategyContract):
    kind = ErrorMemory
    names = ("memory",)


class TestIdeal(StrategyContract):
    kind = Ideal
    names = ("ideal",)


class TestFull(StrategyContract):
    kind = Full
    names = ("full",)


class TestDelta(StrategyContract):
    kind = Deltas
    names = ("delta",)


class TestDeltaInt8(StrategyContract):
    kind = QuantisedDeltas
    names = ("delta-int8",)


class TestPriority(StrategyContract):
    kind = Priority
    names = (
        "priority",
        "priority-10",
        "priority-delta-norm-1",
        "priority-grad-energy-10",
        "priority-freq-grad-5",
    )


class TestStream(StrategyContract):
    kind = Stream
    names = ("stream",)


class TestRecorded(StrategyContract):
    kind = Recorded
    names = ("deltas",)


@pytest.mark.usefixtures("with_fbgemm")
class TestFbgemmIdeal(StrategyContract):
    kind = FbgemmIdeal
    names = ("ideal-fbgemm",)


def test_ideal_goes_on_from_the_accumulators_and_leaves_them_as_they_are() -> None:
    moved = {}
    for sums in (None, 1e4):
        rows = Rows(())
        given = None if sums is None else [np.full(2000, sums, np.float32) for _ in range(2)]
        rows.accumulators = given
        strategy = rows.make(parse("ideal"))
        before = rows.predict(strategy)
        rows.learn(strategy, 1)
        moved[sums] = np.abs(rows.predict(strategy) - before).mean()
        rows.close(strategy)
        if given is not None:
            assert all((one == sums).all() for one in given)
    assert moved[1e4] < 0.5 * moved[None]


def test_no_registered_strategy_goes_untested() -> None:
    assert {one.kind for one in StrategyContract.__subclasses__()} == set(strategies().values())


@pytest.mark.parametrize(
    ("name", "rank", "basis"),
    [("lora", None, "pca"), ("lora-r8", 8, "pca"), ("lora-r4-random", 4, "random")],
)
def test_a_name_says_rank_and_basis(name, rank, basis) -> None:
    assert parse(name).params == {"rank": rank, "basis": basis}


@pytest.mark.parametrize("name", ["", "lora-", "lora-rx", "lora-random", "delta-int4", "LORA"])
def test_other_names_are_refused(name) -> None:
    with pytest.raises(InputError, match=f"--strategies: found '{name}', expected some of none"):
        parse(name)


def test_a_rate_is_for_those_that_learn() -> None:
    assert parse("ideal", 0.2).learning_rate == 0.2
    assert parse("none", 0.2).learning_rate is None


def test_what_cannot_learn_beside_servers_is_no_strategy_of_a_trainer() -> None:
    with pytest.raises(InputError, match="--strategy: found 'ideal', expected some of lora,"):
        parse("ideal", option="--strategy", colocated=True)


@pytest.mark.parametrize("name", ["lora", "lora-r2", "lora-r4-random"])
def test_a_seed_goes_with_a_strategy_to_the_process_that_learns(name) -> None:
    rows = Rows(())

    def learned(seed: int) -> np.ndarray:
        spec = pickle.loads(pickle.dumps(parse(name, seed=seed).given(basis_samples=2048)))
        strategy = rows.make(spec)
        rows.learn(strategy)
        found = rows.predict(strategy)
        rows.close(strategy)
        return found

    np.testing.assert_array_equal(learned(1), learned(1))
    assert not np.array_equal(learned(1), learned(2))
