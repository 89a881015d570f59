"""What pushes cost, by arithmetic: strategy by size of the tables by number of links.

Nothing is replayed or timed: a push takes its time on the link, and what its two ends do is left
out. The share of the rows that a push interval touches is given, or counted in a trace; what pushes
come to follows from it (`lorabench.updates.fixed_point`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lorabench.bench.experiment import Experiment, Findings, Observer
from lorabench.bench.options import resolved
from lorabench.bench.sizes import write_size
from lorabench.experiments.freshness.cost_options import CostOptions
from lorabench.results.case import Case, Label
from lorabench.results.metrics import MetricTable
from lorabench.results.schema import Claim, Series
from lorabench.results.sync import SyncTimes, sync_delta10
from lorabench.updates.fixed_point import PushCycle
from lorabench.updates.link import Handling, Link, Sync
from lorabench.updates.payload import PAYLOADS
from lorabench.updates.touch import TouchCurve
from lorabench.updates.touch_count import count
from lorabench.updates.touch_trace import TouchTrace
from lorabench.workload.spec import load_spec

DIM = 128
"""D where neither --dim nor a preset gives it: that of MLPerf's DLRM-v2."""

SIZES = (1e12, 10e12, 50e12, 200e12)
"""Of tables, beside the one that is asked for."""

TIMES = (1, 2, 4, 8)
"""Links, as multiples of those that are asked for."""

SHARES = (0.05, 0.10, 1.0)
"""Of the tables' bytes, sent without keys."""

_ROWS = Case("rows touched", {"of": "rows touched"})


@dataclass(frozen=True)
class Touched:
    """Which share of the rows is touched within a time, and how that is known.

    Parameters
    ----------
    curve : TouchCurve
        It.
    streamed_s : float
        Touches of a row within this time are streamed as one.
    told : dict
        For the document.
    """

    curve: TouchCurve
    streamed_s: float
    told: dict[str, Any]


class CostOnly(Experiment):
    """Reckon what pushes cost.

    Parameters
    ----------
    options : CostOptions
        Of what.

    Raises
    ------
    InputError
        There is no such preset, or no such trace.
    """

    options: CostOptions

    def __init__(self, options: CostOptions) -> None:
        dim = options.dim
        if dim is None:
            dim = DIM if options.preset is None else load_spec(options.preset).model.dim
        super().__init__(replace(options, dim=dim))
        self._dim = dim
        trace = options.touch_trace
        self._trace = None if trace is None else TouchTrace.open(Path(trace))
        self._findings: Findings | None = None

    def measure(self, observer: Observer) -> None:
        """Reckon all cases.

        Raises
        ------
        InputError
            The touch trace is not what it says it is.
        """
        if self._trace is None:
            touched = _given(self.options)
        else:
            observer.stage("counting the rows touched", 0.0)
            touched = _counted(self._trace)
            observer.stage("counting the rows touched", 1.0)
        table = MetricTable()
        for sync, where in _places(self.options):
            _add_shares(table, sync, where)
            for payload in PAYLOADS:
                case = _case(payload.name, where, strategy=payload.name)
                cycle = PushCycle(sync, payload, self._dim, touched.curve)
                self._add(table, case, cycle, touched.streamed_s)
        curve = touched.curve
        config = {
            "experiment": resolved(self.options),
            "touched": touched.told,
            "row_bytes": {one.name: one.bytes_of_row(self._dim) for one in PAYLOADS},
        }
        # The same trace elsewhere is the same run: its shares are what it is.
        hashed = config | {"experiment": resolved(self.options, "touch_trace")}
        self._findings = Findings(
            config,
            hashed,
            table=table,
            claims=[sync_claim()],
            series=[
                Series.of("touched_share", _ROWS, curve.times_s, curve.shares, units=("s", "1"))
            ],
            # Nothing here is of the machine that reckoned.
            machine={},
        )

    def findings(self) -> Findings | None:
        """Return what was reckoned; None before."""
        return self._findings

    def _add(self, table: MetricTable, case: Case, cycle: PushCycle, streamed_s: float) -> None:
        """Write down what a strategy sends, and if it pushes, what pushes come to."""
        interval_s = self.options.push_interval_s
        over_s = streamed_s if cycle.payload.streams else interval_s
        rate = cycle.cost(over_s).size / over_s
        table.add("sync_bytes_per_s", case, rate)
        table.add("link_load", case, rate / cycle.sync.link.bytes_per_s)
        if cycle.payload.streams:
            return
        push, settled = cycle.cost(interval_s), cycle.settle(interval_s)
        table.add("sync_bytes", case, push.size)
        table.add("sync_s", case, push.total_s)
        table.add("sync_period_s", case, settled.period_s)
        table.add("sync_settled_s", case, settled.cost.total_s)
        table.add("sync_fixed_point_s", case, settled.fixed_point_s)


def _given(options: CostOptions) -> Touched:
    """Return what one figure says."""
    interval_s, share = options.push_interval_s, options.touched
    told = {"of": "figure", "share": share, "within_s": interval_s}
    return Touched(TouchCurve.linear(share, interval_s), interval_s, told)


def _counted(trace: TouchTrace) -> Touched:
    """Count a trace.

    Raises
    ------
    InputError
        It is not what it says it is.
    """
    found = count(trace)
    told = {
        "of": "trace",
        "rows": sum(trace.table_rows),
        "rows_counted": found.rows,
        "rows_sampled": found.sampled,
        "resolution_s": trace.resolution_s,
        "known_s": found.curve.known_s,
        # What makes another trace another run.
        "shares": list(found.curve.shares),
    }
    return Touched(found.curve, trace.resolution_s, told)


def _places(options: CostOptions) -> Iterator[tuple[Sync, dict[str, Label]]]:
    """Return every size of tables over every number of links."""
    for size in sorted({options.emt_bytes, *SIZES}):
        for links in (times * options.links for times in TIMES):
            there = replace(options, emt_bytes=size, links=links)
            yield there.sync(max(1, round(size)), Handling()), {"emt_bytes": size, "links": links}


def _case(name: str, where: dict[str, Label], **labels: Label) -> Case:
    links = "1 link" if where["links"] == 1 else f"{where['links']} links"
    return Case(f"{name}, {write_size(float(where['emt_bytes']))}, {links}", {**labels, **where})


def _add_shares(table: MetricTable, sync: Sync, where: dict[str, Label]) -> None:
    """Write down what plain shares of the tables take, as the claim has them."""
    for share in SHARES:
        case = _case(f"{share:.0%}", where, share=share)
        cost = sync.cost(share * sync.scale.table_bytes)
        table.add("sync_bytes", case, cost.size)
        table.add("sync_s", case, cost.total_s)


def sync_claim() -> Claim:
    """Judge the times that the claim is about, whatever was asked for."""
    link = Link(100e9)
    return sync_delta10(SyncTimes(*(link.transfer_s(share * 200e12) for share in SHARES)))
