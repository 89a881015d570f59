"""Every way to a verdict about latency, from a run's values, and what is in its way."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.results.case import Case
from lorabench.results.claims import sentence
from lorabench.results.evidence import Run, saturated_shares
from lorabench.results.latency import latency_claims, machine_answer, settled
from lorabench.results.learnable import LabelCount
from lorabench.results.metrics import MetricTable
from lorabench.results.schema import Claim, Round
from lorabench.results.sequential import nominal_level

PINNED = Case("pinned")
BLOCKS = 8

# A run in which nothing is in the way, and every claim is met.
USUAL = {
    ("latency_p99_ratio", "pinned"): (1.03, 0.02),
    ("latency_p99_ratio", "solo_repeat"): (1.0, 0.02),
    ("latency_p99_ratio", "sham"): (1.01, 0.02),
    ("latency_p99_ratio", "planted"): (1.25, 0.02),
    ("latency_p99_unstalled_ratio", "solo_repeat"): (1.0, 0.02),
    ("latency_p99_unstalled_ratio", "planted"): (1.25, 0.02),
    ("latency_p99_sham_ratio", "pinned"): (1.02, 0.02),
    ("latency_p99_unstalled_sham_ratio", "pinned"): (1.02, 0.02),
    ("latency_impact", "pinned"): (0.001, 0.0002),
    ("latency_impact", "solo_repeat"): (0.0, 0.0002),
    ("latency_p99", "sham"): (0.002, 0.0001),
    ("stall_touched_share", "pinned"): (0.0100, 0.0005),
    ("stall_touched_share", "sham"): (0.0100, 0.0005),
    ("stalled_share", "sham"): (0.013, 0.001),
    ("stalled_share", "solo"): (0.001, 0.0001),
    ("trainer_cores", "pinned"): (0.8, 0.01),
    ("trainer_cores", "sham"): (0.78, 0.01),
    ("train_samples_per_s", "pinned"): (41_000.0, 100.0),
    ("train_rate_ratio", "pinned"): (0.9, 0.01),
    ("guard_trips", "pinned"): (0.0, 0.0),
    ("diverged", "pinned"): (0.0, 0.0),
    ("duty", "pinned"): (0.8, 0.01),
    ("train_samples_per_s", "alone"): (45_000.0, 0.0),
}


def values(mean: float, spread: float, blocks: int) -> list[float | None]:
    """So many values around a mean, the same each time."""
    turn = np.linspace(-1, 1, blocks) if blocks > 1 else np.zeros(1)
    return [mean + spread * float(x) for x in turn]


def run(
    changes: dict[tuple[str, str], tuple[float, float] | None] | None = None,
    blocks: int = BLOCKS,
    **more: Any,
) -> Run:
    table = MetricTable()
    for (name, case), of in {**USUAL, **(changes or {})}.items():
        if of is not None:
            table.add(name, case, *values(*of, 1 if case == "alone" else blocks))
    return Run(table, PINNED, "measured-synthetic", **more)


def judged(*args: Any, **more: Any) -> dict[str, Claim]:
    return {claim.id: claim for claim in latency_claims(run(*args, **more))}


def test_where_nothing_is_in_the_way_each_is_met_and_says_at_which_rate() -> None:
    found = judged()
    assert {name: claim.verdict for name, claim in found.items()} == {
        "latency.impact": "met",
        "latency.isolated": "met",
        "latency.training": "met",
    }
    for claim in found.values():
        assert claim.reason.endswith(
            "in 8 blocks, with the trainer pinned at 41,000 samples/s, on planted synthetic rows"
        )
        assert "\n" not in sentence(claim)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {("train_rate_ratio", "pinned"): (0.49, 0.01)},
            "only 49% of the 45,000 samples/s",
        ),
        ({("train_samples_per_s", "pinned"): (0.0, 0.0)}, "nothing was learned"),
        ({("guard_trips", "pinned"): (0.5, 0.5)}, "the quality guard switched the adapter off 4"),
        ({("diverged", "pinned"): (1.0, 0.0)}, "training diverged"),
        ({("duty", "pinned"): (0.05, 0.0)}, "the throttle held the trainer at its floor (5%"),
        ({("train_rate_ratio", "pinned"): None}, "learns alone could not be measured"),
    ],
)
def test_without_training_there_is_no_verdict_about_its_cost(
    changes: dict[tuple[str, str], tuple[float, float] | None], words: str
) -> None:
    for claim in judged(changes).values():
        assert claim.verdict == "inconclusive"
        assert words in sentence(claim)
    assert settled(latency_claims(run(changes)), run(changes)), "no block would change that"


def test_rows_whose_labels_are_all_alike_cost_nothing_to_learn_from() -> None:
    for claim in judged(labels=LabelCount(9000, 0)).values():
        assert claim.verdict == "inconclusive"
        assert "all 9,000 labels were negative: there was nothing to learn" in sentence(claim)


def test_a_control_that_is_wide_blocks_nothing_and_one_that_excludes_one_blocks_ratios() -> None:
    wide = judged({("latency_p99_ratio", "solo_repeat"): (1.0, 0.9)})
    assert wide["latency.isolated"].verdict == "met"
    biased = judged({("latency_p99_ratio", "solo_repeat"): (1.05, 0.01)})
    assert biased["latency.isolated"].verdict == "inconclusive"
    assert "the second solo differs from the first: its p99 is 1.05 [1.0" in (
        sentence(biased["latency.isolated"])
    )
    assert biased["latency.impact"].verdict == "met", "milliseconds are not judged by a ratio"
    assert biased["latency.training"].verdict == "met", "... nor what stalls do not touch by p99"


def test_a_difference_is_blocked_by_a_bias_that_weighs_in_its_limit() -> None:
    small = judged({("latency_impact", "solo_repeat"): (0.001, 0.0001)})
    assert small["latency.impact"].verdict == "met"
    large = judged({("latency_impact", "solo_repeat"): (0.004, 0.0001)})
    assert large["latency.impact"].verdict == "inconclusive"
    assert "differs from the first by 4.00 ms" in sentence(large["latency.impact"])


def test_what_could_not_have_seen_a_slowdown_does_not_say_that_there_was_none() -> None:
    blind = {
        ("latency_p99_ratio", "planted"): (1.15, 0.2),
        ("latency_p99_unstalled_ratio", "planted"): (1.15, 0.2),
    }
    found = judged(blind)
    for name in ("latency.isolated", "latency.training"):
        assert found[name].verdict == "inconclusive"
        assert "this run could not have seen a slowdown of 20 %" in sentence(found[name])
        assert "the smallest one it could have seen is" in sentence(found[name])
    found = judged({**blind, ("latency_p99_ratio", "pinned"): (1.5, 0.02)})
    assert found["latency.isolated"].verdict == "missed", "what was seen was seen"
    found = judged({("latency_p99_ratio", "planted"): None})
    assert "no slowdown was planted" in sentence(found["latency.isolated"])
    found = judged({("latency_p99_ratio", "planted"): (0.98, 0.01)})
    assert "none of any size is shown to be seen" in sentence(found["latency.isolated"])
    found = judged(saturated={"planted": 0.5})
    assert "the queue of planted only grew" in sentence(found["latency.isolated"])


def test_stalls_are_set_aside_only_where_they_are_shown_to_touch_both_alike() -> None:
    found = judged({("latency_p99_sham_ratio", "pinned"): (1.5, 0.02)})["latency.training"]
    assert found.verdict == "met"
    assert "they touched as many queries of both (1.00% and 1.00%)" in sentence(found)
    assert "with them 1.50 [" in sentence(found)
    slow = {("latency_p99_sham_ratio", "pinned"): (1.5, 0.02)}
    for unlike in ((0.02, 0.0005), (0.01, 0.03)):  # another share, or one that nobody knows
        changes = {**slow, ("stall_touched_share", "pinned"): unlike}
        found = judged(changes)["latency.training"]
        assert found.verdict == "missed"
        assert "stalls count" in sentence(found)


def test_a_run_whose_stalls_set_p99_on_both_sides_does_not_say_that_training_costs_nothing() -> (
    None
):
    unlike = {("stall_touched_share", "pinned"): (0.02, 0.0005)}
    found = judged(unlike)["latency.training"]
    assert found.verdict == "inconclusive"
    assert "stalls of the host touched 1.00% of the queries beside a busy core" in sentence(found)
    few = {("stall_touched_share", "pinned"): (0.008, 0.0005)} | {
        ("stall_touched_share", "sham"): (0.001, 0.0005)
    }
    assert judged(few)["latency.training"].verdict == "met"


def test_a_sham_that_is_not_as_busy_is_no_control() -> None:
    found = judged({("trainer_cores", "sham"): (0.6, 0.01)})["latency.training"]
    assert found.verdict == "inconclusive"
    assert "the sham was not as busy as the trainer (0.60 cores, and not 0.80)" in sentence(found)
    stuck = judged(saturated={"sham": 0.5})["latency.training"]
    assert "the queue of sham only grew" in sentence(stuck)


@pytest.mark.parametrize("case", ["pinned", "solo", "solo_repeat"])
def test_a_queue_that_only_grew_gives_no_figure(case: str) -> None:
    for claim in judged(saturated={case: 0.2}).values():
        assert (claim.verdict, claim.measured) == ("inconclusive", None)
        assert f"the queue of {case} only grew" in sentence(claim)
    for claim in judged(saturated={case: 0.05}).values():
        assert claim.verdict == "inconclusive", "what the other blocks gave may flatter it"
        assert claim.measured is not None
    assert not settled(latency_claims(run(saturated={case: 0.2})), run(saturated={case: 0.2}))
    assert settled(latency_claims(run(saturated={case: 0.6})), run(saturated={case: 0.6}))


def stopped(
    case: str, blocks: int, *, of: int = BLOCKS
) -> dict[tuple[str, str], list[float | None]]:
    """What the kernel counted of a case that a quota of 1.2 CPUs stopped in so many blocks."""
    hit = [n < blocks for n in range(of)]
    return {
        ("throttled_slices", case): [float(one) for one in hit],
        ("throttled_periods", case): [32.0 * one for one in hit],
        ("throttled_s", case): [1.125 * one for one in hit],
        ("quota_periods", case): [214.0] * of,
    }


def under_quota(*parts: dict[tuple[str, str], list[float | None]], **more: Any) -> Run:
    found = run(**more)
    for part in parts:
        for (name, case), column in part.items():
            found.table.add(name, case, *column)
    found.table.add("cpu_quota", "machine", 1.2)
    return found


QUOTA = (
    "the kernel stopped the bench in 256 of 1,712 periods, 9.0 s in all, for its CPU quota of 1.2 "
    "CPUs ({} in 256 of 1,712), and what waits for a new period says nothing about interference; "
    "raise the quota, give the container a cpuset of whole CPUs instead, or run fewer servers "
    "(--servers)"
)


@pytest.mark.parametrize(
    ("case", "open_"),
    [
        ("pinned", {"latency.impact", "latency.isolated", "latency.training"}),
        ("solo", {"latency.impact", "latency.isolated", "latency.training"}),
        ("sham", {"latency.training"}),
        ("planted", {"latency.isolated", "latency.training"}),
        ("naive", set()),
    ],
)
def test_no_verdict_rests_on_a_case_that_a_quota_stopped(case: str, open_: set[str]) -> None:
    halted = under_quota(stopped(case, BLOCKS))
    found = {claim.id: claim for claim in latency_claims(halted)}
    assert {name for name, claim in found.items() if claim.verdict == "inconclusive"} == open_
    for name in open_:
        assert QUOTA.format(case) in sentence(found[name])
    # More blocks would be stopped as well.
    assert settled(list(found.values()), halted) == (case in ("pinned", "solo", "naive"))


def test_what_isolation_brings_is_open_where_naive_was_stopped() -> None:
    halted = under_quota(
        stopped("naive", BLOCKS), changes={("isolation_gain", "naive"): (8.0, 0.2)}
    )
    gain = next(claim for claim in latency_claims(halted) if claim.id == "isolation.gain")
    assert gain.verdict == "inconclusive"
    assert QUOTA.format("naive") in gain.why


def test_a_stop_in_a_few_blocks_lets_nothing_be_met_and_in_none_is_no_obstacle() -> None:
    few = under_quota(stopped("pinned", 1, of=20), blocks=20)
    found = {claim.id: claim for claim in latency_claims(few)}
    assert found["latency.isolated"].verdict == "inconclusive"
    assert "the kernel stopped the bench in 32 of 4,280 periods" in found["latency.isolated"].why[0]
    slower = {("latency_p99_ratio", "pinned"): (1.5, 0.02)}
    missed = under_quota(stopped("pinned", 1, of=20), blocks=20, changes=slower)
    found = {claim.id: claim for claim in latency_claims(missed)}
    assert found["latency.isolated"].verdict == "missed"
    calm = {claim.id: claim for claim in latency_claims(under_quota(stopped("pinned", 0)))}
    assert calm["latency.isolated"].verdict == "met"


def test_too_few_blocks_and_no_p99_say_what_would_do() -> None:
    for claim in judged(blocks=5).values():
        assert claim.verdict == "inconclusive"
        assert "at least 6 blocks are needed; run more rounds" in sentence(claim)
    lacking = "a p99 takes 2,400 queries a block, which at 500 queries/s takes 4.8 s (--duration)"
    found = judged({("latency_p99_ratio", "pinned"): None}, lacking=lacking)["latency.isolated"]
    assert f"; {lacking}" in sentence(found)
    assert found.reason.startswith("there is no p99 to judge, with the trainer pinned at 41,000")


def test_at_a_look_the_interval_is_as_wide_as_its_level() -> None:
    one, five = (judged(level=nominal_level(looks))["latency.isolated"] for looks in (1, 5))
    assert one.ci95 is not None
    assert five.ci95 is not None
    assert five.ci95[0] < one.ci95[0] < one.ci95[1] < five.ci95[1]


def test_what_isolation_brings_is_judged_where_naive_ran() -> None:
    assert "isolation.gain" not in judged()
    found = judged({("isolation_gain", "naive"): (3.0, 0.5)})["isolation.gain"]
    assert found.verdict == "met"
    assert "p99 of naive is 2.98 [" in sentence(found)
    same = judged({("isolation_gain", "naive"): (1.0, 0.5)})["isolation.gain"]
    assert same.verdict == "inconclusive"
    gain = {("isolation_gain", "naive"): (3.0, 0.5)}
    stuck = judged(gain, saturated={"naive": 0.9})["isolation.gain"]
    assert (stuck.verdict, stuck.measured) == ("met", None)
    idle = {**gain, ("train_samples_per_s", "pinned"): (0.0, 0.0)}
    assert judged(idle, saturated={"naive": 0.9})["isolation.gain"].verdict == "inconclusive"


def test_the_machine_answers_for_a_busy_core() -> None:
    said = machine_answer(run({("latency_p99_ratio", "sham"): (1.6, 0.05)}))
    assert said is not None
    assert said.startswith("a core that only calculates makes p99 1.60 [")
    assert "(the host withheld 1.3% of the servers' time then, and 0.1% in solo)" in said
    quiet = machine_answer(run({("latency_p99_ratio", "sham"): (1.0, 0.05)}))
    assert quiet is not None
    assert "is not shown to change p99" in quiet


def test_a_case_is_saturated_in_a_share_of_its_own_blocks() -> None:
    def block(index: int, *stuck: str) -> Round:
        return Round(
            index=index,
            order=["solo", "pinned", "solo", "pinned"],
            schedule_sha256={},
            queries={},
            saturated=list(stuck),
            wraps=0,
            steal_s={},
            involuntary_switches={},
        )

    few = [block(n, *(["solo"] if n == 0 else [])) for n in range(10)]
    assert saturated_shares(few) == {"solo": 0.1}


def test_claims_that_nothing_tested_are_unavailable() -> None:
    claims = latency_claims(replace(run(), judged=None))
    assert [claim.id for claim in claims] == [
        "latency.impact",
        "latency.isolated",
        "latency.training",
    ]
    assert {claim.verdict for claim in claims} == {"unavailable"}
    assert all(claim.measured is None for claim in claims)


@given(
    st.floats(0.5, 2.0),
    st.floats(0.001, 0.5),
    st.integers(2, 12),
    st.floats(0.8, 1.25),
    st.floats(1.0, 1.5),
)
def test_a_ratio_is_judged_by_its_interval_alone_where_nothing_is_in_the_way(
    mean: float, spread: float, blocks: int, control: float, planted: float
) -> None:
    changes = {
        ("latency_p99_ratio", "pinned"): (mean, spread * mean),
        ("latency_p99_ratio", "solo_repeat"): (control, 0.01),
        ("latency_p99_ratio", "planted"): (planted, 0.01),
    }
    known = run(changes, blocks)
    claim = judged(changes, blocks)["latency.isolated"]
    assert claim.ci95 is not None
    low, high = claim.ci95
    bias = known.table.estimate("latency_p99_ratio", "solo_repeat")
    seen = known.table.estimate("latency_p99_ratio", "planted")
    assert bias is not None
    assert bias.interval is not None
    assert seen is not None
    assert seen.interval is not None
    if blocks < 6 or not bias.interval[0] <= 1 <= bias.interval[1] or low <= 1.10 < high:
        expected = "inconclusive"
    elif low > 1.10:
        expected = "missed"
    else:
        expected = "met" if seen.interval[0] > 1.10 else "inconclusive"
    assert claim.verdict == expected
    assert bool(claim.why) or expected != "inconclusive", "why, and what to do"
