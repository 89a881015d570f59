"""What has to be said beside the tables of a `freshness` result, a line each.

Which link and scale it is of, what never came to be served, which times or areas there were not,
how little few rows can show, who diverged, and by which learning rates.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import sqrt
from typing import Any

from lorabench.bench.sizes import write_size
from lorabench.results.nested import within
from lorabench.results.schema import Result
from lorabench.results.units import number, time_text

_IDEAL, _DELTA = "ideal", "delta"
_POINTS = 100.0
# Of a true difference, in standard errors of it, that is told from 0 in 80 % of cases at two-sided
# 5 %: the quantiles of the normal law at 97.5 and 80 %.
_TOLD = 1.960 + 0.842
# In a push interval there should be so many batches.
_SPANS = 4


def scale_and_link(result: Result) -> Iterator[str]:
    """Say what the tables stand for, and what pushes go over, where any do."""
    experiment, pushes = result.config.get("experiment", {}), result.config.get("pushes")
    if not pushes or "protocol" in result.config or not any(_sending(result)):
        return
    hosts, links = pushes["hosts"], experiment["links"]
    line = f"{'one' if links == 1 else links} {experiment['link_gbps']:g} Gbit/s link"
    yield (
        f"the tables stand for {write_size(experiment['emt_bytes'])} over {hosts:,} "
        f"host{'s' if hosts != 1 else ''}; {line}{'s' if links != 1 else ''}; a push every "
        f"{time_text(experiment['push_interval_s'])}"
    )


def coarse_batches(result: Result) -> Iterator[str]:
    """Say where a batch spans so much of the stream that it decides on delays."""
    config = result.config
    rows, rate = config.get("batch_rows"), within(config, "workload", "spec", "rows_per_s")
    if not rows or not rate or "protocol" in config or not any(_sending(result)):
        return
    span_s = rows / rate
    if _SPANS * span_s > config["experiment"]["push_interval_s"]:
        yield (
            f"a batch of {rows:,} rows spans {time_text(span_s)} of the stream: pushes begin at "
            "most that often, and no delay below that is seen"
        )


def _sending(result: Result) -> Iterator[str]:
    """Return who pushes."""
    return (one.condition for one in result.select("pushes"))


def never_landed(result: Result) -> Iterator[str]:
    """Say whose pushes never came to be served."""
    for name in _sending(result):
        landed = result.metric("pushes", name)
        if landed is None or landed.estimate != 0:
            continue
        takes = result.metric("push_s", name)
        if takes is None or takes.estimate is None:
            yield f"{name}: no push had begun when the replay ended"
        else:
            yield (
                f"{name}: the first push, of {time_text(takes.estimate)}, had not landed when the "
                "replay ended"
            )
    refused = [one for one in result.select("pushes_refused") if one.estimate]
    for one in refused:
        yield (
            f"{one.condition}: {number(one.estimate or 0.0)} pushes a replay were refused or "
            "rolled back"
        )


def beyond_the_end(result: Result) -> Iterator[str]:
    """Say whose labels were not served before the end, so that a quantile lies beyond it."""
    names = [one.condition for one in result.select("update_latency_p50_bound")]
    unserved = {name: result.metric("unserved_share", name) for name in names}
    told = [
        f"{name} {_POINTS * one.estimate:.0f} %"
        for name, one in unserved.items()
        if one is not None and one.estimate is not None
    ]
    if told:
        yield (
            f"labels not served when the replay ended: {', '.join(told)}; that latency is told by "
            "what it is at least (>)"
        )


def given_times(result: Result) -> Iterator[str]:
    """Say where rows have no times of their own."""
    if within(result.config, "workload", "kind") == "criteo-tsv":
        rate = within(result.config, "workload", "spec", "rows_per_s")
        yield f"the rows have no times of their own: they are taken to come at {rate:,g} a second"


def one_class(result: Result) -> Iterator[str]:
    """Say how many windows have no AUC."""
    found = within(result.config, "replicates", "one_class_windows") or []
    if sum(found):
        windows = sum(result.config["replicates"]["windows"]) * len(found)
        yield f"AUC undefined in {sum(found)} of {windows} windows: one class only"


def few_rows(result: Result) -> Iterator[str]:
    """Say how little the rows of a lone stream can show."""
    replicates = result.config.get("replicates", {})
    errors = [one.estimate for one in result.select("auc_standard_error") if one.estimate]
    if replicates.get("of") != "time" or not errors or not replicates.get("rows"):
        return
    error = sum(errors) / len(errors)
    least = _POINTS * _TOLD * sqrt(2) * error
    yield (
        f"{sum(replicates['rows']):,} rows can show differences of about {number(least)} points "
        f"at best, unless strategies predict much alike: by the draw of the rows alone a mean AUC "
        f"has a standard error of {number(_POINTS * error)} points (Hanley and McNeil 1982)"
    )


def below_none(result: Result, windows: int) -> Iterator[str]:
    """Say who had windows in which it was worse than never to learn."""
    found = []
    for one in result.select("windows_below_none"):
        known = [value for value in one.values if value is not None]
        if sum(known):
            of = windows * len(known) // len(one.values)
            found.append(f"{one.condition} in {sum(known):.0f} of {of}")
    if found:
        yield f"windows in which AUC is below that of none: {', '.join(found)}"


def diverged(result: Result) -> Iterable[str]:
    """Say who diverged in how many replays."""
    asked = result.config.get("experiment", {}).get("save_adapter") is not None
    for metric in result.select("diverged"):
        count = sum(value == 1.0 for value in metric.values)
        if count:
            where = "" if len(metric.values) == 1 else f" in {count} of {len(metric.values)} seeds"
            kept = "; no adapter of it is saved" if asked and metric.condition != _IDEAL else ""
            yield (
                f"{metric.condition} diverged{where}: what it learned was not finite any more, and "
                f"no comparison has it there{kept}"
            )


def rates(result: Result) -> Iterable[str]:
    """Say which learning rates and decays there were, and how they were come by.

    A training cluster's trials are under the name of what serves its tables as they are, which need
    not have been asked for; whoever was and has no trials of its own has the cluster's rate.
    """
    rates = result.config.get("learning_rates", {})
    decays = result.config.get("accumulator_decays", {})
    tuning: Mapping[str, list[Any]] = result.config.get("tuning", {})
    clusters = [name for name in tuning if name not in rates]
    if rates:
        told = "learning rates x decay of the accumulators a window"
        unlearned = [name for name, tried in tuning.items() if _all_equal(tried)]
        if clusters and set(clusters) <= set(unlearned):
            unlearned += [name for name in rates if name not in tuning]
        chosen = [name for name in rates if name not in unlearned]
        for names, how in (
            (chosen, "chosen on a held-out seed" if tuning else "as given"),
            (
                [name for name in unlearned if name in rates],
                "as before tuning, whose losses are all equal: too few rows to learn from",
            ),
        ):
            if names:
                text = ", ".join(f"{name} {rates[name]:g} x {decays[name]:g}" for name in names)
                yield f"{told}, {how}: {text}"
    for name, tried in tuning.items():
        whose = f"the training cluster ({name})" if name in clusters else name
        failed = [f"{rate:g} x {decay:g}" for rate, decay, found in tried if found is None]
        if failed:
            yield f"{whose} diverged while tuned, at {', '.join(failed)}"
        losses = [(found, rate) for rate, _, found in tried if found is not None]
        known = {rate for _, rate in losses}
        if len(known) > 1 and not _all_equal(tried):
            best = rates[name] if name in rates else min(losses)[1]
            if best in (min(known), max(known)):
                yield (
                    f"{whose}'s rate is the last of those tried that learn: the best may lie beyond"
                )


def _all_equal(tried: Sequence[Sequence[float | None]]) -> bool:
    """Whether no rate or decay that was tried made any difference to the loss."""
    known = [loss for _, _, loss in tried if loss is not None]
    return len(known) > 1 and len(set(known)) == 1
