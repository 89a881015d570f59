"""Options of ``lorabench freshness`` on what carries updates, and on the tables they are of."""

import math
from dataclasses import dataclass

from lorabench.bench.options import RARE, Workload, in_milliseconds, milliseconds, option
from lorabench.bench.sizes import parse_size, write_size
from lorabench.updates.link import Handling, Link, Scale, Sync

_HOST_BYTES = 100e9


@dataclass(frozen=True)
class LinkOptions(Workload):
    """What the tables stand for, what carries their updates, and how often."""

    emt_bytes: float = option(
        200e12,
        "Size of the tables that the workload's stand for.",
        metavar="SIZE",
        parse=parse_size,
        write=write_size,
        shown="200TB",
        above=0,
        panel=RARE,
    )
    link_gbps: float = option(
        100.0, "Line rate of a link, in Gbit/s.", above=0, below=float("inf"), panel=RARE
    )
    push_interval_s: float = option(
        600.0, "From one push to the next.", unit="s", above=0, below=float("inf"), panel=RARE
    )
    cost_only: bool = option(False, "Replay nothing; say at once what pushes cost, by arithmetic.")
    links: int = option(1, "Links side by side.", least=1, panel=RARE)
    link_efficiency: float = option(
        1.0, "Share of the line rate that payload gets.", above=0, most=1, panel=RARE
    )
    round_trip_s: float = option(
        0.0,
        "What a push waits for on its way, whatever its size.",
        unit="ms",
        least=0,
        below=float("inf"),
        parse=milliseconds,
        write=in_milliseconds,
        shown="0",
        panel=RARE,
    )
    hosts: int | None = option(
        None,
        "Hosts that the tables are spread over; a core of each does its part of a push.",
        shown="one for each 100 GB",
        least=1,
        panel=RARE,
    )
    touched: float = option(
        0.10,
        "Share of the rows that a push interval touches; for --cost-only.",
        above=0,
        most=1,
        panel=RARE,
    )
    touch_trace: str | None = option(
        None,
        "Count the rows touched in this trace instead; for --cost-only.",
        metavar="FILE",
        panel=RARE,
    )
    save_touch_trace: str | None = option(
        None,
        "Save which rows the replay touched when, under names that tell nothing.",
        metavar="FILE.parquet",
        panel=RARE,
    )
    touch_resolution_s: float = option(
        1.0,
        "Within which --save-touch-trace has a row once.",
        unit="s",
        least=1e-6,
        below=float("inf"),
        panel=RARE,
    )

    def link(self) -> Link:
        """Return what carries pushes."""
        return Link(self.link_gbps * 1e9, self.links, self.link_efficiency, self.round_trip_s)

    @property
    def spread(self) -> int:
        """Hosts that the tables are spread over."""
        return self.hosts or max(1, math.ceil(self.emt_bytes / _HOST_BYTES))

    def sync(self, table_bytes: int, handling: Handling | None = None) -> Sync:
        """Return what a push takes.

        Parameters
        ----------
        table_bytes : int
            Of the tables that stand for those of `emt_bytes`.
        handling : Handling, optional
            What the two ends do with a byte; by default nothing that takes time.
        """
        scale = Scale(table_bytes, self.emt_bytes, self.spread)
        return Sync(self.link(), scale, handling or Handling())
