"""A result of ``freshness --cost-only`` as text for the terminal, in 80 columns.

Plain shares of the tables, then what each strategy sends and what its pushes come to, then the same
by size of the tables and by number of links.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from lorabench.bench.sizes import write_size
from lorabench.report.terminal import plain_table, render_claims
from lorabench.results.case import Label
from lorabench.results.schema import Metric, Result
from lorabench.results.units import number, size_text, time_text


def is_cost(result: Result) -> bool:
    """Whether a result of `freshness` is of ``--cost-only``."""
    experiment = result.config.get("experiment")
    return isinstance(experiment, dict) and experiment.get("cost_only") is True


@dataclass(frozen=True)
class _Asked:
    """What was asked for.

    Parameters
    ----------
    result : Result
        Of it.
    emt_bytes : float
        Size of the tables.
    links : int
        Links side by side.
    """

    result: Result
    emt_bytes: float
    links: int

    def metric(self, name: str, **labels: Label) -> Metric | None:
        """Return a metric of a case, by default of the tables and links asked for."""
        where: dict[str, Label] = {"emt_bytes": self.emt_bytes, "links": self.links}
        return next(self.result.select(name, **{**where, **labels}), None)

    def value(self, name: str, **labels: Label) -> float | None:
        """Return its estimate; None where there is none."""
        found = self.metric(name, **labels)
        return None if found is None else found.estimate

    def labels(self, label: str) -> list[Label]:
        """Return the values of a label, in order."""
        found = (one.labels.get(label) for one in self.result.metrics)
        return list(dict.fromkeys(value for value in found if value is not None))

    @property
    def tables(self) -> str:
        """The tables in words."""
        return write_size(self.emt_bytes)

    @property
    def line(self) -> str:
        """The links in words."""
        each = self.result.config["experiment"]["link_gbps"]
        return f"{_links(self.links)} of {each:g} Gbit/s"

    @property
    def interval_s(self) -> float:
        """From one push to the next."""
        return float(self.result.config["experiment"]["push_interval_s"])


def render_cost(result: Result, console: Console) -> None:
    """Print what pushes take."""
    experiment = result.config["experiment"]
    asked = _Asked(result, experiment["emt_bytes"], experiment["links"])
    for line in _about(result):
        console.print(line, highlight=False)
    sizes, links = asked.labels("emt_bytes"), asked.labels("links")
    tables = (
        _shares(asked, sizes),
        _strategies(asked),
        _settled(asked, f"over {asked.line}", "emt_bytes", sizes),
        _settled(asked, f"of {asked.tables}", "links", links),
    )
    for table in tables:
        console.print()
        console.print(table)
    console.print("*: back to back, longer than the push interval; all: pushes of all rows")
    console.print()
    for line in _grows(asked):
        console.print(line, highlight=False)
    render_claims(result, console)


def _about(result: Result) -> Iterator[str]:
    """Say what is touched, and what a row takes."""
    touched = result.config["touched"]
    if touched["of"] == "figure":
        share, within = 100 * touched["share"], time_text(touched["within_s"])
        yield (
            f"{share:g} % of the rows touched in {within}, and in proportion in other times: "
            "an upper bound beyond that, a lower one before"
        )
    else:
        yield (
            f"rows touched as in the trace, {touched['rows_counted']:,} of {touched['rows']:,} "
            f"within {time_text(touched['known_s'])}; beyond that in proportion: an upper bound"
        )
        if touched["rows_sampled"] < 1:
            yield f"counted by a sample of {100 * touched['rows_sampled']:g} % of the rows"
    rows = result.config["row_bytes"]
    yield (
        f"a row of {result.config['experiment']['dim']} float32 is {rows['full']} B, with its key "
        f"{rows['delta']} B, as int8 {rows['delta-int8']} B; the ends of a push take no time here"
    )


def _shares(asked: _Asked, sizes: Sequence[Label]) -> Table:
    """Lay out what plain shares take."""
    table = plain_table(f"time of plain shares of the tables over {asked.line}, without keys")
    table.add_column("tables")
    shares = asked.labels("share")
    for share in shares:
        table.add_column(f"{100 * float(share):g} %", justify="right")
    for size in sizes:
        times = (asked.value("sync_s", share=share, emt_bytes=size) for share in shares)
        table.add_row(write_size(float(size)), *map(time_text, times))
    return table


def _strategies(asked: _Asked) -> Table:
    """Lay out what each strategy sends, and what its pushes come to."""
    table = plain_table(
        f"{asked.tables} over {asked.line}, a push every {time_text(asked.interval_s)}"
    )
    table.add_column("strategy", no_wrap=True)
    for heading in ("push", "takes", "to send", "link load", "back to back"):
        table.add_column(heading, justify="right")
    for name in asked.labels("strategy"):
        of = {"strategy": name}
        rate, load = asked.value("sync_bytes_per_s", **of), asked.value("link_load", **of)
        table.add_row(
            str(name),
            size_text(asked.value("sync_bytes", **of)),
            time_text(asked.value("sync_s", **of)),
            f"{size_text(rate)}/s" if rate else "nothing",
            number(load or 0.0),
            _back_to_back(asked, name),
        )
    return table


def _back_to_back(asked: _Asked, name: Label) -> str:
    """Say what pushes of a strategy come to that follow one another."""
    found = asked.metric("sync_fixed_point_s", strategy=name)
    if found is None:
        load = asked.value("link_load", strategy=name) or 0.0
        return "keeps up" if load <= 1 else "falls behind"
    if found.estimate is None:
        return f"all rows: {time_text(asked.value('sync_settled_s', strategy=name))}"
    return time_text(found.estimate) if asked.value("sync_bytes", strategy=name) else "-"


def _settled(asked: _Asked, of: str, label: str, values: Sequence[Label]) -> Table:
    """Lay out what a push takes once pushes have settled, by one label."""
    table = plain_table(f"time of a push once pushes have settled, {of}")
    table.add_column("strategy", no_wrap=True)
    for value in values:
        heading = write_size(float(value)) if label == "emt_bytes" else _links(int(value))
        table.add_column(heading, justify="right", no_wrap=True)
    for name in asked.labels("strategy"):
        if asked.value("sync_bytes", strategy=name):
            table.add_row(
                str(name), *(_push(asked, {"strategy": name, label: value}) for value in values)
            )
    return table


def _push(asked: _Asked, labels: dict[str, Label]) -> str:
    """Write what a settled push takes, and how it fits into the interval."""
    period_s = asked.value("sync_period_s", **labels) or 0.0
    mark = ""
    if period_s > asked.interval_s:
        mark = "*" if asked.value("sync_fixed_point_s", **labels) is not None else " all"
    return f"{time_text(asked.value('sync_settled_s', **labels))}{mark}"


def _grows(asked: _Asked) -> Iterator[str]:
    """Say whose pushes have no fixed point."""
    for name in asked.labels("strategy"):
        found = asked.metric("sync_fixed_point_s", strategy=name)
        period_s = asked.value("sync_period_s", strategy=name) or 0.0
        if found is None or found.estimate is not None or period_s <= asked.interval_s:
            continue
        rate = asked.value("sync_bytes_per_s", strategy=name) or 0.0
        load = asked.value("link_load", strategy=name) or 1.0
        yield (
            f"{name}: rows are touched faster ({size_text(rate)}/s) than the link carries "
            f"({size_text(rate / load)}/s): pushes grow until all rows go, {time_text(period_s)}"
        )


def _links(count: Label) -> str:
    return "1 link" if count == 1 else f"{count} links"
