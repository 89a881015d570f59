"""Section on MLCommons LoadGen's tests: its p99 beside ours, by which to judge ours."""

from collections.abc import Iterator, Sequence

from lorabench.report.conditions import under_load_generator
from lorabench.report.content import Section, Table
from lorabench.report.numbers import scale_of, with_bounds
from lorabench.report.plots.common import Rule
from lorabench.report.sections.reader import Reader, estimates
from lorabench.results.units import number

_PLAIN = scale_of("1", ())


def load_generator(reader: Reader) -> Iterator[Section]:
    """LoadGen's p99 and ours of the same queries, their ratio, and its verdicts."""
    driven = under_load_generator(reader.result)
    there = [name for name in driven if reader.metric("loadgen_latency_p99", name) is not None]
    if not there:
        return
    figure = estimates(
        "Our p99 and LoadGen's",
        "Ours over LoadGen's is of the same queries: 1 where both count alike, or a little less, "
        "since LoadGen hears of an answer only once it is there. LoadGen's over ours as a schedule "
        "is of the same arrivals a moment apart: other luck, and what handing queries over costs.",
        "ratio of p99",
        {
            "ours / LoadGen's": reader.metrics("loadgen_p99_ratio"),
            "LoadGen's / ours as a schedule": reader.metrics("loadgen_own_p99_ratio"),
        },
        rules=(Rule(1.0, ""),),
    )
    yield Section(
        "LoadGen's p99 beside ours",
        facts=(*_about(reader), *((name, _told(reader, name)) for name in driven)),
        figures=(figure,) if figure else (),
        tables=(_summary(reader, driven),),
        folded=(_tests(reader, there),),
    )


def _about(reader: Reader) -> Iterator[tuple[str, str]]:
    """Return which LoadGen it was, and what its verdict is about."""
    version = reader.environment("load_generator", "version")
    if isinstance(version, str):
        yield "LoadGen version", version
    tests = reader.environment("load_generator", "tests")
    first = tests[0] if isinstance(tests, list) and tests else None
    limit = first.get("target_latency_s") if isinstance(first, dict) else None
    if isinstance(limit, (int, float)):
        yield "VALID", f"p99 is at most {number(1000 * limit)} ms, and what else LoadGen asks"


def _told(reader: Reader, name: str) -> str:
    found = reader.metric("latency_p50", name)
    labels = {} if found is None else found.labels
    of = labels.get("condition", "a condition")
    if labels.get("load_generator") == "own":
        return f"{of}, of LoadGen's arrivals as a schedule that servers know beforehand"
    return f"{of}, of queries that LoadGen hands over when they are due"


def _summary(reader: Reader, names: Sequence[str]) -> Table:
    """Lay out each case's p99 as both sides say it; ours only where queries are enough."""
    theirs = reader.metrics("loadgen_latency_p99")
    scale = scale_of("s", (one.estimate for one in theirs))
    rows = []
    for name in names:
        valid = reader.metric("loadgen_valid", name)
        verdicts = [] if valid is None else valid.values
        rows.append(
            (
                name,
                with_bounds(reader.metric("loadgen_latency_p99", name), scale),
                with_bounds(reader.metric("latency_p99", name), scale),
                f"{verdicts.count(1.0)} of {len(verdicts)}" if verdicts else "-",
            )
        )
    head = ("condition", scale.named("LoadGen's p99"), scale.named("our p99"), "VALID")
    return Table.of("p99 by LoadGen and by us, the mean over tests [95 %]", head, rows)


def _tests(reader: Reader, names: Sequence[str]) -> Table:
    """Lay out the p99 of each test, ours of the same queries, however few."""
    scale = scale_of("s", (one.estimate for one in reader.metrics("loadgen_latency_p99")))
    rows = []
    for name in names:
        said = reader.metric("loadgen_latency_p99", name)
        ratio = reader.metric("loadgen_p99_ratio", name)
        if said is None or ratio is None:
            continue
        # Both have a value a test; a document by hand may have fewer of one.
        for test, (p99_s, over) in enumerate(zip(said.values, ratio.values, strict=False), 1):
            ours_s = None if p99_s is None or over is None else p99_s * over
            cells = scale.write(p99_s), scale.write(ours_s), _PLAIN.write(over)
            rows.append((name, str(test), *cells))
    head = ("condition", "test", scale.named("LoadGen's"), scale.named("ours"), "ours / LoadGen's")
    return Table.of("p99 of each test, both of the same queries", head, rows)
