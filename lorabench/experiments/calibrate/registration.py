"""The metrics of `calibrate`, until they stand in the registry with all others."""

from collections.abc import MutableMapping
from typing import cast

from lorabench.results.metrics import METRICS, MetricSpec

_SPECS = (
    ("false_verdict_share", "share of simulated runs that end with a false verdict", "1", False),
    ("blocks_needed", "blocks at the look that decides, median over simulated runs", "1", False),
    ("least_slowdown_seen", "smallest slowdown that 9 of 10 simulated runs see", "1", False),
    ("aa_log_ratio_sd", "standard deviation of the log ratio where nothing is slower", "1", False),
    ("slowdown_seen_share", "share of simulated runs that see a slowdown", "1", True),
    ("met_share", "share of simulated runs that end as met where nothing is slower", "1", True),
    ("block_s", "time that all cases of a block ran, in the median block", "s", False),
)


def register() -> None:
    """Add those that are not there."""
    registry = cast(MutableMapping[str, MetricSpec], METRICS)
    for name, what, unit, higher in _SPECS:
        registry.setdefault(name, MetricSpec(what, unit, "higher" if higher else "lower"))
