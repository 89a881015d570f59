"""A result of a dozen strategies in 80 columns, and what is said beside its tables."""

import io

import numpy as np
import pytest
from rich.console import Console

from lorabench.bench.experiment import Findings
from lorabench.bench.runner import document
from lorabench.experiments.freshness import view
from lorabench.experiments.freshness.metrics import FreshnessTable
from lorabench.experiments.freshness.quality import Quality, Replayed, Replicate, blocks_of
from lorabench.strategies.registry import parse

PUSHED = ("full", "delta", "delta-int8", "priority", "priority-grad-energy-10", "stream")
NAMES = ("none", *PUSHED, "lora", "lora-r4-random", "lora+delta", "memory", "ideal")
WINDOWS = 12


def replayed(seed: int, number: int, name: str) -> Replayed:
    rng = np.random.default_rng(seed)
    areas = [0.7 + 0.004 * number + 0.001 * rng.random() for _ in range(WINDOWS)]
    found = Replayed(parse(name), Quality(WINDOWS, areas, areas, 0.7), done=True)
    slices = ("new", "cold", "hot", "unsent by priority", "unsent by priority-grad-energy-10")
    found.quality.slices = dict.fromkeys(slices, areas)
    found.staleness_s = np.full(5, 1600.0, np.float32)
    if name != "none":
        found.latency_s, found.learn_s = np.full(10, 1600.0, np.float32), 12.5
    if name in PUSHED:
        found.at_end = {"pushes": [6.0], "pushed_bytes": [1.2e13], "push_s": [1626.0]}
    if name == "full":
        found.at_end = {"pushes": [0.0], "pushed_bytes": [2e14], "push_s": [16_000.0]}
        found.latency_s = np.empty(0, np.float32)
        found.waiting_s = np.full(10, 3000.0, np.float32)
    if name.startswith(("lora", "memory")):
        found.peak_bytes = {"slots": 1_999_999}
    return found


def shown(seeds: int = 3, names: tuple[str, ...] = NAMES, **config: object) -> str:
    replays = [
        Replicate(
            *(seed, 100_000_000, 20_000, "pre-trained"),
            [3600.0 * window for window in range(WINDOWS)],
            [replayed(seed, number, name) for number, name in enumerate(names)],
            Quality(WINDOWS, [0.9] * WINDOWS, [0.5] * WINDOWS, 0.9),
        )
        for seed in range(seeds)
    ]
    measured = FreshnessTable(replays, blocks_of(WINDOWS, 1))
    measured.fill()
    told = {
        "experiment": {
            "emt_bytes": 2e14,
            "links": 1,
            "link_gbps": 100.0,
            "push_interval_s": 600.0,
        },
        "pushes": {"hosts": 2000},
        "replicates": {"of": "seeds", "seeds": list(range(seeds)), "windows": [WINDOWS]},
        "model": {"pretrain_rows": 20_000},
    }
    found = Findings(told | config, None, measured.table, series=measured.series)
    page = io.StringIO()
    view.render(document("freshness", found), Console(file=page, width=80))
    return page.getvalue()


@pytest.fixture(scope="module")
def page() -> str:
    return shown()


def row(page: str, name: str, behind: str) -> str:
    rest = page[page.index(behind) :]
    return next(one for one in rest.splitlines() if one.startswith(f"{name} "))


def test_a_dozen_strategies_stay_legible_in_80_columns(page) -> None:
    assert max(map(len, page.splitlines())) <= 80
    assert "…" not in page
    assert "hours" not in page
    assert "AUC by window: in the result's series" in page
    # A long name is broken at its dashes, and all there.
    assert "priority-grad- " in page
    assert "\n energy-10 " in page


def test_each_strategy_has_its_quality_and_what_it_takes(page) -> None:
    cells = row(page, "stream", "strategies, means").split()
    assert (cells[1], cells[-2:]) == ("0.7245", ["26.7", "min"])
    assert cells[3:5] == ["+1.60", "±0.00*"]
    assert row(page, "lora+delta", "what that takes").split()[-2:] == ["12.5", "2.00"]
    cost = row(page, "delta", "what that takes")
    assert "12 TB" in cost
    assert "27.1 min" in cost
    assert "+1.60" in row(page, "stream", "AUC of the thirds")


def test_pairs_told_elsewhere_are_not_told_again(page) -> None:
    pairs = page[page.index("difference of mean AUC") : page.index("AUC of the thirds")]
    assert "lora - stream" in pairs
    assert "- none" not in pairs
    assert "- delta " not in pairs


def test_what_never_landed_is_told_with_its_link_and_scale(page) -> None:
    text = " ".join(page.split())
    assert (
        "the tables stand for 200TB over 2,000 hosts; one 100 Gbit/s link; a push every 10 min"
    ) in text
    assert "full: the first push, of 4.44 h, had not landed when the replay ended" in text
    assert "labels not served when the replay ended: full 100 %" in text
    assert ">50 min" in row(page, "full", "strategies, means")


def test_fronts_are_told_the_cheapest_first(page) -> None:
    fronts = page[page.index("nobody recovers more for less") :]
    assert row(fronts, "bytes on the link", "").split()[-1] == "memory"
    # The best that can be had is on every front: what it takes differs.
    assert all("memory" in row(fronts, cost, "") for cost in ("bytes held", "core-seconds"))


def test_rows_without_times_or_of_one_class_are_told() -> None:
    workload = {"kind": "criteo-tsv", "spec": {"rows_per_s": 75.8}}
    replicates = {
        "of": "time",
        "seeds": [0],
        "windows": [WINDOWS],
        "rows": [1000],
        "one_class_windows": [3],
    }
    page = shown(1, ("none", "ideal"), workload=workload, replicates=replicates)
    assert "they are taken to come at 75.8 a second" in " ".join(page.split())
    assert "AUC undefined in 3 of 12 windows: one class only" in page
