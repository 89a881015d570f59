"""A result of seven strategies in 80 columns."""

import io
from collections.abc import Sequence

import pytest
from rich.console import Console

from lorabench.bench.experiment import Findings
from lorabench.bench.runner import document
from lorabench.experiments.freshness import view
from lorabench.experiments.freshness.metrics import FreshnessTable
from lorabench.experiments.freshness.quality import Quality, Replayed, Replicate, blocks_of
from lorabench.model import fbgemm
from lorabench.strategies.registry import parse

NAMES = ("none", "lora", "lora-r2", "lora-r4", "lora-r4-random", "lora-r8", "ideal")
WINDOWS = 12


def replicate(seed: int, diverged: str = "", names: Sequence[str] = NAMES) -> Replicate:
    strategies = []
    for number, name in enumerate(names):
        areas = [0.7 + 0.01 * number + 0.001 * (7 * seed * w % 5) for w in range(WINDOWS)]
        found = Replayed(parse(name), Quality(WINDOWS, areas, areas, 0.7), done=True)
        if parse(name).kind.resumable:
            found.by_window = {"rank": [4.0] * WINDOWS, "lora_used_bytes": [12_345_678.0] * WINDOWS}
            found.at_end = {"rebases": [3.0], "guard_trips": [0.0]}
            found.peak_bytes = {"slots": 1_000_000}
        found.diverged = name == diverged
        strategies.append(found)
    times = [3600.0 * number for number in range(WINDOWS)]
    ceiling = Quality(WINDOWS, [0.9] * WINDOWS, [0.5] * WINDOWS, 0.9)
    return Replicate(seed, 100_000_000, 20_000, "pre-trained", times, strategies, ceiling)


def shown(replays, blocks: int = 1, **config: object) -> str:
    measured = FreshnessTable(replays, blocks_of(WINDOWS, blocks))
    measured.fill()
    replicates = {
        "of": "seeds" if blocks == 1 else "time",
        "seeds": [one.seed for one in replays],
        "windows": [len(block) for block in blocks_of(WINDOWS, blocks)],
    }
    told = {
        "replicates": replicates,
        "model": {"origin": "pre-trained", "pretrain_rows": 20_000},
        "learning_rates": dict.fromkeys(NAMES[1:], 0.3),
        "accumulator_decays": dict.fromkeys(NAMES[1:], 0.5),
    }
    found = Findings(told | config, None, measured.table, series=measured.series)
    page = io.StringIO()
    view.render(document("freshness", found), Console(file=page, width=80))
    return page.getvalue()


@pytest.fixture(scope="module")
def page() -> str:
    return shown([replicate(seed) for seed in range(5)])


def line(page: str, start: str, behind: str = "") -> str:
    """Return the first line that begins so, behind a text."""
    rest = page[page.index(behind) :]
    return next(one for one in rest.splitlines() if one.startswith(start))


def test_seven_strategies_stay_legible_in_80_columns(page) -> None:
    assert max(map(len, page.splitlines())) <= 80
    assert "…" not in page
    assert len(line(page, " 0.00").split()) == 1 + len(NAMES) + 1
    assert len(line(page, " mean").split()) == 1 + len(NAMES) + 1


def test_recovered_shares_and_differences_have_their_intervals(page) -> None:
    assert line(page, "lora-r4-random", "share of the AUC gap").split()[1:3] == [
        "66.7",
        "[66.7..66.7]",
    ]
    row = line(page, "lora - none", "difference of mean AUC")
    assert "+1.00 [+1.00..+1.00]" in row
    assert row.endswith("0 of 60")
    assert "lora - ideal" not in page
    assert "5 replicates, seeds 0 to 4" in page
    assert "[a..b]: 95 % interval" in page
    assert "shows: a true difference" in page
    assert "by this run's own spread" in " ".join(page.split())


def test_blocks_of_time_are_told_from_seeds() -> None:
    page = shown([replicate(0)], blocks=5)
    assert "5 replicates: blocks of time of one stream, of 2 or 3 windows" in page
    assert "model: pre-trained" in page
    assert line(page, "lora - none", "difference of mean AUC").endswith("0 of 12")
    assert "include how models age" in " ".join(page.split())
    assert "shows" not in page
    assert "of one stream, of 1 window;" in shown([replicate(0)], blocks=WINDOWS)
    assert "not what another stream would give" in " ".join(page.split())


def test_two_replicates_show_neither_intervals_nor_what_could_be_shown() -> None:
    page = shown([replicate(seed) for seed in range(2)])
    assert "[" not in page
    assert "shows" not in page
    assert "+1.00" in line(page, "lora - none", "difference of mean AUC")


@pytest.mark.parametrize(
    ("names", "pair"),
    [
        (("lora", "ideal"), "lora - ideal"),
        (("ideal", "lora"), "ideal - lora"),
        (("ideal", "ideal-fbgemm"), "ideal - ideal-fbgemm"),
        (("none", "ideal", "ideal-fbgemm"), "ideal - ideal-fbgemm"),
    ],
)
def test_a_pair_with_ideal_is_shown_where_no_share_of_a_gap_says_it(
    names, pair, monkeypatch
) -> None:
    monkeypatch.setattr(fbgemm, "unavailable", lambda: None)
    page = shown([replicate(seed, names=names) for seed in range(3)])
    assert "-1.00 [-1.00..-1.00]" in line(page, pair, "difference of mean AUC")


def test_what_learns_no_faster_than_is_known_has_its_other_figures(page) -> None:
    row = line(page, "lora-r8", "learners, means").split()
    assert row == ["lora-r8", "-", "4.0", "11.77", "1.00", "3.0", "0.0"]


def test_one_replay_has_no_intervals() -> None:
    page = shown([replicate(0)])
    assert "[a..b]" not in page
    assert "shows:" not in page


def test_a_strategy_that_diverged_is_named() -> None:
    page = shown([replicate(0, "lora-r2"), replicate(1), replicate(2), replicate(3)])
    assert "lora-r2 diverged in 1 of 4 seeds" in page
    assert line(page, "lora-r2 - none").endswith("0 of 36")
    assert "lora-r2 diverged: what" in shown([replicate(0, "lora-r2")])


def test_what_tuning_could_not_settle_is_told() -> None:
    tried = [[0.15, 0.5, 0.9], [0.3, 0.5, 0.8], [0.6, 0.5, None]]
    page = shown([replicate(0)], tuning={"lora": tried})
    assert "chosen on a held-out seed" in page
    assert "lora diverged while tuned, at 0.6 x 0.5" in page
    assert "lora's rate is the last of those tried" in page


def test_where_tuning_learned_nothing_that_is_told_instead_of_a_choice() -> None:
    tuning = {
        "lora": [[0.15, 0.5, 0.9], [0.3, 0.5, 0.9], [0.6, 0.5, 0.9]],
        "ideal": [[0.15, 0.5, 0.9], [0.3, 0.5, 0.8], [0.6, 0.5, 0.9]],
    }
    rates = dict.fromkeys(tuning, 0.3)
    page = " ".join(shown([replicate(0)], tuning=tuning, learning_rates=rates).split())
    assert "chosen on a held-out seed: ideal 0.3 x 0.5" in page
    assert "losses are all equal: too few rows to learn from: lora 0.3 x 0.5" in page
    assert "rate is the last of those tried" not in page


@pytest.mark.parametrize(
    ("losses", "told"),
    [
        ((0.9, 0.8, None), "the training cluster (ideal)'s rate is the last of those tried"),
        ((0.8, 0.8, 0.8), "too few rows to learn from: lora 0.3 x 0.5, delta 0.3 x 0.5"),
    ],
)
def test_trials_of_a_cluster_nobody_serves_as_it_is_are_told_as_its_own(losses, told) -> None:
    tried = [[rate, 0.5, loss] for rate, loss in zip((0.15, 0.3, 0.6), losses, strict=True)]
    rates = dict.fromkeys(("lora", "delta"), 0.3)
    tuning = {"ideal": tried, "lora": [[0.3, 0.5, 0.9], [0.6, 0.5, 0.9]]}
    page = shown(
        [replicate(0)],
        tuning=tuning,
        learning_rates=rates,
        accumulator_decays=dict.fromkeys(rates, 0.5),
    )
    assert told in " ".join(page.split())
