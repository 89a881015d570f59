"""Sweeps: a point is what a run of its own would be, and what can be shared is replayed once."""

import io
import re
from dataclasses import replace

import pytest
from interrupting import Interrupting
from rich.console import Console

from lorabench.bench.runner import document
from lorabench.cli import app
from lorabench.errors import InputError
from lorabench.experiments.freshness import view
from lorabench.experiments.freshness.options import FreshnessOptions
from lorabench.experiments.freshness.run import Freshness
from lorabench.experiments.freshness.sweep import Sweep
from lorabench.report.sections.reader import Reader
from lorabench.report.sections.sweeps import sweeps
from lorabench.results.case import Case


@pytest.fixture(scope="module")
def options(freshness_spec, tmp_path_factory) -> FreshnessOptions:
    """Times are given, so that two runs are alike to the bit."""
    given = tmp_path_factory.mktemp("sweep") / "times.toml"
    given.write_text(
        '[seconds_per_sample]\n"lora" = 1e-5\n"lora-r2" = 1e-5\n"cluster" = 1e-5\n'
        "[seconds_per_byte]\nencode = 1e-10\napply = 1e-10\n"
    )
    return FreshnessOptions(
        preset=str(freshness_spec),
        windows=2,
        memory_budget=0.2,
        drift_strength=4.0,
        seeds=2,
        compute_model=str(given),
    )


def measured(run):
    run.measure(Interrupting())
    return run.findings()


def shown(found) -> str:
    page = io.StringIO()
    view.render(document("freshness", found), Console(file=page, width=80))
    return page.getvalue()


@pytest.fixture(scope="module")
def found(options):
    return measured(
        Sweep(
            replace(
                options,
                strategies=("lora-r2", "delta", "none"),
                sweep=("push-interval=4,1", "emt-bytes=1GB,20TB"),
                sweep_of=("lora-r2", "delta"),
            )
        )
    )


def test_a_point_is_what_a_run_of_its_own_gives(options, found) -> None:
    alone = measured(
        Freshness(
            replace(options, strategies=("lora-r2", "delta"), push_interval_s=4.0, emt_bytes=20e12)
        )
    )
    where = "push-interval 4 s, emt-bytes 20TB"
    for name, case in (("delta", f"delta, {where}"), ("lora-r2", "lora-r2")):
        assert found.table.values("auc", case) == alone.table.values("auc", name)
    assert found.table.values("auc_difference", f"lora-r2 - delta, {where}") == pytest.approx(
        [
            ours - theirs
            for ours, theirs in zip(
                alone.table.values("auc", "lora-r2"),
                alone.table.values("auc", "delta"),
                strict=True,
            )
        ]
    )


def test_what_does_not_depend_on_a_point_is_there_once(found) -> None:
    cases = [str(case) for case in found.table.named("auc")]
    assert cases.count("none") == cases.count("lora-r2") == 1
    assert sum(case.startswith("delta, ") for case in cases) == 4
    assert len(found.table.named("auc_difference")) == 4
    labels = {tuple(sorted(case.labels)) for case in found.table.named("auc_difference")}
    assert labels == {("against", "emt_bytes", "push_interval_s", "strategy")}


def test_grid_and_crossover_line_are_shown_and_reported(found) -> None:
    text = shown(found)
    words = " ".join(text.split())
    assert "lora-r2 - delta, points of AUC, by push-interval and emt-bytes" in words
    assert "along push-interval, emt-bytes 1GB: no change of sign; at no point is the" in words
    assert re.search(r"along emt-bytes, push-interval 4 s: changes sign at [0-9.]+[GT]B", words)
    assert "between 1GB and 20TB" in words
    (line,) = found.table.named("crossover_emt_bytes").keys() & {
        Case("lora-r2 - delta along emt-bytes, push-interval 4 s")
    }
    assert 1e9 < found.table.estimate("crossover_emt_bytes", line).value < 20e12
    assert not [line for line in text.splitlines() if "…" in line]
    (section,) = sweeps(Reader(document("freshness", found)))
    assert [figure.title for figure in section.figures] == [
        "Difference of AUC by push-interval",
        "Difference of AUC by emt-bytes",
    ]


def test_points_that_cannot_be_run_are_unavailable(options) -> None:
    """tiny-like rows drift in their shared taste alone, and D is 16."""
    sweep = Sweep(
        replace(
            options,
            strategies=("lora", "none"),
            sweep=("drift-kind=shared-taste,trades", "rank=2,99"),
            sweep_of=("lora", "none"),
            seeds=1,
            rows=512,
        )
    )
    found = measured(sweep)
    (case,) = found.table.named("auc_difference")
    assert (case.labels["drift_kind"], case.labels["rank"]) == ("shared-taste", 2)
    whys = {missing.what: missing.why for missing in found.unavailable}
    assert len(whys) == 3
    assert "found 99" in whys["drift-kind shared-taste, rank 99"]
    assert "which has no trades" in whys["drift-kind trades, rank 2"]
    assert "too few points to say" in shown(found)


def test_another_drift_is_another_stream(options) -> None:
    found = measured(
        Sweep(
            replace(
                options,
                strategies=("none", "ideal"),
                sweep=("drift-strength=0,8",),
                sweep_of=("ideal", "none"),
                seeds=1,
                rows=5_120,
            )
        )
    )
    frozen = [
        found.table.estimate("auc", f"none, drift-strength {strength}").value for strength in (0, 8)
    ]
    assert frozen[0] > frozen[1] + 0.01
    assert "drift-strength   difference" in shown(found)


@pytest.mark.parametrize(
    ("stream", "points"), [(1, None), (2, ["0"]), (4, ["0", "8"])], ids=["none", "one", "a seed"]
)
def test_of_an_interrupted_sweep_what_is_whole_is_kept(options, stream, points) -> None:
    """A seed that all streams have; in the first, the streams that are through."""
    asked = replace(
        options,
        rows=512,
        strategies=("none", "ideal"),
        sweep=("drift-strength=0,8",),
        sweep_of=("ideal", "none"),
    )
    run = Sweep(asked)
    seed = (stream - 1) // 2
    with pytest.raises(KeyboardInterrupt):
        run.measure(Interrupting(f"stream {stream} of 4: seed {seed}: replaying", 0.5))
    found = run.findings()
    if points is None:
        assert found is None
        return
    assert found.config["replicates"]["seeds"] == [0]
    differences = found.table.named("auc_difference")
    assert [case.labels["drift_strength"] for case in differences] == [*map(float, points)]
    assert [len(values) for values in differences.values()] == [1] * len(points)
    assert "drift-strength   difference" in shown(found)


def test_of_few_rows_there_are_fewer_windows_as_without_a_sweep(options, criteo_rows) -> None:
    """As many as of 256 rows go into the 1,000 behind those that are pre-trained on."""
    asked = replace(
        options,
        preset="tiny",
        data=criteo_rows,
        drift_strength=1.0,
        seeds=None,
        windows=None,
        strategies=("delta", "none"),
        sweep=("push-interval=0.2,0.4",),
        sweep_of=("delta", "none"),
        emt_bytes=10e9,
    )
    found = measured(Sweep(asked))
    assert found.config["experiment"]["windows"] == found.config["experiment"]["seeds"] == 3
    assert found.config["replicates"]["windows"] == [1, 1, 1]
    assert [len(values) for values in found.table.named("auc_difference").values()] == [3, 3]


def test_where_no_point_can_be_run_that_is_an_error(options) -> None:
    asked = replace(options, strategies=("lora", "delta"), sweep=("push-interval=600,900",))
    with pytest.raises(InputError, match=r"--push-interval: found 600 s, expected less than the"):
        Sweep(asked)
    with pytest.raises(InputError, match="--sweep-of: found lora, which is not among"):
        Sweep(replace(asked, strategies=("none", "delta")))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--sweep", "speed=1,2"), "--sweep: found 'speed=1,2', expected NAME=V,V"),
        (("--sweep", "links=1"), "--sweep links: found '1', expected values that differ"),
        (("--sweep", "links=1,2,2"), "expected values that differ"),
        (("--sweep", "links=1,x"), "--sweep links: found 'x', expected a whole number"),
        (("--sweep", "links=0,1"), "--sweep links: found 0, expected at least 1"),
        (("--sweep", "emt-bytes=1,2"), "--sweep emt-bytes: found '1', expected a size with its"),
        (("--sweep", "drift-kind=trades,no"), "expected one of trades, newcomers"),
        (("--sweep", "links=1,2", "--sweep", "links=1,3"), "found links twice"),
        (("--sweep", "links=1,2", "--sweep-of", "lora"), "--sweep-of: found 'lora', expected two"),
        (("--sweep", "links=1,2", "--save-deltas", "d"), "--save-deltas: found it beside --sweep"),
        (("--sweep-of", "ideal,none"), "--sweep-of: found it without --sweep"),
        (("--sweep", "links=1,2", "--protocol", "monolith"), "--sweep: found it beside --protocol"),
        (("--protocol", "monolith", "--windows", "5"), "expected --shards there"),
        (("--protocol", "monolith", "--links", "2"), "--links: found it beside --protocol"),
        (("--protocol", "next-window", "--shards", "5"), "expected --windows there"),
        (("--shards", "5"), "--shards: found it without --protocol monolith"),
        (("--data", "d", "--drift-strength", "2"), "--drift-strength: found --data beside it"),
        (("--deltas", "d"), "--deltas: found it without the strategy deltas"),
        (("--strategies", "deltas"), "--strategies deltas: found it without --deltas"),
        (("--save-deltas", "d"), "--save-deltas: found none among --strategies"),
        (("--save-deltas", "d", "--strategies", "priority,stream"), "found priority, stream among"),
        (
            ("--save-deltas", "d", "--strategies", "delta", "--seeds", "2"),
            "--save-deltas: found --seeds 2 beside it, expected 1",
        ),
    ],
)
def test_options_without_effect_or_sense_are_told(options, expected) -> None:
    with pytest.raises(InputError, match=expected):
        app(["freshness", "--preset", "tiny", *options], standalone_mode=False)
