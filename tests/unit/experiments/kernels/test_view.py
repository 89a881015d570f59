"""What a `kernels` result looks like on the terminal, whether its cases have labels or texts."""

import io
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from lorabench.bench.experiment import Findings
from lorabench.bench.runner import document
from lorabench.experiments.kernels import labels
from lorabench.experiments.kernels.labels import BEST, GIB, OURS, Inputs, Point
from lorabench.experiments.kernels.view import render
from lorabench.results.case import Case
from lorabench.results.metrics import MetricTable
from lorabench.results.schema import Result, Series
from lorabench.results.upgrade import SCHEMA_1, upgrade

POINT = Point(64, 20, "uniform", 2 * GIB)
POPULAR = Point(16, 1, "zipf", 1 << 26)
PAGES = ("4k", "2m")


def lines(result: Result) -> list[str]:
    page = io.StringIO()
    render(result, Console(file=page, width=100))
    return [" ".join(line.split()) for line in page.getvalue().splitlines()]


def add_lookups(table: MetricTable) -> None:
    for point in (POINT, POPULAR):
        for at, pages in enumerate(PAGES):
            for who, took in ((OURS, 10e-9), ("torch", 20e-9)):
                table.add("lookup_row_s", labels.lookup(who, pages, point), took - at * 1e-9)
        for peer in ("torch", BEST):
            for pages in PAGES:
                table.add("lookup_speedup", labels.against(peer, pages, pages, point), 2.0)
        table.add("lookup_speedup", labels.against(BEST, "4k", "2m", point), *[2.5] * 6)
    for pages in PAGES:
        table.add("random_read_row_s", labels.limit(pages, POINT), 8e-9)
        table.add("lookup_over_limit", labels.limit(pages, POINT), 1.25)


def add_others(table: MetricTable) -> None:
    pooled, every = Inputs("pooled", 8, POINT), Inputs("all adapted", 8, POINT)
    table.add("lora_row_s", pooled.kernel("lookup"), 10e-9)
    table.add("lora_row_s", pooled.kernel("lookup_lora"), 12e-9)
    table.add("lookup_lora_ratio", pooled.case, 1.2)
    table.add("lora_hit_share", pooled.case, 0.05)
    for who, took in ((OURS, 10e-9), ("torch", 200e-9)):
        for stage in ("forward", "backward"):
            table.add("update_row_s", every.stage(who, stage), took)
    table.add("update_speedup", every.against("torch"), 20.0)
    zipf = {"ranks": 40_000_000, "exponent": 1.05}
    table.add("zipf_sample_s", labels.single("zipf_sample", "numpy", zipf), 150e-9)
    table.add("zipf_speedup", labels.single_against("zipf_sample", "numpy", zipf), 15.0)
    for dim in (16, 64):
        table.add("gram_sample_s", labels.single("gram_sample", OURS, {"dim": dim}), 5e-9)
        table.add("gram_sample_s", labels.single("gram_sample", "torch", {"dim": dim}), 6e-9)
        case = labels.single_against("gram_sample", "torch", {"dim": dim})
        table.add("gram_sample_speedup", case, dim / 10)


@pytest.fixture(scope="module")
def result() -> Result:
    table = MetricTable()
    add_lookups(table)
    add_others(table)
    case = Case("lookup, D=64, uniform", {"kernel": "lookup", "dim": 64, "distribution": "uniform"})
    series = Series(
        name="row_s_by_table_size",
        condition=case.text,
        labels=dict(case.labels),
        x=[2.0**20, 2.0**30],
        y=[1e-9, 8e-9],
        x_unit="bytes",
        y_unit="s",
    )
    config = {"rank": 8, "isa": "plain", "cpu": 1, "rounds": 6}
    return document("kernels", Findings(config, table=table, series=[series], machine={}))


def test_every_kernel_has_its_table(result: Result) -> None:
    shown = lines(result)
    for line in (
        "D L rows table pages lorabench torch",
        "64 20 unif 2G 4k 10.0 20.0",
        "64 20 unif 2G 2m 9.0 19.0",
        "16 1 zipf 64M 2m 9.0 19.0",
        "64 20 unif 2G 2.00 2.00 2.50 [2.50..2.50]",
        "64 20 unif 2G 2m 28.4 32.0 1.25",
        "64 20 unif 2G 5% 10.0 12.0 1.20",
        "64 all adapted lorabench 10.0 10.0 -",
        "64 all adapted torch 200 200 20.00",
        "Zipf, a sample 40,000,000 ranks, exponent 1.05 numpy 150 15.00",
        "Gram, a sample D=16 torch 6.0 1.60",
        "Gram, a sample D=64 torch 6.0 6.40",
        "table size 1 MiB 1 GiB",
        "ns a row 1.0 8.0",
        "our kernels: plain; one thread on CPU 1; median of 6 rounds [95 % interval]",
    ):
        assert line in shown, line


def test_a_document_without_labels_looks_the_same(result: Result) -> None:
    was: dict[str, Any] = result.model_dump(mode="json", by_alias=True) | {"schema": SCHEMA_1}
    for part in ("metrics", "series"):
        for one in was[part]:
            del one["labels"]
    read = Result.model_validate(upgrade(was))
    assert lines(read) == lines(result)
    assert [m.labels for m in read.metrics] == [m.labels for m in result.metrics]


def test_a_run_without_peers_has_no_column_for_them() -> None:
    table = MetricTable()
    table.add("lookup_row_s", labels.lookup(OURS, "4k", POINT), *np.full(3, 1e-9))
    shown = lines(document("kernels", Findings({}, table=table, machine={})))
    assert "D L rows table pages lorabench" in shown
    assert not any("better peer" in line for line in shown)
