"""Recorded CPU use of a production host, judged: exports of sysstat, of Prometheus, of kubectl.

What a file is gets recognised from its text and is never declared; `lorabench.experiments.headroom.
recordings` reads it, and says what it took each column for.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lorabench.bench.experiment import Experiment, Findings, Observer
from lorabench.errors import InputError
from lorabench.experiments.headroom.metrics import add_track, cpu_case, drawn, only_round
from lorabench.experiments.headroom.options import HeadroomOptions
from lorabench.experiments.headroom.recordings.answers import load_json, read_answer
from lorabench.experiments.headroom.recordings.content import FORMATS, read_text
from lorabench.experiments.headroom.recordings.delimited import read_delimited
from lorabench.experiments.headroom.recordings.estimate import estimate
from lorabench.experiments.headroom.recordings.interpretation import Asked, interpret
from lorabench.experiments.headroom.recordings.kubectl import is_kubectl_top, read_kubectl_top
from lorabench.experiments.headroom.recordings.report import Report, is_report
from lorabench.experiments.headroom.recordings.report_json import ReportJson
from lorabench.experiments.headroom.recordings.sadf import Sadf, is_sadf
from lorabench.experiments.headroom.recordings.spans import Trace
from lorabench.experiments.headroom.recordings.table import one_line
from lorabench.results import idle as verdict
from lorabench.results.case import Case
from lorabench.results.idle import IDLE_WINDOW_S
from lorabench.results.windows import Peak, peak, windows

_NOTHING_ASKED = Asked()

# What a terminal gets from sar and others (S_COLORS), where its output was kept.
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def read_trace(path: Path, asked: Asked = _NOTHING_ASKED) -> Trace:
    """Read an export, whichever it is.

    Raises
    ------
    InputError
        It cannot be read, is none of the formats, or a line of it is bad: file, line, column, what
        was found and what was expected.
    """
    return parse_trace(read_text(path), one_line(path.name), asked)


def parse_trace(text: str, name: str, asked: Asked = _NOTHING_ASKED) -> Trace:
    """Read the text of an export; `name` is the file's, for messages.

    Raises
    ------
    InputError
        As `read_trace`.
    """
    text = _COLOURS.sub("", text.removeprefix("\ufeff"))
    start = text.lstrip()[:1]
    if not start:
        raise InputError(f"{name}: found nothing in it, expected {FORMATS}")
    documents = load_json(text, name) if start in "{[" else []
    sysstat = _sysstat(text, documents, name)
    if sysstat is not None:
        if asked != _NOTHING_ASKED:
            sysstat.notes.append("options say nothing here: sysstat says itself what values are")
        return sysstat
    if documents:
        table = read_answer(documents, name)
    elif is_kubectl_top(text):
        table = read_kubectl_top(text, name)
    else:
        labels = [label for label in (asked.host_label, asked.mode_label) if label]
        table = read_delimited(text, name, labels)
    return estimate(table, interpret(table, asked), asked)


def _sysstat(text: str, documents: list[Any], name: str) -> Trace | None:
    if documents:
        first = documents[0]
        is_json = isinstance(first, dict) and "sysstat" in first
        return ReportJson(name).read(first) if is_json else None
    if is_sadf(text):
        return Sadf(name).read(text)
    return Report(name).read(text) if is_report(text) else None


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
        self._trace = read_trace(self._path, self.options.asked)

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
            **self.options.read_as,
            "window_s": _window_s(trace),
            "reading": trace.reading,
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


def _window_s(trace: Trace) -> float:
    """Return the longest window: where values are coarse, each is one by itself."""
    spans = [windows(track, IDLE_WINDOW_S).span_s for track in trace.hosts.values()]
    longest = max((float(span.max()) for span in spans if len(span)), default=IDLE_WINDOW_S)
    return round(longest, 3)


def _evidence(trace: Trace, names: dict[str, str]) -> verdict.Idle:
    peaks = {
        names[host]: found
        for host, track in trace.hosts.items()
        if (found := peak(track, IDLE_WINDOW_S)) is not None
    }
    if peaks:
        # One of several of which hardly anything is known may have done anything.
        missing = [names[host] for host in trace.hosts if names[host] not in peaks]
        peaks |= {name: Peak(0.0, 1.0, exact=False) for name in missing}
    worst = max(peaks, key=lambda name: (peaks[name].low, peaks[name].high), default=None)
    what = "host" if trace.whole else "container or process"
    where = f"the recorded {what}"
    if len(names) > 1:
        many = "hosts" if trace.whole else "containers or processes"
        where = f"{worst or 'none'}, the busiest of {len(names)} recorded {many}"
    tracks = trace.hosts.values()
    return verdict.Idle(
        where=where,
        whole=trace.whole,
        peak=_over(list(peaks.values())),
        observed_s=max(track.covered_s for track in tracks),
        recorded=True,
        unknown_s=max(track.unknown_s for track in tracks),
        range_s=max((track.range_s for track in tracks if track.smoothed), default=0.0),
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
