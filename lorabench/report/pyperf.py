"""A result's timings as pyperf benchmarks, so that ``python -m pyperf compare_to`` reads them."""

from pathlib import Path
from typing import TYPE_CHECKING

from lorabench.results.files import write_bytes
from lorabench.results.schema import Result

if TYPE_CHECKING:
    import pyperf


def suite(result: Result) -> "pyperf.BenchmarkSuite":
    """Make one benchmark of every metric in seconds; its values are those of the rounds.

    Raises
    ------
    ValueError
        The result has no such metric.
    """
    import pyperf

    kept = {
        key: value
        for key, value in result.environment.get("pyperf", {}).items()
        if key not in ("name", "unit", "loops", "inner_loops")
    }
    benchmarks = []
    for metric in result.metrics:
        values = [value for value in metric.values if value is not None and value > 0]
        if metric.unit == "s" and values:
            metadata = {**kept, "name": f"{metric.name}: {metric.condition}", "unit": "second"}
            run = pyperf.Run(values, metadata=metadata, collect_metadata=False)
            benchmarks.append(pyperf.Benchmark([run]))
    return pyperf.BenchmarkSuite(benchmarks)


def write_suite(result: Result, path: Path) -> None:
    """Write the suite as JSON, whole or not at all.

    Raises
    ------
    InputError
        It cannot be written.
    """
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "suite.json"
        suite(result).dump(str(draft), compact=False)
        write_bytes(path, draft.read_bytes())
