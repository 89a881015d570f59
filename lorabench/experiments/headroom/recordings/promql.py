"""What an expression of PromQL says of CPUs, where Grafana makes it the name of a column.

Not a parser of the language: of the ways in which people write the CPU's use, the parts that decide
what comes out are looked for. What is in none of these ways stays unknown, and is asked for.
"""

import re
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["busy", "idle", "mode", "counter", "cores", "load", "other", "unknown"]
"""What a column is: a busy share, an idle share, another mode's share, CPU seconds that add up,
cores in use, a load average, something else than CPU time; or that nothing says it."""

_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_NOT_BUSY = ("idle", "iowait")

_LOAD = re.compile(r"\b(node_load|system_load|load)(1|5|15|average|avg)\b")
_CONTAINER = re.compile(
    r"\bcontainer_cpu|\bprocess_cpu|\bpod:|container_cpu_usage|namedprocess|\bpod_cpu"
)
_HOST = re.compile(r"\bnode_cpu\b|\bnode_cpu_seconds_total\b|\bwindows_cpu_time_total\b")
_SHARES = re.compile(r"cpu_utili[sz]ation|cpu[:_].*(ratio|utili[sz]ation)|cpu_usage_ratio")
_CALL = re.compile(
    r"\b(i?rate|increase|delta|deriv|avg|sum|max|min|count|scalar|quantile|clamp\w*|\w+_over_time)"
    r"\s*((by|without)\s*\([^)]*\)\s*)?\(.*[{\[_:]",
    re.DOTALL,
)
_OVER_CPUS = re.compile(r"/\w*\(*(count|scalar|sum|avg)\b|machine_cpu_cores|num_cpu|_quota|:count")


@dataclass(frozen=True)
class Meaning:
    """What a name says.

    Parameters
    ----------
    kind : str
        Of the column.
    mode : str
        Of CPU time, of a ``mode`` or ``counter``; empty where it is not said.
    unit : str
        ``share``, ``percent``, ``cores`` or ``seconds``; empty where it is not said.
    range_s : float
        Each value is the mean over that long; 0 where it is not said.
    instant : bool
        It is of the last two scrapes (``irate``), however long the range.
    part : bool
        It is of a container or a process, and not of all of a host.
    factor : float
        What its values are to be multiplied with, to be of `unit`.
    """

    kind: Kind = "unknown"
    mode: str = ""
    unit: str = ""
    range_s: float = 0.0
    instant: bool = False
    part: bool = False
    factor: float = 1.0


UNKNOWN = Meaning()


def parse_duration(text: str) -> float | None:
    """Read a duration as Prometheus writes it (5m, 1h30m, 90s), or seconds; None if it is none."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not re.fullmatch(r"(\d+(\.\d+)?(ms|[smhdw]))+", text):
        return None
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|[smhdw])", text)
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def is_expression(text: str) -> bool:
    """Whether a text is more than the name of a metric and its labels."""
    if re.search(r"[\w}]:\w\S*\s*[*/+-]\s*\d", text):
        return True  # arithmetic on what a rule recorded
    # A call of a function on what looks like a metric; "CPU avg (web1)" is a name.
    return _CALL.search(text) is not None


def meaning_of(expression: str) -> Meaning:
    """Return what an expression says."""
    text = re.sub(r"\s+", "", expression)
    if _LOAD.search(text):
        return Meaning("load")
    percent = re.search(r"\*100(?!\d)|(?<!\d)100\*|(?<!\d)100-", text) is not None
    rated = re.search(r"\b(irate|rate|deriv)\(", text) is not None
    if re.search(r"\b(max|min|quantile|last|stddev)_over_time\(|\bquantile\(", text):
        return UNKNOWN  # of means over time, these are none
    if _CONTAINER.search(text):
        found = _of_container(text, percent=percent) if rated else UNKNOWN
    elif _SHARES.search(text):
        found = Meaning("busy", unit="percent" if percent else "share")
    elif _HOST.search(text) and rated:
        found = _of_host(text, percent=percent)
    else:
        found = UNKNOWN
    if found.kind == "unknown":
        return found
    return replace(found, range_s=_range(text), instant=re.search(r"\birate\(", text) is not None)


def _of_container(text: str, *, percent: bool) -> Meaning:
    if _OVER_CPUS.search(text):
        # A share of a quota or of a request is none of the node.
        return Meaning("busy", unit="percent" if percent else "share", part=True)
    return Meaning("cores", unit="cores", part=True, factor=0.01 if percent else 1.0)


def _of_host(text: str, *, percent: bool) -> Meaning:
    kind, mode, several = _modes(text)
    averaged = re.search(r"\bavg(by|without)?\(", text) is not None
    if kind == "unknown":
        return UNKNOWN
    if several and averaged and not re.search(r"\bsum(by|without)?\(", text):
        # A mean over several modes of a CPU is none of their sum.
        return UNKNOWN
    unit = ("percent" if percent else "share") if averaged or _OVER_CPUS.search(text) else "cores"
    if kind == "busy" and unit == "cores":
        kind = "cores"
    return Meaning(kind, mode, unit, factor=0.01 if percent and unit == "cores" else 1.0)


def _modes(text: str) -> tuple[Kind, str, bool]:
    """Return whether it selects busy or idle time, or which mode; and whether several modes."""
    found = re.findall(r"""mode(=~|!~|!=|=)["'`]+([^"'`]*)["'`]""", text)
    if not found:
        return "unknown", "", False
    sign, words = found[0]
    selects = sign in ("=", "=~")
    modes = [word.strip("^$()") for word in words.split("|")]
    several = not selects or len(modes) > 1
    if "idle" in modes and all(mode in _NOT_BUSY for mode in modes):
        from_all = re.search(r"(?<![\d.])1(00)?-", text) is not None
        return ("busy" if selects == from_all else "idle"), "", several
    if selects and not several:
        return "mode", modes[0], False
    return "unknown", "", several


def _range(text: str) -> float:
    """Return over how long a value is a mean, subqueries added; 0 where it is not said."""
    plain = [parse_duration(word) for word in re.findall(r"\[(\w+)\]", text)]
    over = [parse_duration(word) for word in re.findall(r"\[(\w+):\w*\]", text)]
    found = [seconds for seconds in plain if seconds]
    recorded = re.findall(r":i?rate(\d+[smhd])\b", text)
    found += [seconds for word in recorded if (seconds := parse_duration(word))]
    return max(found, default=0.0) + sum(seconds for seconds in over if seconds)
