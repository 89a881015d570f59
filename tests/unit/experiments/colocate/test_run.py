"""What is decided before a run: its configuration, its machine, its schedules."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from lorabench.bench.options import check
from lorabench.bench.serving.cases import PLANTED, SOLO, SOLO_REPEAT, case_of, sham_of, strongest
from lorabench.bench.serving.comparisons import comparisons
from lorabench.bench.serving.load_tests import LoadTests, under_loadgen
from lorabench.bench.serving.options import conditions
from lorabench.bench.serving.slices import Slicing
from lorabench.cli import app
from lorabench.errors import InputError
from lorabench.experiments.colocate.options import DEFAULT_CONDITIONS, ColocateOptions
from lorabench.isolation.conditions import parse_condition
from lorabench.lora.learner import LEARNING_RATE
from lorabench.targets.load import Schedule, Traffic

POISSON = Traffic("poisson", 32)


def test_the_defaults_can_be_run() -> None:
    check(ColocateOptions())
    assert ColocateOptions().asked == conditions(DEFAULT_CONDITIONS)
    assert ColocateOptions().learning_rate == LEARNING_RATE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rounds": 0}, "--rounds: found 0, expected at least 1"),
        ({"max_minutes": 0.0}, "--max-minutes: found 0.0, expected above 0"),
        ({"rounds": 6, "decide": True}, "--decide: found it beside --rounds"),
        ({"rounds": 6, "max_minutes": 3.0}, "--max-minutes: found it beside --rounds"),
        ({"slice_s": 0.01}, "--slice: found 0.01, expected 0.1 to 60"),
        ({"head_s": -0.1}, "--head: found -0.1"),
        ({"duration_s": 0.0}, "--duration: found 0.0, expected above 0"),
        ({"duration_s": float("nan")}, "--duration: found nan"),
        ({"duration_s": float("inf")}, "--duration: found inf"),
        ({"load": -0.5}, "--load: found -0.5"),
        ({"qps": 0.0}, "--qps: found 0.0"),
        ({"query_rows": "0"}, "--query-rows: found '0'"),
        ({"max_batch": 0}, "--max-batch: found 0"),
        ({"label_delay_s": -1.0}, "--label-delay: found -1.0"),
        ({"memory_budget": 1.5}, "--memory-budget: found 1.5"),
        ({"replay_bytes": 10}, "--replay-bytes: found 10, expected at least 4096"),
        ({"seed": -1}, "--seed: found -1"),
        ({"slo_s": 0.0}, "--slo-ms: found 0.0"),
    ],
)
def test_what_cannot_be_run_is_refused_by_option(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        check(replace(ColocateOptions(), **change))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_loadgen_goes_with_poisson_arrivals_alone_and_only_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = replace(ColocateOptions(), load_generator="mlperf")
    with pytest.raises(InputError, match="--arrivals: found 'bursts' beside --load-generator"):
        check(replace(asked, arrivals="bursts"))
    with pytest.raises(InputError, match="--load-generator: found 'wrk2', expected"):
        check(replace(asked, load_generator="wrk2"))
    monkeypatch.setitem(sys.modules, "mlperf_loadgen", None)  # as if there were none
    with pytest.raises(InputError, match="mlcommons-loadgen is not installed"):
        check(asked)
    check(replace(asked, dry_run=True))


def test_what_loadgen_drives_is_a_case_of_its_own_with_the_labels_of_the_one_it_repeats() -> None:
    (pinned,) = map(case_of, conditions("pinned"))
    found = under_loadgen(pinned)
    assert (found.text, found.learns, found.condition) == ("pinned@mlperf", True, pinned.condition)
    assert found.labels == {"condition": "pinned", "load_generator": "mlperf"}
    assert list(comparisons([under_loadgen(SOLO), found])) == []


def test_tests_of_loadgen_are_as_long_as_a_block_and_differ_from_each_other() -> None:
    cut = Slicing(warmup_s=2.0, head_s=0.05, slice_s=0.5, turns=5)
    asked = LoadTests(300.0, cut, 3, 0.06, seed=1)
    tests = [asked.test(number) for number in range(3)]
    assert len({test.seed for test in tests}) == 3
    assert {test.duration_ms for test in tests} == {2500}
    assert asked.slice(1).window_s == (4.5, 7.0)
    assert asked.test(0) == replace(asked, count=9).test(0)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("naive", None),
        ("naive,shared", None),
        ("naive,shared,shared+reuse", None),
        ("naive,pinned", "pinned"),
        ("pinned,pinned+rerank", "pinned"),
        ("pinned,pinned+throttle,shared+idle", "pinned+throttle"),
        ("shared+idle,shared+idle+throttle", "shared+idle+throttle"),
        ("shared+idle+throttle,shared+idle", "shared+idle+throttle"),
        ("isolated,numa,pinned", "isolated"),
        ("numa,rdt", "rdt"),
        ("pinned,delta-apply+throttle,stream-apply", "pinned"),
        ("naive,delta-apply", None),
    ],
)
def test_a_verdict_is_about_the_condition_that_isolates_most(asked: str, name: str | None) -> None:
    found = strongest([SOLO, *map(case_of, conditions(asked))])
    assert (None if found is None else found.text) == name


def test_each_case_is_compared_with_solo_and_a_changing_rank_with_the_same_that_stands_still():
    pinned, changing, throttled = map(
        case_of, conditions("pinned,pinned+rank-change,pinned+rank-change+throttle")
    )
    found = list(comparisons([pinned, SOLO, changing, SOLO_REPEAT, throttled, PLANTED]))
    ratios = {one.head: one.base for one in found if one.name == "latency_p99_ratio"}
    both = (SOLO, SOLO_REPEAT)
    assert ratios.pop(SOLO_REPEAT) == (SOLO,)
    assert ratios == dict.fromkeys((pinned, changing, throttled, PLANTED), both)
    changes = [(one.head, one.base) for one in found if one.name == "rank_change_p99_ratio"]
    assert changes == [(changing, (pinned,))]


def test_the_judged_case_is_compared_with_its_sham_and_naive_with_the_judged_case():
    naive, pinned, isolated = map(case_of, conditions("naive,pinned,isolated"))
    sham = sham_of(isolated)
    found = list(comparisons([SOLO, SOLO_REPEAT, naive, pinned, isolated, sham]))
    against = {one.name: (one.head, one.base) for one in found if "sham" in one.name}
    assert against == dict.fromkeys(
        ("latency_p99_sham_ratio", "latency_p99_unstalled_sham_ratio"), (isolated, (sham,))
    )
    gains = [(one.head, one.base) for one in found if one.name == "isolation_gain"]
    assert gains == [(naive, (isolated,))]


def test_a_trainer_is_compared_with_what_applies_a_push_in_its_stead_or_else_the_judged_one():
    asked = "pinned,isolated,delta-apply,stream-apply+throttle,isolated+delta-apply"
    pinned, isolated, delta, stream, alike = map(case_of, conditions(asked))
    cases = [SOLO, SOLO_REPEAT, pinned, isolated, delta, stream, alike, sham_of(isolated)]
    found = {
        one.case: (one.head, one.base)
        for one in comparisons(cases)
        if one.name == "lora_p99_ratio" and one.case is not None
    }
    assert list(found.values()) == [
        (pinned, (delta,)),
        (isolated, (stream,)),
        (isolated, (alike,)),
    ]
    assert [dict(case.labels) for case in found] == [
        {"condition": "pinned", "against": "delta-apply"},
        {"condition": "isolated", "against": "stream-apply+throttle"},
        {"condition": "isolated", "against": "isolated+delta-apply"},
    ]
    alone = comparisons([SOLO, SOLO_REPEAT, delta])
    assert {one.name for one in alone if one.head == delta} >= {"latency_p99_ratio"}
    assert not [one for one in alone if one.name == "lora_p99_ratio"]


def test_a_ratio_is_to_the_mean_of_both_controls_and_a_difference_likewise():
    pinned = case_of(parse_condition("pinned"))
    values = {pinned: 0.012, SOLO: 0.004, SOLO_REPEAT: 0.009}
    found = {case: {"latency_p99": value} for case, value in values.items()}
    of = {
        one.name: one.of(one.values(found))
        for one in comparisons(list(values))
        if one.head == pinned and one.metric == "latency_p99"
    }
    assert of["latency_p99_ratio"] == pytest.approx(2.0)
    assert of["latency_impact"] == pytest.approx(0.0055)
    found[SOLO]["latency_p99"] = None
    (ratio,) = (
        one
        for one in comparisons(list(values))
        if one.head == pinned and one.name == "latency_p99_ratio"
    )
    assert ratio.of(ratio.values(found)) is None


def test_a_round_without_solo_compares_nothing():
    assert list(comparisons([case_of(parse_condition("pinned"))])) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--conditions", "pinned,magic"), "--conditions: found 'magic', expected naive, pinned"),
        (("--rank", "few"), "--rank: found 'few', expected auto or an integer"),
        (("--conditions", "sham"), "--conditions: found sham alone, expected a trainer's"),
        (("--slo-ms", "x"), "--slo-ms: found 'x', expected a number of milliseconds"),
        (("--slo-ms", "0"), "--slo-ms: found 0.0, expected above 0"),
        (("--wait", "idle"), "--wait: found 'idle', expected one of block, spin"),
        (("--plan", "p.json", "--servers", "1"), "--servers: found it beside --plan"),
    ],
)
def test_what_cannot_be_read_is_refused_by_option(options: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        app(["colocate", *options], standalone_mode=False)
    assert "\n" not in str(caught.value)


def test_a_spike_must_lie_in_what_is_measured() -> None:
    config = replace(ColocateOptions(), arrivals="spike", label_delay_s=9.0, duration_s=5.0)
    with pytest.raises(InputError, match=r"--duration: found 5\.0, expected a longer one"):
        check(config)
    check(replace(config, duration_s=20.0))


@pytest.mark.parametrize("option", ["serving_cpus", "trainer_cpus"])
def test_cpus_that_are_no_list_are_refused_by_option(option: str) -> None:
    with pytest.raises(InputError, match=f"--{option.replace('_', '-')}: found 'x'"):
        replace(ColocateOptions(), **{option: "x"}).request()  # type: ignore[arg-type]


def test_a_schedule_follows_its_seed_and_offers_the_rate_asked_for() -> None:
    first, again = (
        Schedule.draw(POISSON, 1000.0, 20.0, servers=3, seed=(1, 2, 3)) for _ in range(2)
    )
    other = Schedule.draw(POISSON, 1000.0, 20.0, servers=3, seed=(1, 2, 4))
    assert first.digest == again.digest != other.digest
    np.testing.assert_array_equal(first.arrivals, again.arrivals)
    assert abs(len(first.arrivals) - 20_000) < 6 * 20_000**0.5
    assert first.arrivals[-1] < 20_000_000_000
    assert (np.bincount(first.server, minlength=3) > 6000).all()
