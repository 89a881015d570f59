"""Gates: their text, Holm's steps, and that one can pass, fail and not know."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.results.change import change
from lorabench.results.gate import Gate, Held, Lost, judge, parse_gate


def held(ratio: float, sigma: float, n: int = 10, share: float = 0.05, seed: int = 0) -> Held:
    """Return what a gate sees where head / base is about `ratio`, with so much spread a block."""
    rng = np.random.default_rng(seed)
    apart = rng.normal(size=n)
    apart = (apart - apart.mean()) / apart.std(ddof=1) * sigma + np.log(ratio)
    found = change(np.ones(n), np.exp(apart), better="lower", paired=True)
    return Held(Gate("latency_p99", share), "solo", found)


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("latency_p99=5%", Gate("latency_p99", 0.05)),
        ("latency_p99[pinned+throttle]=12.5%", Gate("latency_p99", 0.125, "pinned+throttle")),
        ("lookup_speedup[dim=16,pooling=20]=10%", Gate("lookup_speedup", 0.1, "dim=16,pooling=20")),
        ("rank_at_80[D16/C3]=1%", Gate("rank_at_80", 0.01, "D16/C3")),
    ],
)
def test_a_gate_is_read_and_prints_as_it_was_given(text: str, gate: Gate) -> None:
    assert parse_gate(text) == gate
    assert str(gate) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "latency_p99", "latency_p99=5", "=5%", "latency_p99=%", "latency_p99=0%", "a=-5%"),
        *("a=x%", "latency_p99[]=5%", "latency_p99=100%", "latency_p99=nan%", "latency_p99=1e999%"),
        "a b=5%",
    ],
)
def test_what_is_no_gate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as latency_p99=5%"):
        parse_gate(text)


@given(st.text())
def test_any_text_is_a_gate_or_is_refused(text: str) -> None:
    try:
        found = parse_gate(text)
    except ValueError:
        return
    assert parse_gate(str(found)).metric == found.metric
    assert 0 < found.share < 1


def test_a_case_is_named_by_its_text_or_by_labels() -> None:
    labels = {"dim": "16", "pooling": "20"}
    assert Gate("m", 0.1).wants("D=16, pooling 20", labels)
    assert Gate("m", 0.1, "D=16, pooling 20").wants("D=16, pooling 20", labels)
    assert Gate("m", 0.1, "dim=16").wants("D=16, pooling 20", labels)
    assert not Gate("m", 0.1, "dim=16,pooling=1").wants("D=16, pooling 20", labels)
    assert not Gate("m", 0.1, "dim").wants("D=16, pooling 20", labels)


def test_a_change_shown_to_be_beyond_the_tolerance_fails() -> None:
    (found,) = judge([held(1.20, 0.03)])
    assert found.outcome == "fail"
    assert found.reason.startswith("head / base 1.200 [1.1")
    assert found.reason.endswith("beyond 5 %")


def test_a_change_that_is_worse_but_not_beyond_it_does_not_fail() -> None:
    (found,) = judge([held(1.04, 0.005)])
    assert found.outcome == "pass"
    assert found.reason.endswith("within 5 %")


def test_no_change_is_passed_only_where_one_could_have_been_shown() -> None:
    (seen,) = judge([held(1.0, 0.03)])
    (unseen,) = judge([held(1.0, 0.30)])
    assert seen.outcome == "pass"
    assert unseen.outcome == "unknown"
    assert "could not have shown a change of 5 %, but one of" in unseen.reason


def test_an_interval_across_the_tolerance_passes_where_it_could_have_shown_its_size() -> None:
    (found,) = judge([held(1.04, 0.03)])
    assert found.outcome == "pass"
    assert "not shown to be beyond 5 %; it fails from 8." in found.reason


def test_an_estimate_beyond_the_tolerance_is_no_pass_however_much_could_have_been_shown() -> None:
    (found,) = judge([held(1.06, 0.03)])
    assert found.outcome == "unknown"
    assert found.reason.endswith("on neither side of 5 %; more time would tell")


def test_few_values_tell_nothing() -> None:
    for n, outcome in ((5, "unknown"), (6, "fail")):
        (found,) = judge([held(2.0, 0.01, n)])
        assert found.outcome == outcome
    assert judge([held(2.0, 0.01, 5)])[0].reason == "there are 5 values a side, and 6 are needed"


def test_more_values_would_decide_a_gate_whose_interval_lies_across_its_tolerance() -> None:
    for ratio, sigma, outcome, decided in (
        (1.20, 0.03, "fail", True),
        (1.00, 0.03, "pass", True),
        (1.04, 0.03, "pass", False),
        (1.00, 0.30, "unknown", False),
    ):
        (found,) = judge([held(ratio, sigma)])
        assert (found.outcome, found.decided) == (outcome, decided)


def test_what_chance_may_give_fails_no_gate() -> None:
    change_of = held(1.0, 0.01).change
    # Of two tests, of values and of lost blocks, each has half of the level.
    for chance, outcome in ((0.012, "fail"), (0.013, "unknown"), (0.2, "unknown")):
        (found,) = judge([Held(Gate("m", 0.05), "c", change_of, Lost("grew", chance))])
        assert found.outcome == outcome


def test_lost_blocks_take_nothing_from_what_values_show() -> None:
    slower = held(2.0, 0.03).change
    (found,) = judge([Held(Gate("m", 0.05), "c", slower, Lost("grew", 0.5))])
    assert found.outcome == "fail"
    assert found.reason.endswith("beyond 5 %")


def test_holms_steps_hold_all_gates_together() -> None:
    # Alone, each would fail at 2.5 %; of two, the smaller p takes 1.25 %.
    alone = held(1.10, 0.055, share=0.05)
    p = alone.change.p_worse(np.log(1.05))
    assert 0.0125 < p < 0.025
    assert judge([alone])[0].outcome == "fail"
    assert [one.outcome for one in judge([alone, held(1.0, 0.01)])] == ["unknown", "pass"]
    # Once a gate has failed at its step, the next one has the whole level left.
    first, second = judge([alone, held(1.5, 0.02)])
    assert (first.outcome, second.outcome) == ("fail", "fail")
    assert (first.level, second.level) == (0.025, 0.0125)


@given(st.lists(st.floats(1e-9, 0.999), min_size=1, max_size=8))
def test_what_fails_is_what_holm_rejects(p_values: list[float]) -> None:
    from scipy.special import stdtrit

    def of(p: float) -> Held:
        # A single t value with nine degrees of freedom whose one-sided p that is.
        t = float(stdtrit(9, 1 - p))
        one = held(1.0, 0.02)
        error = one.change.error
        centre = np.log(1.05) + t * error
        return Held(one.gate, one.case, change_of(one, centre))

    found = [verdict.outcome == "fail" for verdict in judge([of(p) for p in p_values])]
    order = sorted(range(len(p_values)), key=lambda n: p_values[n])
    rejected = set()
    for rank, place in enumerate(order):
        if p_values[place] > 0.025 / (len(p_values) - rank) * (1 + 1e-6):
            break
        rejected.add(place)
    close = any(abs(p - 0.025 / k) < 1e-6 for p in p_values for k in range(1, len(p_values) + 1))
    assert close or {n for n, fails in enumerate(found) if fails} == rejected


def change_of(one: Held, centre: float):
    from dataclasses import replace

    return replace(one.change, centre=float(centre))


def test_false_alarms_of_several_gates_together_are_as_rare_as_of_one() -> None:
    rng = np.random.default_rng(3)
    alarms = 0
    for _ in range(800):
        gates = []
        for _ in range(4):
            # The truth lies on the tolerance: where a false alarm is likeliest.
            apart = rng.normal(np.log(1.05), 0.05, 8)
            found = change(np.ones(8), np.exp(apart), better="lower", paired=True)
            gates.append(Held(Gate("m", 0.05), "c", found))
        alarms += any(verdict.outcome == "fail" for verdict in judge(gates))
    assert alarms / 800 < 0.045  # 2.5 % and four standard errors


def test_what_is_known_beside_the_values_decides() -> None:
    lost = Lost("its queue only grew", 0.0)
    stuck = Held(Gate("m", 0.05), "c", held(1.0, 0.01).change, lost)
    gone = Held(Gate("m", 0.05), "c", held(2.0, 0.01).change, unknown="loads differ")
    nothing = Held(Gate("m", 0.05), "c", None)
    single = Held(Gate("m", 0.05), "c", change([1.0], [9.0], better="lower", paired=False))
    found = judge([stuck, gone, nothing, single])
    assert [one.outcome for one in found] == ["fail", "unknown", "unknown", "unknown"]
    assert [one.reason for one in found] == [
        "its queue only grew",
        "loads differ",
        "a side has no value",
        "of one value a side nothing is known of how far values vary",
    ]


def test_what_few_values_make_huge_is_not_written_out() -> None:
    values = [1e-9, 1e9, 1.0, 1.0, 1e5, 1e-5]
    found = change([1.0] * 6, values, better="lower", paired=True)
    (verdict,) = judge([Held(Gate("m", 0.05), "c", found)])
    assert len(verdict.reason) < 120
    assert verdict.reason.endswith("but one of over 1,000 %")
