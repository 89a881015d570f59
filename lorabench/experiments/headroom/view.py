"""A `headroom` result as text for the terminal: what was busy, or what may be used; verdicts."""

import math

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lorabench.report.stops import stopped_cases, stops_line
from lorabench.report.terminal import plain_table, render_claims
from lorabench.results.case import Case
from lorabench.results.schema import Metric, Result

# Each single CPU has a line, up to so many; of more, the busiest.
_MOST_CPUS = 16

_SI = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))

_LABELS = {
    "cpu_busy": "CPU busy",
    "cpu_cores": "cores in use",
    "quota_busy": "CPU quota in use",
    "cpu_steal": "CPU time stolen",
    "psi_some_cpu": "PSI: some task waits for a CPU",
    "psi_full_cpu": "PSI: all tasks wait for a CPU",
    "psi_some_memory": "PSI: some task waits for memory",
    "psi_full_memory": "PSI: all tasks wait for memory",
    "psi_some_io": "PSI: some task waits for I/O",
    "psi_full_io": "PSI: all tasks wait for I/O",
    "runqueue_delay": "run-queue delay of a turn",
    "runqueue_waiting": "tasks waiting in the run queue",
    "memory_bandwidth": "memory bandwidth",
}
_SHARES = ("cpu_busy", "cpu_steal", "psi_", "quota_busy")
# Of a whole observation, in a line of their own.
_QUOTA = ("cpu_quota", "quota_periods", "throttled_periods", "throttled_s")


def render(result: Result, console: Console) -> None:
    """Print what was found, then verdicts and what could not be had."""
    if result.config["experiment"]["mode"] == "active":
        _render_active(result, console)
    else:
        _render_passive(result, console)
    for line in result.config["experiment"].get("reading", ()):
        console.print(Text(f"Read as: {line}"), highlight=False)
    for round_ in result.rounds:
        for note in dict.fromkeys(round_.notes):
            console.print(Text(note, "yellow"), highlight=False)
    console.print()
    render_claims(result, console)


def _table(title: str, *headings: str) -> Table:
    table = plain_table(title, collapse_padding=True)
    table.add_column(headings[0], no_wrap=True)
    for heading in headings[1:]:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _render_passive(result: Result, console: Console) -> None:
    begun = " until it ended" if result.partial else ""
    longest = result.config["experiment"].get("window_s", 10.0)
    # Windows of single samples last a little more or less than 10 s.
    width = f"10 to {longest:,.0f} s" if longest > 12.5 else "10 s"
    table = _table(f"over windows of {width}{begun}", "what", "mean", "p95", "peak")
    singles: list[Metric] = []
    for metric in result.metrics:
        if metric.name.endswith(("_p95", "_peak")) or metric.name in ("sampler_cpu_share", *_QUOTA):
            continue
        if "cpu" in metric.labels:
            singles.append(metric)
        else:
            label = _LABELS.get(metric.name, metric.name)
            several = metric.condition not in ("host", "pid", "cgroup")
            _add_row(table, result, metric, f"{metric.condition}: {label}" if several else label)
    shown = singles
    if len(singles) > _MOST_CPUS:
        shown = sorted(singles, key=lambda one: -_peak(result, one))[:_MOST_CPUS]
    for metric in shown:
        _add_row(table, result, metric, metric.condition)
    console.print(table)
    if len(shown) < len(singles):
        console.print(f"{len(shown)} busiest of {len(singles)} CPUs", highlight=False)
    if (quota := _quota(result)) is not None:
        console.print(Text(quota, "yellow"), highlight=False)
    sampler = result.metric("sampler_cpu_share", "sampler")
    if sampler is not None and sampler.estimate is not None:
        console.print(
            f"Observing took {sampler.estimate * 100:.2f} % of one core.", highlight=False
        )


def _quota(result: Result) -> str | None:
    """Return what a quota allowed, and how often the kernel stopped whom it binds."""
    limit = next(result.select("cpu_quota"), None)
    if limit is None or limit.estimate is None:
        return None
    who = limit.condition
    found = [result.metric(name, who) for name in _QUOTA[1:]]
    periods, stopped, spent_s = (one.estimate or 0.0 if one else 0.0 for one in found)
    whose = {"host": "this container", "cgroup": "the group"}.get(who, "the process")
    of = "" if who == "host" else "; CPU busy is of that"
    return (
        f"A CPU quota allows {whose} {limit.estimate:.4g} CPUs{of}; the kernel stopped it in "
        f"{stopped:,.0f} of {periods:,.0f} periods, {spent_s:.1f} s in all."
    )


def _add_row(table: Table, result: Result, metric: Metric, label: str) -> None:
    cells = [
        _cell(metric, result.metric(metric.name + suffix, metric.condition))
        for suffix in ("", "_p95", "_peak")
    ]
    table.add_row(Text(label), *cells)


def _peak(result: Result, metric: Metric) -> float:
    found = result.metric(f"{metric.name}_peak", metric.condition)
    value = metric.estimate if found is None or found.estimate is None else found.estimate
    return value or 0.0


def _cell(metric: Metric, found: Metric | None) -> str:
    if found is None or found.estimate is None:
        return "-"
    if metric.name.startswith(_SHARES):
        return f"{found.estimate * 100:.1f} %"
    if metric.unit == "1":
        return f"{found.estimate:.2f}"
    return _si(found.estimate, metric.unit)


def _si(value: float, unit: str) -> str:
    """Write a value with three digits and a prefix."""
    scale, prefix = next(
        ((s, p) for s, p in _SI if abs(value) >= s), (1.0, "") if value == 0 else _SI[-1]
    )
    digits = max(0, 2 - math.floor(math.log10(abs(value / scale)))) if value else 0
    return f"{value / scale:.{min(digits, 2)}f} {prefix}{unit}"


def _render_active(result: Result, console: Console) -> None:
    experiment = result.config["experiment"]
    rounds = len(result.rounds)
    table = _table(
        f"training beside serving; {rounds} round{'' if rounds == 1 else 's'}"
        f"{', interrupted' if result.partial else ''}",
        *("trainer", "duty", "trained/s", "cores", "p99 ms", "fit ms", "p99 / solo [95 %]"),
    )
    _add_duty(table, result, Case("solo"), "0")
    for condition in experiment["conditions"]:
        for duty in experiment["duties"]:
            if duty > 0:
                case = Case(f"{condition}@{duty:g}", {"condition": condition, "duty": duty})
                _add_duty(table, result, case, f"{duty:g}")
    console.print(table)
    if (stops := stops_line(result)) is not None:
        console.print(Text(stops, "yellow"), highlight=False)
    for metric in result.select("headroom_samples_per_s"):
        console.print(_usable(result, metric), highlight=False)


def _add_duty(table: Table, result: Result, case: Case, duty: str) -> None:
    def of(metric: str) -> Metric | None:
        return next(result.select(metric, **case.labels), None)

    def cell(metric: str, form: str, scale: float = 1.0) -> str:
        found = of(metric)
        return (
            "-" if found is None or found.estimate is None else f"{found.estimate * scale:{form}}"
        )

    if of("latency_p50") is None:
        return
    ratio = cell("latency_p99_ratio", ".2f")
    found = of("latency_p99_ratio")
    if found is not None and found.ci95 is not None:
        ratio += " [{:.2f}..{:.2f}]".format(*found.ci95)
    if case.text in stopped_cases(result):
        ratio = "stopped"
    elif any(case.text in round_.saturated for round_ in result.rounds):
        ratio = "saturated"
    table.add_row(
        Text(str(case.labels["condition"])),
        duty,
        cell("train_samples_per_s", ",.0f"),
        cell("trainer_cores", ".2f"),
        cell("latency_p99", ".2f", 1e3),
        cell("latency_p99_fit", ".2f", 1e3),
        "1" if case.text == "solo" else ratio,
    )


def _usable(result: Result, metric: Metric) -> Text:
    condition = metric.condition
    cores = result.metric("headroom_cores", condition)
    slo = result.metric("headroom_slo", condition)
    reach = result.metric("headroom_open", condition)
    if metric.estimate is None or cores is None or cores.estimate is None:
        return Text(f"{condition}: no usable headroom could be estimated", "yellow")
    reached = result.metric("headroom_slo_reached", condition)
    least = "at least " if reached is not None and reached.estimate == 0.0 else ""
    text = f"{condition}: {least}{metric.estimate:,.0f} samples/s"
    if metric.ci95 is not None:
        text += " (95 % interval {:,.0f} to {:,.0f})".format(*metric.ci95)
    text += f", {cores.estimate:.2f} cores"
    if cores.ci95 is not None:
        text += " ({:.2f} to {:.2f})".format(*cores.ci95)
    if slo is not None and slo.estimate is not None:
        text += f", with p99 <= {slo.estimate * 1e3:.2f} ms"
    if reach is not None and reach.estimate:
        text += f"; {reach.estimate * 100:.0f} % of the resamples never reached that"
    return Text(text, "bold")
