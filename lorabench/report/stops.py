"""How often a CPU quota had the servers stopped, in words; of any result that serves."""

from lorabench.results.evidence import REMEDY, STUCK_SHARE
from lorabench.results.schema import Metric, Result


def stopped_cases(result: Result) -> set[str]:
    """Return the cases that were stopped in over a tenth of their blocks: they have no ratio."""
    found = set()
    for metric in result.select("throttled_slices"):
        known = [value for value in metric.values if value is not None]
        if known and sum(value > 0 for value in known) > STUCK_SHARE * len(known):
            found.add(metric.condition)
    return found


def stops_line(result: Result) -> str | None:
    """Return in how many periods each case was stopped; None where none was."""
    parts = []
    for metric in result.select("throttled_periods"):
        if (stopped := _sum(metric)) > 0:
            of = _sum(result.metric("quota_periods", metric.condition))
            spent_s = _sum(result.metric("throttled_s", metric.condition))
            parts.append(f"{metric.condition} {stopped:,.0f} of {of:,.0f} ({spent_s:.1f} s)")
    if not parts:
        return None
    limit = result.metric("cpu_quota", "machine")
    shown = "" if limit is None or limit.estimate is None else f" of {limit.estimate:.4g} CPUs"
    return (
        f"The kernel stopped the servers for their CPU quota{shown}, in so many periods: "
        f"{', '.join(parts)}. Their latency then is the quota's doing; {REMEDY}."
    )


def _sum(metric: Metric | None) -> float:
    return 0.0 if metric is None else sum(value or 0.0 for value in metric.values)
