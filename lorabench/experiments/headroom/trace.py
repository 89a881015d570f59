"""Recorded CPU use of a production host: exports of sysstat and of Prometheus, as tracks.

What a file is gets recognised from its first lines and is never declared:

- sysstat: ``sadf -d FILE -- -u ALL`` or ``-u -P ALL`` (semicolons, a header that starts with
  ``# hostname;interval;timestamp``), see sadf(1);
- Prometheus: CSV with a header and a column of times, beside it either busy shares (a column a
  host, or one of values and one of instances) or counters ``node_cpu_seconds_total`` (a column a
  CPU and mode, as Grafana exports them, or columns ``cpu``, ``mode`` and a value).

A CPU is busy when it is not idle and not waiting for a disk; stolen time counts as busy.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lorabench.bench.experiment import Experiment, Findings, Observer
from lorabench.errors import InputError
from lorabench.experiments.headroom.metrics import add_track, cpu_case, drawn, only_round
from lorabench.experiments.headroom.options import HeadroomOptions
from lorabench.experiments.headroom.prometheus import Prometheus
from lorabench.experiments.headroom.recording import FORMATS, Trace
from lorabench.experiments.headroom.sysstat import Sysstat
from lorabench.results import claims as verdict
from lorabench.results.case import Case
from lorabench.results.claims import IDLE_WINDOW_S
from lorabench.results.headroom import Peak, peak


def read_trace(path: Path) -> Trace:
    """Read an export, whichever it is.

    Raises
    ------
    InputError
        It cannot be read, is none of the formats, or a line of it is bad: file, line, column, what
        was found and what was expected.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected {FORMATS}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: found no text, expected {FORMATS}") from None
    return parse_trace(text, path.name)


def parse_trace(text: str, name: str) -> Trace:
    """Read the text of an export; `name` is the file's, for messages.

    Raises
    ------
    InputError
        As `read_trace`.
    """
    first = next((line for line in text.splitlines() if line.strip()), None)
    if first is None:
        raise InputError(f"{name}: found nothing in it, expected {FORMATS}")
    if first.startswith("#") or ";LINUX-RESTART" in first:
        return Sysstat(name).read(text)
    return Prometheus(name).read(text)


class TraceReading(Experiment):
    """A recording of a production host, or of several, judged.

    Hosts are numbered in the file's order; their names are not written down.

    As `Experiment`.
    """

    options: HeadroomOptions

    def __init__(self, options: HeadroomOptions) -> None:
        super().__init__(options)
        assert options.trace is not None
        self._path: Path = options.trace
        self._trace: Trace | None = None

    def measure(self, observer: Observer) -> None:  # noqa: ARG002 - reading takes no time
        """Read the file.

        Raises
        ------
        InputError
            As `read_trace`.
        """
        self._trace = read_trace(self._path)

    def findings(self) -> Findings | None:
        """Return what the recording says, once it is read."""
        trace = self._trace
        if trace is None:
            return None
        several = len(trace.hosts) > 1
        names = {h: f"host{n}" if several else "host" for n, h in enumerate(trace.hosts, start=1)}
        config = {
            "mode": "trace",
            "kind": trace.kind,
            "sha256": hashlib.sha256(self._path.read_bytes()).hexdigest(),
            "hosts": len(names),
        }
        # Nothing is said of this machine: it only reads what another one did.
        found = Findings({"experiment": config}, machine={})
        cases = {host: Case(name) for host, name in names.items()}
        for host, track in trace.hosts.items():
            add_track(found.table, "cpu_busy", cases[host], track)
        for (host, cpu), track in trace.cpus.items():
            add_track(found.table, "cpu_busy", cpu_case(cpu, names[host]), track)
        found.series = [drawn("cpu_busy", cases[host], t) for host, t in trace.hosts.items()]
        found.claims = [verdict.headroom_idle(_evidence(trace, names))]
        found.rounds = [only_round(next(iter(cases.values())), trace.notes)]
        found.raw = {
            f"track/{names[host]}/cpu_busy": np.stack([t.begin_s, t.end_s, t.value], axis=1)
            for host, t in trace.hosts.items()
        }
        return found


def _evidence(trace: Trace, names: dict[str, str]) -> verdict.Idle:
    peaks = {
        names[host]: found
        for host, track in trace.hosts.items()
        if (found := peak(track, IDLE_WINDOW_S)) is not None
    }
    worst = max(peaks, key=lambda name: (peaks[name].low, peaks[name].high), default=None)
    where = "the recorded host"
    if len(names) > 1:
        where = f"{worst or 'none'}, the busiest of {len(names)} recorded hosts"
    return verdict.Idle(
        where=where,
        whole=True,
        peak=_over(list(peaks.values())),
        observed_s=max(track.covered_s for track in trace.hosts.values()),
    )


def _over(peaks: Sequence[Peak]) -> Peak | None:
    """Bound the busiest window of several hosts."""
    if not peaks:
        return None
    return Peak(
        max(one.low for one in peaks),
        max(one.high for one in peaks),
        exact=all(one.exact for one in peaks),
    )
