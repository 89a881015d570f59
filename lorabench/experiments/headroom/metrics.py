"""What an observation and a recording say alike: loads over time as metrics, series and a round.

A CPU of a host is labelled by its number, and by the host; the host itself, a process or a control
group has its own name as ``condition``.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lorabench.results import schema
from lorabench.results.case import Case
from lorabench.results.idle import IDLE_WINDOW_S
from lorabench.results.metrics import MetricTable
from lorabench.results.registry import metric_spec
from lorabench.results.windows import Track, Windows, windows

# More points than this make a document large and no plot finer.
_MOST_POINTS = 3600


def cpu_case(cpu: int | str, host: str = "host") -> Case:
    """Return the case of a CPU; its text names the host where there are several."""
    number = int(cpu) if str(cpu).isdecimal() else cpu
    text = f"cpu{cpu}" if host == "host" else f"{host}/cpu{cpu}"
    return Case(text, {"condition": host, "cpu": number})


def add_windows(
    table: MetricTable, name: str, case: Case, mean: float | None, over: Windows
) -> None:
    """Write down the mean over the time, and 95th percentile and peak over windows."""
    table.add(name, case, mean)
    table.add(f"{name}_p95", case, over.p95)
    table.add(f"{name}_peak", case, over.peak)


def add_track(table: MetricTable, name: str, case: Case, track: Track) -> None:
    """Write down a load over time."""
    add_windows(table, name, case, track.mean, windows(track, IDLE_WINDOW_S))


def drawn(name: str, case: Case, track: Track) -> schema.Series:
    """Return a track at the ends of its spans; of a long one, means over several."""
    each = math.ceil(len(track.value) / _MOST_POINTS) or 1
    cuts = np.arange(0, len(track.value), each)
    span = track.span_s
    x: NDArray[np.float64] = track.end_s
    y: NDArray[np.float64] = track.value
    if each > 1:
        y = np.add.reduceat(y * span, cuts) / np.add.reduceat(span, cuts)
        x = x[np.minimum(cuts + each, len(x)) - 1]
    origin = float(track.begin_s[0]) if len(track.begin_s) else 0.0
    return schema.Series.of(
        name,
        case,
        x - origin,
        y,
        units=("s", metric_spec(name).unit),
    )


def only_round(
    case: Case, notes: Sequence[str], steal_s: Mapping[str, float] | None = None
) -> schema.Round:
    """Return the one round of which something consists that nobody loaded."""
    return schema.Round(
        index=0,
        order=[case.text],
        schedule_sha256={},
        queries={},
        saturated=[],
        wraps=0,
        steal_s=dict(steal_s or {}),
        involuntary_switches={},
        notes=list(notes),
    )
