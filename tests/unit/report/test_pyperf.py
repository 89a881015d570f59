"""A result's timings as a file of pyperf's."""

from pathlib import Path

import pyperf

from lorabench.bench.experiment import Findings
from lorabench.bench.runner import document
from lorabench.report.pyperf import write_suite
from lorabench.results.metrics import MetricTable
from lorabench.results.schema import Result


def result(*names: str) -> Result:
    table = MetricTable()
    for name in names:
        table.add(name, "here", 1e-9, None, 3e-9)
    return document("kernels", Findings({}, table=table, machine={}))


def test_every_metric_in_seconds_is_a_benchmark_of_its_rounds(tmp_path: Path) -> None:
    path = tmp_path / "out.pyperf.json"
    write_suite(result("lookup_row_s", "lookup_speedup", "gram_sample_s"), path)
    suite = pyperf.BenchmarkSuite.load(str(path))
    assert suite.get_benchmark_names() == ["lookup_row_s: here", "gram_sample_s: here"]
    assert suite.get_benchmark("lookup_row_s: here").get_values() == (1e-9, 3e-9)


def test_without_timings_there_is_no_file_and_none_is_left_of_another_result(
    tmp_path: Path,
) -> None:
    path = tmp_path / "out.pyperf.json"
    write_suite(result("lookup_row_s"), path)
    write_suite(result("lookup_speedup"), path)
    assert not path.exists()
