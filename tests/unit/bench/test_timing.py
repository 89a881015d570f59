"""The interleaved loop: who comes when, what is counted, what is fresh."""

import gc
import itertools

import numpy as np
import pytest

from lorabench.bench.timing import Candidate, best, time_interleaved


class Recorder:
    """Writes down every call of the candidates that it makes."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.collecting: set[bool] = set()

    def candidate(self, name: str, memory: str = "") -> Candidate:
        def work(inputs: int) -> None:
            self.calls.append((name, inputs))
            self.collecting.add(gc.isenabled())

        return Candidate(
            name, lambda rng: int(rng.integers(2**62)), {"first": work, "second": work}, memory
        )


def test_every_call_meets_inputs_that_nobody_met_before() -> None:
    log = Recorder()
    time_interleaved([log.candidate("a"), log.candidate("b")], units=10_000, rounds=5, seed=[1])
    inputs = [given for _, given in log.calls]
    # Both stages of a call get the same; no other call does.
    assert len(set(inputs)) == len(inputs) // 2


def test_candidates_on_one_memory_follow_each_other_and_orders_change() -> None:
    log = Recorder()
    time_interleaved(
        [log.candidate("a", "x"), log.candidate("b", "y"), log.candidate("c", "x")],
        units=1_000_000,
        rounds=12,
        seed=[2],
    )
    memory = {"a": "x", "b": "y", "c": "x"}
    runs = [memory[name] for name, _ in log.calls]
    switches = sum(one != other for one, other in itertools.pairwise(runs))
    # 13 turns of two memories each, however they are shuffled.
    assert 13 <= switches <= 25
    firsts = {log.calls[place][0] for place in range(0, len(log.calls), len(log.calls) // 13)}
    assert len(firsts) > 1


def test_the_same_seed_gives_the_same_inputs_in_the_same_order() -> None:
    logs = [Recorder(), Recorder()]
    for log in logs:
        time_interleaved(
            [log.candidate("a"), log.candidate("b")], units=50_000, rounds=3, seed=[7, 7]
        )
    assert logs[0].calls == logs[1].calls


def test_there_is_one_time_a_round_and_stage_and_totals_add_up() -> None:
    log = Recorder()
    times = time_interleaved([log.candidate("a")], units=50_000, rounds=4, seed=[0])["a"]
    assert set(times.stages) == {"first", "second"}
    assert all(values.shape == (4,) and (values > 0).all() for values in times.stages.values())
    np.testing.assert_allclose(times.total, times.stages["first"] + times.stages["second"])


def test_the_garbage_collector_rests_while_the_clock_runs_and_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = Recorder()
    assert gc.isenabled()
    time_interleaved([log.candidate("a")], units=50_000, rounds=1, seed=[0])
    assert log.collecting == {False}
    assert gc.isenabled()


def test_each_round_is_told_of_before_it_begins_also_the_one_that_is_not_counted() -> None:
    log = Recorder()
    begun: list[tuple[int, int]] = []
    time_interleaved(
        [log.candidate("a")],
        units=50_000,
        rounds=2,
        seed=[0],
        begin=lambda number: begun.append((number, len(log.calls))),
    )
    numbers, calls = zip(*begun, strict=True)
    assert numbers == (-1, 0, 1)
    each = len(log.calls) // 3
    assert calls == (0, each, 2 * each)


def test_best_takes_the_fastest_of_each_round() -> None:
    np.testing.assert_array_equal(best([np.array([3.0, 1.0]), np.array([2.0, 5.0])]), [2.0, 1.0])
