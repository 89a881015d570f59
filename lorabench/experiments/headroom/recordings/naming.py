"""What the name of a column and its labels say: kind, unit, mode, host and CPU of its values.

Names are what exporters and dashboards make: a series with its labels, the expression itself, a
legend (``idle``, ``web1 idle``, ``Busy System``), a metric of collectd or Telegraf, a host's name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lorabench.experiments.headroom.recordings.promql import (
    UNKNOWN,
    Kind,
    Meaning,
    is_expression,
    meaning_of,
)

HOSTS = (
    *("instance", "host", "hostname", "node", "nodename", "target", "server", "machine"),
    *("kubernetes_node", "node_name", "exported_instance", "vm"),
)
CPUS = ("cpu", "cpu_id", "core", "cpu_number", "logical_number")
MODES = ("mode", "state", "cpu_mode", "cpu_state", "system.cpu.state", "cpu.mode")
PARTS = ("namespace", "pod", "pod_name", "container", "container_name", "exported_pod", "groupname")

_ALL_CPUS = ("total", "all", "cpu-total", "-1", "_total", "avg", "average")

# Of the kernel's modes of CPU time, how tools write them.
_WORDS = {
    "idle": ("idle",),
    "iowait": ("iowait", "io wait", "io_wait", "io-wait", "wait", "waiting"),
    "user": ("user", "usr"),
    "system": ("system", "sys", "kernel"),
    "nice": ("nice",),
    "irq": ("irq", "irqs", "hardirq", "interrupt"),
    "softirq": ("softirq", "softirqs", "soft", "soft_irq"),
    "steal": ("steal", "stolen"),
    "guest": ("guest",),
    "guest_nice": ("guest_nice", "gnice", "guest nice"),
    "other": ("other", "others"),
}
_MODE_OF = {word: mode for mode, words in _WORDS.items() for word in words}
_BY_LENGTH = sorted(_MODE_OF, key=len, reverse=True)
# By themselves these words say nothing of CPUs.
_VAGUE = ("other", "others", "wait", "waiting", "interrupt", "kernel")

_PERCENT = re.compile(r"%|\b(percent(age)?|pct|prozent)\b|_(percent(age)?|pct)\b")
_CORES = re.compile(r"\b(cores?|vcpus?|cpus used|cpu cores)\b|_cores?\b")
_MILLICORES = re.compile(r"\b(milli-?cores?|mcores?|mcpus?)\b|_(millicores|mcores|mcpu)\b")
_SECONDS = re.compile(r"_seconds_total\b|\bjiffies\b")
# A load average has one of the first, and nothing but the second beside it.
_LOAD = re.compile(r"load|loadavg|load(1|5|15)|(1|5|15)m(in)?|runq(ueue)?")
_BESIDE_LOAD = re.compile(
    r"sys|system|cpu|node|host|avg|average|m|min|minutes?|mins?|(1|5|15)m?(in)?|run|queue|length"
)
_OTHER = re.compile(
    r"\b(mem(ory)?|ram|swap|disk|filesystem|net(work)?|rx|tx|bytes|temp(erature)?|latency|qps|rps|"
    r"requests?|iops|watts?|power|gpu|fan|uptime|frequency|mhz|processes|threads)\b|_bytes\b"
)
_BUSY = re.compile(r"\b(busy|utili[sz]ation|util|non[\s_-]?idle|used by all)\b|_(busy|util\w*)\b")
_SAYS_CPU = re.compile(r"\bcpu|_cpu|\bcpu_|\busage\b|\bbusy\b")
_ONE_CPU = re.compile(r"(?:cpu|core)[\s_#-]?(\d+)")
# ranker-7c9f, ranker-7c9fd8b6c5-x2x4p: what follows the name is drawn.
_POD = re.compile(
    r"-(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{4,10}$|-[bcdf-hj-np-tv-z0-9]{5,10}-[bcdf-hj-np-tv-z0-9]{5}$"
)
_PAIR = re.compile(r"""([\w.]+)\s*[=:]\s*["']*([^"',}]*)["']*""")
_SELECTOR = re.compile(r"(?P<metric>[\w:./-]*)\s*\{(?P<labels>[^{}]*)\}(?P<rest>.*)", re.DOTALL)


@dataclass(frozen=True)
class Name:
    """What the name of a column says.

    Parameters
    ----------
    meaning : Meaning
        Kind, unit and range.
    host : str
        The host, where the name is one or begins with one; empty where it is not.
    labels : mapping of str to str
        Labels in it.
    joined : bool
        The host is joined to the mode by something that may be a part of either's name.
    busy : bool
        It says that its values are busy shares.
    pod : bool
        It ends as names of pods do, of which cores in use are usual.
    expression : bool
        It is an expression, which says it all or is not understood.
    """

    meaning: Meaning = UNKNOWN
    host: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    joined: bool = False
    busy: bool = False
    pod: bool = False
    expression: bool = False


def read_name(text: str) -> Name:
    """Return what a name says."""
    text = text.strip()
    if not text:
        return Name()
    selector = _SELECTOR.fullmatch(text)
    if selector is not None and not is_expression(text):
        pairs = _PAIR.findall(selector["labels"])
        said = _metric(selector["metric"])
        hundredfold = _PERCENT.search(selector["rest"]) or re.search(r"\*\s*100", selector["rest"])
        unit = "percent" if hundredfold else said.unit
        return Name(replace(said, unit=unit), labels=dict(pairs), busy=said.kind == "busy")
    if is_expression(text):
        found = meaning_of(text)
        return Name(found, busy=found.kind == "busy", expression=True)
    metric = _metric(text) if re.fullmatch(r"[\w:]+", text) else Meaning()
    if metric.kind != "unknown":
        return Name(metric, busy=metric.kind == "busy")
    return _words(text)


def _metric(metric: str) -> Meaning:
    if metric in ("node_cpu_seconds_total", "node_cpu", "windows_cpu_time_total"):
        return Meaning("counter", unit="seconds")
    if re.fullmatch(r"(container_cpu_usage|process_cpu|pod_cpu_usage)_seconds_total", metric):
        return Meaning("counter", "busy", "seconds", part=True)
    if ":" in metric or re.search(r"utili[sz]ation|ratio", metric):
        return meaning_of(metric)
    if re.fullmatch(r"node_load(1|5|15)", metric):
        return Meaning("load")
    return _words(metric).meaning if _words(metric).meaning.kind != "unknown" else Meaning()


def _unit(low: str) -> tuple[str, float]:
    if _MILLICORES.search(low):
        return "cores", 1e-3
    if _PERCENT.search(low):
        return "percent", 1.0
    if _CORES.search(low) and not _ONE_CPU.fullmatch(low):
        return "cores", 1.0
    return ("seconds", 1.0) if _SECONDS.search(low) else ("", 1.0)


def _words(text: str) -> Name:
    low = text.lower()
    unit, factor = _unit(low)
    plain = re.sub(r"[(\[]\s*(mean|avg|max|min|last|current)?\s*[)\]]", "", _PERCENT.sub("", low))
    plain = plain.strip(" _-.:()[]")
    one = _ONE_CPU.fullmatch(plain)
    if one is not None:
        return Name(Meaning(unit=unit, factor=factor), labels={"cpu": one[1]})
    mode = _mode(plain)
    if mode is not None:
        # Telegraf's usage_idle and its likes are in per cent.
        unit = unit or ("percent" if re.search(r"\busage_|_usage_", low) else "")
        return Name(_of_mode(mode, unit, factor))
    behind = _behind_host(text, plain)
    if behind is not None:
        host, mode, joined = behind
        one = _ONE_CPU.fullmatch(host.lower())
        if one is not None:
            return Name(_of_mode(mode, unit, factor), labels={"cpu": one[1]})
        return Name(_of_mode(mode, unit, factor), host, joined=joined)
    kind: Kind = "unknown"
    if not unit and _is_load(plain):
        kind = "load"
    elif _OTHER.search(plain) and not _SAYS_CPU.search(plain):
        kind = "other"
    elif unit == "cores":
        kind = "cores"
    elif _BUSY.search(plain):
        kind = "busy"
    pod = kind == "unknown" and _POD.search(text) is not None
    meaning = Meaning(kind, unit=unit, factor=factor)
    return Name(meaning, host=text, busy=kind == "busy", pod=pod)


def _is_load(plain: str) -> bool:
    words = re.findall(r"[a-z]+\d*|\d+[a-z]*", plain)
    return any(_LOAD.fullmatch(word) for word in words) and all(
        _LOAD.fullmatch(word) or _BESIDE_LOAD.fullmatch(word) for word in words
    )


def _of_mode(mode: str, unit: str, factor: float) -> Meaning:
    return Meaning("idle" if mode == "idle" else "mode", mode, unit=unit, factor=factor)


def _mode(plain: str) -> str | None:
    """Return the mode that a name is, with what else tools write about it."""
    core = re.sub(r"\s+-\s.*$", "", plain)
    core = re.sub(r"^(?:node_)?(?:cpu|usage|mode|busy|time|share|system\.cpu)[\s_.:/-]+", "", core)
    core = re.sub(r"^(?:usage|time|mode|percent)[\s_.:/-]+", "", core)
    core = re.sub(r"[\s_.:/-]+(?:time|cpu|share|usage|mode|value|mean|avg)$", "", core)
    return None if core == plain and core in _VAGUE else _MODE_OF.get(core)


def _behind_host(text: str, plain: str) -> tuple[str, str, bool] | None:
    """Return a host and the mode behind its name."""
    for word in _BY_LENGTH:
        found = re.fullmatch(rf"(?P<host>.*\w\S*?)(?P<by>[\s/|,:._-]+){re.escape(word)}", plain)
        if found is not None and word not in _VAGUE:
            joined = not re.search(r"[\s/|,]", found["by"])
            return text[: len(found["host"])].strip(), _MODE_OF[word], joined
    return None


def cpu_of(labels: Mapping[str, str]) -> str:
    """Return the CPU that labels name; empty where they name none, or all of them."""
    found = next((labels[name] for name in CPUS if labels.get(name)), "")
    if found.lower() in _ALL_CPUS:
        return ""
    number = re.fullmatch(r"(?:cpu|core)?[\s_-]?(\d+)", found.lower())
    return number[1] if number is not None else found


def mode_of(word: str) -> str:
    """Return the kernel's name of a mode."""
    return _MODE_OF.get(word.strip().lower(), word.strip().lower())
