"""On a machine whose noise is known, calibrate tells what the bench can tell there."""

import io
import re
from dataclasses import replace
from pathlib import Path

import colocate_samples as samples
import pytest
from rich.console import Console

from lorabench.bench.progress import ProgressObserver
from lorabench.bench.runner import document
from lorabench.errors import InputError
from lorabench.experiments.calibrate.options import CalibrateOptions
from lorabench.experiments.calibrate.run import Calibrate
from lorabench.experiments.calibrate.view import render
from lorabench.results.schema import Result


def calibrate(path: Path, **options) -> Result:
    experiment = Calibrate(CalibrateOptions(path, **options))
    experiment.measure(ProgressObserver(None, None))
    found = experiment.findings()
    assert found is not None
    return document("calibrate", found)


def calibrated(folder: Path, weather: samples.Weather, **options) -> Result:
    return calibrate(samples.write(folder / "run.json", samples.arrays(weather)), **options)


def shown(result: Result, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    render(result, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def value(result: Result, name: str, **labels) -> float | None:
    (metric,) = result.select(name, **labels)
    return metric.estimate


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return calibrated(tmp_path_factory.mktemp("calm"), samples.CALM)


@pytest.fixture(scope="module")
def stormy(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return calibrated(tmp_path_factory.mktemp("stormy"), samples.STORMY)


RAW, UNSTALLED = "latency_p99", "latency_p99_unstalled"


def test_a_calm_machine_shows_every_slowdown_at_the_first_look(calm: Result) -> None:
    for measure in (RAW, UNSTALLED):
        for ratio, bound in ((1.1, 1.0), (1.15, 1.0), (1.2, 1.0), (1.2, 1.1)):
            labels = {"measure": measure, "ratio": ratio, "bound": bound}
            assert value(calm, "slowdown_seen_share", **labels) == 1
            assert value(calm, "blocks_needed", **labels) == 8
        assert value(calm, "met_share", measure=measure) == 1


def test_false_verdicts_are_few_and_as_many_at_the_limit_as_at_one(calm: Result) -> None:
    def share(verdict: str) -> float | None:
        return value(calm, "false_verdict_share", measure=RAW, verdict=verdict)

    assert share("missed") == share("above")
    assert share("met") == share("below")
    assert 0 < max(share("missed") or 0, share("met") or 0) < 0.06


def test_stalls_of_the_host_hide_what_untouched_queries_show(stormy: Result) -> None:
    labels = {"ratio": 1.15, "bound": 1.0}
    raw, unstalled = (
        value(stormy, "slowdown_seen_share", measure=measure, **labels)
        for measure in (RAW, UNSTALLED)
    )
    assert raw is not None
    assert 0.05 < raw < 0.95
    assert unstalled == 1
    noise = value(stormy, "aa_log_ratio_sd", condition=RAW)
    assert noise is not None
    assert noise > 3 * (value(stormy, "aa_log_ratio_sd", condition=UNSTALLED) or 0)


def test_the_claim_is_of_the_error_that_raw_runs_made_most_often(stormy: Result) -> None:
    claim = stormy.claims[0]
    errors = [metric.estimate for metric in stormy.select("false_verdict_share", measure=RAW)]
    assert (claim.id, claim.target, claim.basis) == ("bench.false_verdicts", 0.025, "derived")
    assert claim.measured == max(errors)
    assert claim.ci95 is not None
    assert claim.ci95[0] < claim.measured < claim.ci95[1]


def test_the_curves_rise_to_certainty_and_fall_to_the_first_look(stormy: Result) -> None:
    curves = {(one.name, one.condition): one for one in stormy.series}
    assert len(curves) == 4
    seen = curves["slowdown_seen_share", RAW]
    assert (seen.x[0], seen.x[-1]) == (0, 1)
    assert seen.y == sorted(seen.y)
    assert seen.y[-1] == 1
    needed = curves["blocks_needed", RAW]
    assert needed.y == sorted(needed.y, reverse=True)
    assert needed.x[0] > 0  # nobody sees what is not there


def test_a_longer_run_sees_less(tmp_path: Path) -> None:
    weather = replace(samples.CALM, slice_sigma=0.2)
    short, long = (calibrated(tmp_path, weather, minutes=minutes) for minutes in (1.0, 10.0))
    found = [
        value(result, "least_slowdown_seen", measure=RAW, minutes=minutes) or 0.0
        for result, minutes in ((short, 1.0), (long, 10.0))
    ]
    assert found[0] > found[1] > 0


def test_the_same_seed_gives_the_same_result(tmp_path: Path) -> None:
    path = samples.write(tmp_path / "run.json", samples.arrays(samples.STORMY))
    one, same, other = (calibrate(path, runs=100, seed=seed) for seed in (1, 1, 2))
    assert (one.metrics, one.series, one.claims) == (same.metrics, same.series, same.claims)
    assert one.config_hash == same.config_hash != other.config_hash
    assert one.metrics != other.metrics


def test_the_document_is_of_the_machine_that_measured(calm: Result) -> None:
    assert calm.environment == {"cpu": {"brand_raw": "A Processor"}}
    assert calm.config["result"]["slices"] == 48
    assert calm.config["looks"]["blocks"] == [8, 16, 24, 32, 40]


def test_too_few_queries_for_a_p99_are_refused(tmp_path: Path) -> None:
    weather = replace(samples.CALM, queries=300)
    with pytest.raises(InputError) as caught:
        calibrated(tmp_path, weather)
    assert str(caught.value) == (
        f"{tmp_path}/run.json: found at most 2,160 measured queries of solo and solo_repeat in a "
        "block, expected 4,000 for two p99; measure for longer, or at more queries a second"
    )


def test_without_enough_untouched_queries_only_raw_latencies_tell(tmp_path: Path) -> None:
    found = samples.arrays(replace(samples.CALM, queries=600))
    for name in found:
        if name.endswith("/touched"):
            found[name][::2] = True
    result = calibrate(samples.write(tmp_path / "run.json", found), runs=100)
    assert {m.labels.get("measure") for m in result.metrics} == {None, RAW}
    assert UNSTALLED not in {m.condition for m in result.metrics}
    assert [missing.what for missing in result.unavailable] == [UNSTALLED]
    assert f"{UNSTALLED}: unavailable" in shown(result)


def test_the_table_fits_a_terminal_and_a_sentence_says_what_it_means(
    calm: Result, stormy: Result
) -> None:
    for result in (calm, stormy):
        text = shown(result)
        assert max(map(len, text.splitlines())) <= 80
        assert "…" not in text
        said = " ".join(text.split())
        assert "A run of 10 minutes on this machine (40 blocks of " in said
        assert re.search(r"a slowdown of [0-9.]+ % \([0-9.]+ to [0-9.]+\) in 9 of 10 cases\.", said)
        assert "bench.false_verdicts " in said
    said = " ".join(shown(calm).split())
    assert "Where nothing is slower, 100 % of runs of up to 40 blocks end with met at 1.10." in said
    assert "10 % slower: seen 100 % [99..100] 8 100 % [99..100] 8" in said


@pytest.mark.parametrize(
    ("minutes", "said"),
    [
        (
            0.5,
            "A run of 0.5 minutes on this machine holds 3 blocks of 8.4 s: too few for a verdict",
        ),
        (1.0, "A run of 1 minute on this machine (7 blocks of 8.4 s) sees a slowdown of "),
    ],
)
def test_the_sentence_is_about_a_run_of_that_length(tmp_path: Path, minutes, said: str) -> None:
    result = calibrated(tmp_path, samples.CALM, minutes=minutes, runs=100)
    assert said in " ".join(shown(result).split())


def test_a_run_that_sees_nothing_is_called_that(calm: Result) -> None:
    blind = [
        metric.model_copy(update={"estimate": None})
        if metric.name in ("least_slowdown_seen", "met_share")
        else metric
        for metric in calm.metrics
    ]
    text = " ".join(shown(calm.model_copy(update={"metrics": blind})).split())
    assert "sees no slowdown in 9 of 10 cases, however large." in text
    assert "Where nothing is slower" not in text


def test_a_slowdown_that_nothing_bounds_is_so_much_or_more(calm: Result) -> None:
    open_ended = [
        metric.model_copy(update={"estimate": 0.123, "ci95": None})
        if metric.name == "least_slowdown_seen"
        else metric
        for metric in calm.metrics
    ]
    text = " ".join(shown(calm.model_copy(update={"metrics": open_ended})).split())
    assert "sees a slowdown of 13 % or more in 9 of 10 cases." in text


def test_blocks_that_were_left_out_are_counted(calm: Result) -> None:
    config = calm.config | {"result": calm.config["result"] | {"blocks_left_out": 1}}
    text = " ".join(shown(calm.model_copy(update={"config": config})).split())
    assert "; left out for having too few: 1" in text


def test_many_recorded_blocks_tell_more_exactly_than_few(tmp_path: Path) -> None:
    weather = replace(samples.CALM, queries=600, slice_sigma=0.3, cases=samples.CONTROLS)
    widths = []
    for blocks in (4, 32):
        found = calibrated(tmp_path, replace(weather, blocks=blocks))
        (metric,) = found.select("least_slowdown_seen", measure=RAW)
        assert metric.ci95 is not None
        widths.append(metric.ci95[1] - metric.ci95[0])
    assert 0 < widths[1] < widths[0]


def test_what_blocks_differ_by_falls_on_both_versions(calm: Result, tmp_path: Path) -> None:
    labels = {"measure": RAW, "ratio": 1.15}
    alike = calibrated(tmp_path, replace(samples.CALM, block_sigma=0.0))
    for one in (calm, alike):
        assert (value(one, "gate_found_share", **labels) or 0) > 0.95
        assert (value(one, "gate_false_alarm_share", measure=RAW) or 0) < 0.02
        assert 0.05 < (value(one, "least_slowdown_found", measure=RAW) or 0) < 0.15
        assert 0 < (value(one, "least_tolerance_passed", measure=RAW) or 0) < 0.05
    noise = [value(one, "aa_pair_log_ratio_sd", condition=RAW) or 0 for one in (calm, alike)]
    assert noise[0] == pytest.approx(noise[1], rel=0.3)


def test_what_slices_differ_by_hides_a_slowdown(tmp_path: Path) -> None:
    labels = {"measure": RAW, "ratio": 1.15}
    windy = calibrated(tmp_path, replace(samples.CALM, slice_sigma=0.5))
    assert (value(windy, "gate_found_share", **labels) or 0) < 0.5
    assert (value(windy, "gate_unknown_share", measure=RAW, ratio=1.0) or 0) > 0.5
    assert (value(windy, "least_slowdown_found", measure=RAW) or 0) > 0.15


def test_shares_of_comparisons_are_told_with_verdicts_and_in_sentences(
    calm: Result, tmp_path: Path
) -> None:
    assert [claim.id for claim in calm.claims[1:]] == [
        "bench.gate_false_alarms",
        "bench.gate_sight",
    ]
    assert calm.config["pairs"] == 39
    text = " ".join(shown(calm).split())
    assert "400 comparisons of two versions of at most 39 pairs of blocks, a gate of 5 %" in text
    assert re.search(r"fails a gate of 5 % in 9 of 10 cases where p99 is [0-9.]+ % \(.*\) up", text)
    assert re.search(r"9 of 10 comparisons pass a gate of [0-9.]+ % \([0-9.]+ to [0-9.]+\)\.", text)
    short = calibrated(tmp_path, samples.CALM, compare_minutes=1.0, runs=100)
    assert [claim.verdict for claim in short.claims[1:]] == ["unavailable"] * 2
    assert not list(short.select("gate_found_share"))
    said = (
        "A comparison of 1 minute (2 pairs of blocks) is too short for a gate, which takes 6 pairs."
    )
    assert said in " ".join(shown(short).split())


def test_a_wider_gate_is_passed_more_often(tmp_path: Path) -> None:
    tight, wide = (calibrated(tmp_path, samples.CALM, tolerance=share) for share in (1.0, 30.0))
    shares = [value(one, "gate_unknown_share", measure=RAW, ratio=1.0) for one in (tight, wide)]
    assert (shares[0] or 0) > (shares[1] or 0)
    assert wide.claims[2].verdict != "met"


def test_a_document_without_comparisons_is_shown_without_them(calm: Result) -> None:
    config = {name: part for name, part in calm.config.items() if name != "pairs"}
    text = shown(calm.model_copy(update={"config": config}))
    assert "comparison" not in text.partition("bench.")[0]
