"""What is decided before a run: its configuration, its machine, its schedules."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lorabench.bench.options import check
from lorabench.bench.rounds import run_rounds
from lorabench.bench.serving.cases import SOLO, SOLO_REPEAT, case_of, strongest
from lorabench.bench.serving.log import comparisons
from lorabench.bench.serving.options import conditions
from lorabench.cli import app
from lorabench.errors import InputError
from lorabench.experiments.colocate.options import DEFAULT_CONDITIONS, ColocateOptions
from lorabench.isolation.conditions import parse_condition
from lorabench.lora.learner import LEARNING_RATE
from lorabench.results.files import read_result
from lorabench.targets.load import Schedule, Traffic, open_traffic

POISSON = Traffic("poisson", 32)


def test_the_defaults_can_be_run() -> None:
    check(ColocateOptions())
    assert ColocateOptions().asked == conditions(DEFAULT_CONDITIONS)
    assert ColocateOptions().learning_rate == LEARNING_RATE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rounds": 0}, "--rounds: found 0, expected at least 1"),
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
    ],
)
def test_a_verdict_is_about_the_condition_that_isolates_most(asked: str, name: str | None) -> None:
    found = strongest([SOLO, *map(case_of, conditions(asked))])
    assert (None if found is None else found.text) == name


def test_each_case_is_compared_with_solo_and_a_changing_rank_with_the_same_that_stands_still():
    pinned, changing, throttled = map(
        case_of, conditions("pinned,pinned+rank-change,pinned+rank-change+throttle")
    )
    found = list(comparisons([pinned, SOLO, changing, SOLO_REPEAT, throttled]))
    ratios = {(head.text, base.text) for name, head, base in found if name == "latency_p99_ratio"}
    assert ratios == {(case.text, "solo") for case in (pinned, changing, SOLO_REPEAT, throttled)}
    changes = [(head, base) for name, head, base in found if name == "rank_change_p99_ratio"]
    assert changes == [(changing, pinned)]


def test_a_round_without_solo_compares_nothing():
    assert list(comparisons([case_of(parse_condition("pinned"))])) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--conditions", "pinned,magic"), "--conditions: found 'magic', expected naive, pinned"),
        (("--rank", "few"), "--rank: found 'few', expected auto or an integer"),
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


class Order:
    """Remembers the cases that it is told of."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def stage(self, text: str, done: float) -> None: ...

    def case(self, number: int, total: int, text: str) -> None:
        self.told.append(text)


def test_a_seed_gives_the_order_and_the_arrivals_that_it_always_gave() -> None:
    kept = read_result(Path(__file__).parents[3] / "data" / "schema1" / "colocate.json")
    asked = kept.config["experiment"]
    cases = [SOLO, SOLO_REPEAT, *map(case_of, conditions(",".join(asked["conditions"])))]
    observer, found = Order(), []
    run_rounds(
        cases,
        asked["rounds"],
        seed=asked["seed"],
        open_round=lambda index: nullcontext(lambda case: (index, case)),
        record=lambda index, order, measured: found.append((index, list(order), measured)),
        observer=observer,
    )
    total_s = asked["duration_s"] + asked["warmup_s"] + asked["label_delay_s"]
    traffic = open_traffic(asked["arrivals"], asked["query_rows"])
    for index, order, measured in found:
        before = kept.rounds[index]
        assert [case.text for case in order] == before.order
        assert measured == [(index, case) for case in order]
        seed = (asked["seed"], 1, index)
        schedule = Schedule.draw(traffic, asked["qps"], total_s, servers=1, seed=seed)
        assert set(before.schedule_sha256.values()) == {schedule.digest}
    assert observer.told[0] == f"round 1 of 2: {kept.rounds[0].order[0]}"
    assert len(observer.told) == 2 * len(cases)
