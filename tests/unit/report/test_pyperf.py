"""Results' timings as a file of pyperf's, read by pyperf itself."""

from pathlib import Path

import pyperf
import pytest

from lorabench.bench.experiment import Findings
from lorabench.bench.runner import document
from lorabench.errors import InputError
from lorabench.report import pyperf as rendered
from lorabench.report.pyperf import benchmarks, write_suite
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


def timed(*values: float | None, **machine: object) -> Result:
    table = MetricTable()
    table.add("latency_p99", "solo", *values)
    return document("colocate", Findings({}, table=table, machine={"pyperf": machine}))


def test_several_results_are_runs_of_one_benchmark() -> None:
    (made,) = benchmarks([timed(1, 2), timed(3, None, 4)])
    assert [run.values for run in made.get_runs()] == [(1, 2), (3, 4)]


def test_it_is_cut_to_the_values_that_the_other_side_has() -> None:
    few, many = timed(1, None, 2), timed(3, 4, 5, 6)
    for pair in ((few, many), (many, few)):
        sides = [benchmarks([one], like=other)[0] for one, other in (pair, pair[::-1])]
        assert [side.get_nvalue() for side in sides] == [2, 2]
    (cut,) = benchmarks([few, many], like=timed(1, 2, 3))
    assert [run.values for run in cut.get_runs()] == [(1, 2), (3,)]
    assert benchmarks([few], like=result("lookup_row_s")) == []


def test_fewer_values_than_asked_for_are_no_benchmark() -> None:
    assert benchmarks([timed(1, None)], least=2) == []


def test_results_of_two_machines_are_not_one_benchmark() -> None:
    with pytest.raises(InputError, match=r"^latency_p99: solo: found results that are not runs .*"):
        benchmarks([timed(1, 2, hostname="a"), timed(3, 4, hostname="b")])


@pytest.mark.parametrize("metadata", [{"uptime": -1}, {"date": 3}, {"a": ""}, {"b": [1]}, {"": {}}])
def test_metadata_that_pyperf_does_not_take_is_left_out(metadata: dict[str, object]) -> None:
    (made,) = benchmarks([timed(1, 2, **metadata)])
    assert made.get_metadata() == {"name": "latency_p99: solo", "unit": "second"}


def test_more_benchmarks_than_pyperf_bears_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendered, "MOST_BENCHMARKS", 1)
    with pytest.raises(InputError, match="found 2 metrics in seconds, expected at most 1 for a"):
        benchmarks([result("lookup_row_s", "gram_sample_s")])


def test_without_timings_there_is_no_file_and_none_is_left_of_another_result(
    tmp_path: Path,
) -> None:
    path = tmp_path / "out.pyperf.json"
    write_suite(result("lookup_row_s"), path)
    write_suite(result("lookup_speedup"), path)
    assert not path.exists()
