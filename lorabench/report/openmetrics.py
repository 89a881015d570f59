"""Results as a text of OpenMetrics 1.0, which Prometheus and what reads its format take in.

Every metric is a gauge of its estimate, named with its unit, with the ends of its interval as two
gauges beside it (https://prometheus.io/docs/specs/om/open_metrics_spec/). Verdicts and which run it
was are gauges too, and no state set or info: so the text is also one of Prometheus's older format,
which Pushgateway and node_exporter's textfile collector read.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

from lorabench.errors import InputError
from lorabench.results.registry import metric_spec
from lorabench.results.schema import Claim, Metric, Result, Verdict

PREFIX = "lorabench_"

Labels = Mapping[str, str]


# Units as names bear them, and ends of names that say a unit already.
_UNITS = {
    "1": "",
    "s": "seconds",
    "B": "bytes",
    "B/s": "bytes_per_second",
    "1/s": "per_second",
    "CPUs": "cpus",
}
_ENDINGS = {"s": {"_s": ""}, "B": {"_bytes": ""}, "1/s": {"_per_s": "", "_qps": "_queries"}}


@dataclass
class _Family:
    """All samples of one name."""

    unit: str
    about: str
    samples: dict[tuple[tuple[str, str], ...], str] = field(default_factory=dict)


def render(results: Sequence[Result], *, timestamps: bool = False) -> bytes:
    """Write documents as one text.

    Parameters
    ----------
    results : sequence of Result
        Documents; the label ``run`` tells them apart.
    timestamps : bool
        Give every sample the time of its document.

    Raises
    ------
    InputError
        Two samples would have the same name and labels.
    """
    families: dict[str, _Family] = {}
    for result in results:
        at = f" {result.created.timestamp():.3f}" if timestamps else ""
        _add_run(families, result, at)
        for metric in result.metrics:
            _add_metric(families, result, metric, at)
        told: Counter[str] = Counter()
        for claim in result.claims:
            told[claim.id] += 1
            _add_claim(families, result, claim, told[claim.id], at)
    lines = [line for name, family in families.items() for line in _lines(name, family)]
    return "\n".join([*lines, "# EOF", ""]).encode()


def family_name(name: str, unit: str, end: str = "") -> str:
    """Return the name of a metric's gauge, with its unit last as OpenMetrics asks.

    Parameters
    ----------
    name, unit : str
        As a document has them.
    end : str
        What the gauge is of the metric; by default its estimate.
    """
    stem = name
    for ending, instead in _ENDINGS.get(unit, {}).items():
        if name.endswith(ending):
            stem = name.removesuffix(ending) + instead
    return PREFIX + "_".join(filter(None, (_name(stem), end, _unit(unit))))


def escape(text: str) -> str:
    """Return a text as it stands between quotes."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _unit(unit: str) -> str:
    return _UNITS.get(unit, _name(unit))


def _name(text: str) -> str:
    """Return a text with what no name may have as underscores."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", text)


def _add_run(families: dict[str, _Family], result: Result, at: str) -> None:
    run = {
        "run": result.id,
        "command": result.command,
        "version": result.lorabench.version,
        "git": result.lorabench.git or "",
        "config_hash": result.config_hash,
        "partial": str(result.partial).lower(),
    }
    info = _Family("", "Which run it was.")
    _put(families, f"{PREFIX}run_info", info, run, value=1.0, at=at)
    when = _Family("seconds", "When the document was written, since the epoch.")
    created = result.created.timestamp()
    _put(families, f"{PREFIX}run_written_seconds", when, _of(result), value=created, at=at)


def _add_metric(families: dict[str, _Family], result: Result, metric: Metric, at: str) -> None:
    try:
        about = metric_spec(metric.name).what
    except KeyError:  # of another version
        about = ""
    unit = _unit(metric.unit)
    labels = _of(result) | {"case": metric.condition} | _labels(metric)
    low, high = metric.ci95 or (None, None)
    for end, words, value in (
        ("", about, metric.estimate),
        ("ci95_low", "lower end of the 95 % interval", low),
        ("ci95_high", "upper end of the 95 % interval", high),
    ):
        if value is not None:
            family = _Family(unit, words)
            name = family_name(metric.name, metric.unit, end)
            _put(families, name, family, labels, value=value, at=at)


def _labels(metric: Metric) -> dict[str, str]:
    """Return the labels by names that may be names and that are not taken."""
    return {
        key
        if re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_]*", key) and key not in {"run", "command", "case"}
        else f"label_{number}_{_name(key)}": str(value)
        for number, (key, value) in enumerate(metric.labels.items())
    }


def _add_claim(
    families: dict[str, _Family], result: Result, claim: Claim, number: int, at: str
) -> None:
    # Schema 1 had claims of one id, such as one for each D.
    of = _of(result) | {"claim": claim.id if number == 1 else f"{claim.id} ({number})"}
    for verdict in get_args(Verdict):
        family = _Family("", "1 at what became of a claim, else 0.")
        labels, value = {**of, "verdict": verdict}, float(verdict == claim.verdict)
        _put(families, f"{PREFIX}claim_verdict", family, labels, value=value, at=at)
    target = _Family("", "The limit of a claim.")
    _put(families, f"{PREFIX}claim_target", target, of, value=claim.target, at=at)
    if claim.measured is not None:
        measured = _Family("", "What was measured for a claim.")
        _put(families, f"{PREFIX}claim_measured", measured, of, value=claim.measured, at=at)


def _of(result: Result) -> dict[str, str]:
    return {"run": result.id, "command": result.command}


def _put(
    families: dict[str, _Family],
    name: str,
    made: _Family,
    labels: Labels,
    *,
    value: float,
    at: str,
) -> None:
    family = families.setdefault(name, made)
    key = tuple(sorted(labels.items()))
    if family.about != made.about:
        raise InputError(f"{name}: found two things of this name, expected one")
    if key in family.samples:
        named = ", ".join(f"{label} {text!r:.40}" for label, text in labels.items())
        raise InputError(f"{name}: found it twice of {named:.200}, expected it once")
    family.samples[key] = f"{float(value)!r}{at}"


def _lines(name: str, family: _Family) -> Iterator[str]:
    yield f"# TYPE {name} gauge"
    if family.unit:
        yield f"# UNIT {name} {family.unit}"
    if family.about:
        yield f"# HELP {name} {escape(family.about)}"
    for labels, value in family.samples.items():
        text = ",".join(f'{label}="{escape(told)}"' for label, told in labels)
        yield f"{name}{{{text}}} {value}"
