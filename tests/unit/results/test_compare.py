"""Comparing documents: which rows there are, what they come to, and what gates see."""

import json

import numpy as np
import pytest
from documents import document

from lorabench.errors import InputError
from lorabench.results.case import Case
from lorabench.results.compare import compare, rows_of, verdicts
from lorabench.results.comparison import Row, as_document, settled
from lorabench.results.gate import parse_gate
from lorabench.results.sides import Side

RNG = np.random.default_rng(5)


def blocks(centre: float, n: int = 8, sigma: float = 0.02) -> list[float]:
    noise = RNG.normal(size=n)
    return list(centre * np.exp((noise - noise.mean()) / noise.std(ddof=1) * sigma))


def row(found, metric: str, case: str = "solo") -> Row:
    return next(one for one in found.rows if (one.metric, one.case) == (metric, case))


BASE = document(
    {
        ("latency_p99", "solo"): blocks(1e-3),
        ("latency_p99", "planted"): blocks(1.2e-3),
        ("latency_p99", "isolated"): blocks(1.1e-3),
        ("train_samples_per_s", "isolated"): blocks(40_000),
        ("latency_impact", "isolated"): [1e-4, -1e-4, 2e-4, 1e-4, 0.0, 1e-4, 1e-4, 1e-4],
        ("lora_bytes", "isolated"): [1e6] * 8,
        ("capacity_qps", "solo"): [5000.0],
    }
)
SLOWER = document(
    {
        ("latency_p99", "solo"): blocks(1e-3),
        ("latency_p99", "planted"): blocks(1.2e-3),
        ("latency_p99", "isolated"): blocks(1.4e-3),
        ("train_samples_per_s", "isolated"): blocks(50_000),
        ("latency_impact", "isolated"): [4e-4, 3e-4, 4e-4, 4e-4, 5e-4, 4e-4, 4e-4, 3e-4],
        ("lora_bytes", "isolated"): [1e6] * 8,
        ("capacity_qps", "solo"): [4000.0],
        ("auc", "isolated"): blocks(0.7),
    },
    number=1,
)


def test_every_metric_that_both_have_is_a_row_with_its_verdict() -> None:
    found = compare([BASE], [SLOWER])
    assert row(found, "latency_p99").verdict == "no difference shown"
    assert row(found, "latency_p99", "isolated").verdict == "worse"
    assert row(found, "train_samples_per_s", "isolated").verdict == "better"
    assert row(found, "lora_bytes", "isolated").verdict == "no difference shown"
    impact = row(found, "latency_impact", "isolated")
    assert impact.change.kind == "difference"
    assert impact.verdict == "worse"
    once = row(found, "capacity_qps")
    assert (once.verdict, once.why) == ("could not have seen it", "one value a side")
    assert once.change.value == pytest.approx(0.8)
    assert found.only == {"base": (), "head": ("auc[isolated]",)}


def test_no_difference_is_said_only_where_one_of_that_size_could_have_been_seen() -> None:
    noisy = [document({("auc", "x"): blocks(0.7, sigma=0.2)}, number=n) for n in (1, 2)]
    found = compare([noisy[0]], [noisy[1]], size=0.05)
    assert row(found, "auc", "x").verdict == "could not have seen it"
    found = compare([noisy[0]], [noisy[1]], size=0.9)
    assert row(found, "auc", "x").verdict == "no difference shown"


def test_pairs_are_told_apart_where_sides_alone_are_not() -> None:
    weather = np.exp(RNG.normal(0, 0.5, 10))
    base = document({("latency_p99", "solo"): list(weather)})
    head = document({("latency_p99", "solo"): list(weather * blocks(1.2, 10))}, number=1)
    assert row(compare([base], [head]), "latency_p99").verdict == "could not have seen it"
    paired = compare([base], [head], paired=True)
    assert row(paired, "latency_p99").verdict == "worse"
    assert row(paired, "latency_p99").change.value == pytest.approx(1.2, rel=0.05)
    with pytest.raises(ValueError, match="found 2 and 1 runs, expected as many"):
        compare([base, base], [head], paired=True)


def test_of_repeated_runs_each_is_one_value() -> None:
    sides = [
        [
            document({("latency_p99", "solo"): blocks(centre * level)}, number=n)
            for n, level in enumerate((1.0, 1.1, 0.9))
        ]
        for centre in (1e-3, 2e-3)
    ]
    found = compare(*sides)
    change = row(found, "latency_p99").change
    assert change.n == (3, 3)
    assert change.value == pytest.approx(2.0, rel=0.01)
    # Blocks of all runs would have told 4 % apart; three runs do not.
    assert change.least_shown() > 0.2
    assert row(found, "latency_p99").base == pytest.approx(1e-3, rel=0.01)


def test_a_run_that_lacks_a_metric_is_no_value_of_its_side() -> None:
    runs = [document({("latency_p99", "solo"): blocks(1e-3)}, number=n) for n in range(2)]
    without = document({("auc", "solo"): [0.7]}, number=2)
    found = compare([*runs, without], runs)
    assert row(found, "latency_p99").change.n == (2, 2)
    single = compare([runs[0], without], [runs[1]])
    assert row(single, "latency_p99").change.n == (1, 1)
    assert any(note.startswith("Head is one run, which does not say") for note in single.notes)
    assert row(compare(runs, runs[:1]), "latency_p99").why == "head has one value"


def test_runs_that_took_turns_are_pairs() -> None:
    weather = np.exp(RNG.normal(0, 0.5, 6))
    sides = [
        [
            document({("latency_p99", "solo"): [1e-3 * one * slow]}, number=n)
            for n, one in enumerate(weather)
        ]
        for slow in (1.0, 1.3)
    ]
    change = row(compare(*sides, paired=True), "latency_p99").change
    assert change.n == (6, 6)
    assert change.value == pytest.approx(1.3)


def test_labels_and_not_texts_tell_cases_apart() -> None:
    old, new = (
        document({("auc", Case(text, {"table": "C3", "dim": 16})): blocks(0.7)}, number=n)
        for n, text in enumerate(("D16/C3", "C3 at D=16"))
    )
    assert [one.case for one in compare([old], [new]).rows] == ["C3 at D=16"]


def test_a_gate_is_about_every_case_that_is_no_control() -> None:
    found = compare([BASE], [SLOWER], gates=[parse_gate("latency_p99=10%")])
    assert {one.held.case: one.outcome for one in found.gates} == {
        "solo": "pass",
        "isolated": "fail",
    }
    assert found.outcome() == "fail"
    named = compare([BASE], [SLOWER], gates=[parse_gate("latency_p99[planted]=10%")])
    assert [(one.held.case, one.outcome) for one in named.gates] == [("planted", "pass")]


def test_a_peer_is_a_control() -> None:
    def of(slower: float, number: int):
        ours, theirs = (Case(name, {"candidate": name}) for name in ("lorabench", "torch"))
        values = {
            ("lookup_row_s", ours): blocks(8e-9),
            ("lookup_row_s", theirs): blocks(9e-9 * slower),
        }
        return document(values, number=number)

    found = compare([of(1.0, 0)], [of(2.0, 1)], gates=[parse_gate("lookup_row_s=5%")])
    assert [one.held.case for one in found.gates] == ["lorabench"]
    assert {one.case: one.control for one in found.rows} == {"lorabench": False, "torch": True}


def test_what_loadgen_drives_is_a_control() -> None:
    def of(slower: float, number: int):
        driven = (
            Case(f"{condition}@{by}", {"condition": condition, "load_generator": by})
            for condition, by in (("solo", "own"), ("solo", "mlperf"), ("isolated", "mlperf"))
        )
        values = {("latency_p99", case): blocks(1e-3 * slower) for case in driven}
        return document({("latency_p99", "isolated"): blocks(1e-3)} | values, number=number)

    sides = [of(1.0, 0)], [of(2.0, 1)]
    found = compare(*sides, gates=[parse_gate("latency_p99=5%")])
    assert [one.held.case for one in found.gates] == ["isolated"]
    assert {one.case for one in found.rows if not one.control} == {"isolated"}
    named = compare(*sides, gates=[parse_gate("latency_p99[isolated@mlperf]=5%")])
    assert named.outcome() == "fail"


def test_a_gate_on_more_is_better_fails_where_less_came() -> None:
    gates = [parse_gate("train_samples_per_s=10%")]
    assert compare([BASE], [SLOWER], gates=gates).outcome() == "pass"
    assert compare([SLOWER], [BASE], gates=gates).outcome() == "fail"


def test_a_gate_about_nothing_is_refused_with_what_there_is() -> None:
    for text, expected in (
        (
            "latency_p9=5%",
            "found no metric of that name on both sides, expected one as latency_p99",
        ),
        ("latency_p99[pinned]=5%", "found latency_p99 in no such case, expected one of isolated, "),
        ("latency_impact=5%", "may lie on either side of zero"),
    ):
        with pytest.raises(InputError, match=expected):
            compare([BASE], [SLOWER], gates=[parse_gate(text)])


def test_a_gate_whose_value_is_gone_fails_and_of_a_single_one_cannot_tell() -> None:
    gone = document({("auc", "isolated"): blocks(0.7)}, number=2)
    base = document({("auc", "isolated"): blocks(0.7), ("latency_p99", "solo"): blocks(1e-3)})
    (found,) = compare([base], [gone], gates=[parse_gate("latency_p99=5%")]).gates
    assert (found.outcome, found.reason) == ("fail", "head has no such value, and base has one")
    (found,) = compare([BASE], [SLOWER], gates=[parse_gate("capacity_qps=5%")]).gates
    assert found.outcome == "unknown"


def test_a_rate_that_drops_to_nothing_fails_its_gate() -> None:
    def of(values: list[float], number: int):
        return document({("train_samples_per_s", "isolated"): values}, number=number)

    base, gates = of(blocks(4e4), 3), [parse_gate("train_samples_per_s=10%")]
    stopped, slower = of([0.0] * 8, 4), of([0.0, *blocks(2e4, 7)], 5)
    assert compare([base], [stopped], gates=gates).outcome() == "fail"
    assert compare([base], [slower], gates=gates).outcome() == "fail"
    # What base does not do at all, head may not begin with.
    diverged = [
        document({("diverged", "isolated"): [value] * 8}, number=n) for n, value in ((6, 0), (7, 1))
    ]
    gates = [parse_gate("diverged=5%")]
    assert compare(diverged[:1], diverged[1:], gates=gates).outcome() == "fail"
    assert compare(diverged[:1], diverged[:1], gates=gates).outcome() == "pass"


def test_values_that_head_lacks_speak_against_it() -> None:
    def of(values: list[float | None], number: int):
        return document({("update_latency_p95", "isolated"): values}, number=number)

    base = of(blocks(0.05, 20), 0)
    few: list[float | None] = [*blocks(0.05, 6), *[None] * 14]
    gates = [parse_gate("update_latency_p95=10%")]
    found = compare([base], [of(few, 1)], gates=gates, paired=True)
    assert [(one.outcome, one.reason) for one in found.gates] == [
        ("fail", "0 of 20 blocks of base and 14 of 20 of head have no value")
    ]
    both = compare([of(few, 0)], [of(few, 1)], gates=gates, paired=True)
    assert both.outcome() == "pass"


def test_latencies_at_unlike_loads_pass_no_gate() -> None:
    def of(qps: float, number: int):
        values = {("latency_p99", "solo"): blocks(1e-3), ("offered_qps", "solo"): [qps]}
        return document({**values, ("auc", "solo"): blocks(0.7, sigma=0.005)}, number=number)

    gates = [parse_gate("latency_p99=20%"), parse_gate("auc=5%")]
    found = compare([of(1000, 0)], [of(950, 1)], gates=gates)
    assert [one.outcome for one in found.gates] == ["unknown", "pass"]
    assert "measure both at one --qps" in found.gates[0].reason
    assert compare([of(1000, 0)], [of(990, 1)], gates=gates).outcome() == "pass"


def test_blocks_of_the_same_processes_count_for_fewer() -> None:
    def of(levels: list[float], number: int):
        values = [level * one for level in levels for one in blocks(1e-3, 8, 0.005)]
        made = document({("latency_p99", "solo"): values}, number=number, saturated={"solo": 0})
        rounds = [
            made.rounds[0].model_copy(update={"index": n, "processes": n // 8}) for n in range(24)
        ]
        return made.model_copy(update={"rounds": rounds})

    base, head = of([1.0, 1.0, 1.0], 0), of([1.05, 1.0, 1.08], 1)
    change = row(compare([base], [head], paired=True), "latency_p99").change
    assert change.freedom < 3
    plain = [one.model_copy(update={"rounds": []}) for one in (base, head)]
    assert row(compare(plain[:1], plain[1:], paired=True), "latency_p99").change.freedom == 23


def test_a_queue_that_only_grew_is_no_latency_but_worse() -> None:
    values = {("latency_p99", "solo"): blocks(1e-3, 10), ("latency_p99", "pinned"): blocks(1e-3)}
    calm, stuck = document(values), document(values, number=1, saturated={"pinned": 6})
    gates = [parse_gate("latency_p99=90%")]
    found = compare([calm], [stuck], gates=gates)
    told = "the queue only grew in 0 of 10 blocks of base and 6 of 10 of head"
    assert (row(found, "latency_p99", "pinned").verdict, row(found, "latency_p99").verdict) == (
        "worse",
        "no difference shown",
    )
    assert [(one.outcome, one.reason) for one in found.gates if one.held.case == "pinned"] == [
        ("fail", told)
    ]
    back = compare([stuck], [calm], gates=gates)
    assert row(back, "latency_p99", "pinned").verdict == "could not have seen it"
    assert back.outcome() == "unknown"
    once = compare([calm], [document(values, number=1, saturated={"pinned": 1})], gates=gates)
    assert once.outcome() == "pass"
    # On a busy machine that happens to a version that is no slower.
    twice = compare([calm], [document(values, number=1, saturated={"pinned": 2})], gates=gates)
    assert row(twice, "latency_p99", "pinned").verdict == "could not have seen it"
    assert twice.outcome() == "unknown"


def test_pairs_are_enough_once_every_gate_or_every_p99_is_decided() -> None:
    def pair(sigma: float):
        noise = blocks(1.0, 8, sigma)
        base = document({("latency_p99", "solo"): [1e-3] * 8})
        return base, document({("latency_p99", "solo"): [1e-3 * one for one in noise]}, number=1)

    def enough(base, head, gates=()) -> bool:
        sides = [Side.measured([one.metrics]) for one in (base, head)]
        rows = rows_of(*sides, gates=gates, paired=True)
        return settled(rows, verdicts(gates, rows, *sides, 0.025))

    for sigma, known in ((0.02, True), (0.3, False)):
        base, head = pair(sigma)
        gates = [parse_gate("latency_p99=5%")]
        assert enough(base, head) == known
        assert enough(base, head, gates) == known
    other = document({("auc", "solo"): blocks(0.7)})
    assert not enough(other, other)


def test_the_words_say_how_the_sides_were_measured() -> None:
    found = compare([BASE], [SLOWER])
    assert found.notes == (
        "Each side was measured on its own, and sessions differ by more than an interval within "
        "one shows: only lorabench compare --run measures two versions in turn.",
    )
    assert compare([BASE], [SLOWER], paired=True).notes == ()
    kernels = [one.model_copy(update={"rounds": []}) for one in (BASE, SLOWER)]
    (note,) = compare(kernels[:1], kernels[1:], paired=True).notes
    assert note.startswith("Each side is one process")
    partial = document({("auc", "solo"): [0.7]}, number=3, partial=True)
    notes = compare([partial], [partial]).notes
    assert "1 of 1 runs of base ended before their time." in notes
    assert "A run is on both sides: it is compared with itself." in notes


def test_unlike_loads_are_told_or_are_another_run() -> None:
    def at(qps: float, number: int):
        values = {("offered_qps", "solo"): [qps], ("latency_p99", "solo"): blocks(1e-3)}
        return document(values, number=number)

    near = compare([at(1000.0, 0)], [at(950.0, 1)])
    assert near.differences == ()
    assert "Base was offered 1,000 queries/s and head 950" in near.notes[-1]
    far = compare([at(1000.0, 0)], [at(800.0, 1)])
    assert list(map(str, far.differences)) == ["load: offered: 1,000 queries/s and 800 queries/s"]


def test_documents_without_a_metric_in_common_or_with_one_twice_are_refused() -> None:
    with pytest.raises(InputError, match="found no metric that both sides have"):
        compare([BASE], [document({})])
    twice = BASE.model_copy(update={"metrics": [*BASE.metrics, BASE.metrics[0]]})
    with pytest.raises(
        InputError, match=r"found latency_p99\[solo\] twice in a run, expected it once"
    ):
        compare([twice], [SLOWER])


def test_a_metric_of_another_version_is_compared_by_its_values() -> None:
    def of(values: list[float], number: int):
        known = document({("auc", "solo"): values}, number=number)
        renamed = [metric.model_copy(update={"name": "future"}) for metric in known.metrics]
        return known.model_copy(update={"metrics": renamed})

    found = compare([of([1.0, 2.0], 0)], [of([-1.0, 2.0], 1)])
    assert found.rows[0].change.kind == "difference"


def test_as_a_document_it_has_every_figure_and_no_other_number_than_json_knows() -> None:
    found = compare([BASE], [SLOWER], gates=[parse_gate("latency_p99[isolated]=10%")])
    document_ = json.loads(json.dumps(as_document(found), allow_nan=False))
    assert document_["schema"] == "lorabench.comparison/1"
    assert document_["outcome"] == "fail"
    (gate,) = document_["gates"]
    assert (gate["metric"], gate["case"], gate["tolerance"]) == ("latency_p99", "isolated", 0.1)
    assert gate["change"]["interval"][0] > 1.1
    assert len(document_["rows"]) == len(found.rows) == 7
    assert document_["only_in"]["head"] == ["auc[isolated]"]
