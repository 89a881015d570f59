"""A result's timings as pyperf benchmarks, so that ``python -m pyperf compare_to`` reads them."""

from pathlib import Path
from typing import TYPE_CHECKING

from lorabench.results.files import write_bytes
from lorabench.results.schema import Result

if TYPE_CHECKING:
    import pyperf


def benchmarks(result: Result) -> "list[pyperf.Benchmark]":
    """Make one benchmark of every metric in seconds; its values are those of the rounds."""
    import pyperf

    kept = {
        key: value
        for key, value in result.environment.get("pyperf", {}).items()
        if key not in ("name", "unit", "loops", "inner_loops")
    }
    made = []
    for metric in result.metrics:
        values = [value for value in metric.values if value is not None and value > 0]
        if metric.unit == "s" and values:
            metadata = {**kept, "name": f"{metric.name}: {metric.condition}", "unit": "second"}
            run = pyperf.Run(values, metadata=metadata, collect_metadata=False)
            made.append(pyperf.Benchmark([run]))
    return made


def write_suite(result: Result, path: Path) -> None:
    """Write the benchmarks as JSON, whole or not at all; without any there is no such file.

    Raises
    ------
    InputError
        It cannot be written.
    """
    import tempfile

    import pyperf

    made = benchmarks(result)
    if not made:
        path.unlink(missing_ok=True)  # it would be that of another result
        return
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "suite.json"
        pyperf.BenchmarkSuite(made).dump(str(draft), compact=False)
        write_bytes(path, draft.read_bytes())
