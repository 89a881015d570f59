"""Results' timings as pyperf benchmarks, so that ``python -m pyperf compare_to`` reads them.

`compare_to` finds any difference significant where two benchmarks have unlike numbers of values, or
one each. So both sides of a comparison can be cut to what they have in common (`like`).
"""

from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from lorabench.errors import InputError
from lorabench.results.files import write_bytes
from lorabench.results.schema import Metric, Result

if TYPE_CHECKING:
    import pyperf

MOST_BENCHMARKS = 5_000
"""A suite looks each name up among all others; more than a machine is ever asked about."""


def timings(result: Result) -> Iterator[tuple[str, list[float]]]:
    """Return the name and the values of every metric in seconds: those of the rounds above 0."""
    for metric in result.metrics:
        values = [value for value in metric.values if value is not None and value > 0]
        if metric.unit == "s" and values:
            yield _name(metric), values


def benchmarks(
    results: Sequence[Result], like: Result | None = None, least: int = 1
) -> "list[pyperf.Benchmark]":
    """Make one benchmark of every metric in seconds.

    Parameters
    ----------
    results : sequence of Result
        Documents; each is a run of the benchmarks that it has.
    like : Result or None
        Document that this will be compared with: only what it has too, cut to as many values.
    least : int
        Benchmarks with fewer values are left out.

    Raises
    ------
    InputError
        pyperf does not take the documents as runs of one benchmark, or there are too many.
    """
    found: dict[str, list[tuple[Result, list[float]]]] = {}
    for result in results:
        for name, values in timings(result):
            found.setdefault(name, []).append((result, values))
    if len(found) > MOST_BENCHMARKS:
        raise InputError(
            f"found {len(found):,} metrics in seconds, expected at most {MOST_BENCHMARKS:,} for a "
            "file of pyperf's"
        )
    made = []
    there = None if like is None else dict(timings(like))
    for name, parts in found.items():
        most = sum(len(values) for _, values in parts)
        if there is not None:
            most = min(most, len(there.get(name, ())))
        if most >= least and most > 0:
            made.append(_benchmark(name, parts, most))
    return made


def suite(
    results: Sequence[Result], like: Result | None = None, least: int = 1
) -> "pyperf.BenchmarkSuite | None":
    """Make a suite of the benchmarks; None where there are none."""
    import pyperf

    made = benchmarks(results, like, least)
    return pyperf.BenchmarkSuite(made) if made else None


def suite_bytes(found: "pyperf.BenchmarkSuite") -> bytes:
    """Return a suite as the JSON that pyperf reads."""
    text = StringIO()
    found.dump(text, compact=False)
    return text.getvalue().encode()


def write_suite(result: Result, path: Path) -> None:
    """Write the benchmarks as JSON, whole or not at all; without any there is no such file.

    Raises
    ------
    InputError
        It cannot be written.
    """
    found = suite([result])
    if found is None:
        path.unlink(missing_ok=True)  # it would be that of another result
        return
    write_bytes(path, suite_bytes(found))


def _name(metric: Metric) -> str:
    return " ".join(f"{metric.name}: {metric.condition}".split())


def _run(result: Result, name: str, values: Sequence[float]) -> "pyperf.Run":
    import pyperf

    own = {"name": name, "unit": "second"}
    machine = result.environment.get("pyperf")
    kept = {
        key: value
        for key, value in (machine.items() if isinstance(machine, dict) else ())
        if key not in {"name", "unit", "loops", "inner_loops"}
    }
    try:
        return pyperf.Run(values, metadata=kept | own, collect_metadata=False)
    except (ValueError, TypeError):  # metadata that pyperf did not write, nor takes
        return pyperf.Run(values, metadata=own, collect_metadata=False)


def _benchmark(
    name: str, parts: Sequence[tuple[Result, Sequence[float]]], most: int
) -> "pyperf.Benchmark":
    """Make a benchmark of so many values: blocks are alike, so the first do as well as any."""
    import pyperf

    runs = []
    for result, values in parts:
        if most > 0:
            runs.append(_run(result, name, values[:most]))
            most -= len(values)
    try:
        made = pyperf.Benchmark(runs[:1])
        for run in runs[1:]:
            made.add_run(run)
    except ValueError as error:
        raise InputError(
            f"{name}: found results that are not runs of one benchmark ({error}); "
            "export each by itself"
        ) from None
    return made
