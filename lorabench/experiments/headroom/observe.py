"""Idle CPU of a host in production, observed or read from a recording; nothing is loaded here.

The kernel's counters are sampled about once a second and judged over windows of 10 s. The observer
keeps its own use of the CPU below 0.5 % of a core, measures it and reports it: samples come further
apart where reading is dear. How much of the idle CPU can be *used* is asked by
`lorabench.experiments.headroom.sweep`. No torch here, so that attaching is light.
"""

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.experiments.headroom.trace import read_trace
from lorabench.host import environment
from lorabench.host.missing import Missing
from lorabench.host.observe import (
    CgroupReader,
    GoneError,
    HostReader,
    ProcessReader,
    RunQueue,
    Sample,
    bench_load,
)
from lorabench.host.topology import read_topology
from lorabench.results import claims as verdict
from lorabench.results import schema
from lorabench.results.claims import IDLE_WINDOW_S
from lorabench.results.headroom import Peak, Track, Windows, peak, windows
from lorabench.results.program import program

Report = Callable[[str, float], None]
Better = Literal["lower", "higher"]

# Unit of every metric; `_p95` and `_peak` of it are over windows.
UNITS: dict[str, tuple[str, Better]] = {
    "cpu_busy": ("1", "lower"),
    "cpu_cores": ("1", "lower"),
    "cpu_steal": ("1", "lower"),
    "psi_some_cpu": ("1", "lower"),
    "psi_full_cpu": ("1", "lower"),
    "psi_some_memory": ("1", "lower"),
    "psi_full_memory": ("1", "lower"),
    "psi_some_io": ("1", "lower"),
    "psi_full_io": ("1", "lower"),
    "runqueue_delay": ("s", "lower"),
    "runqueue_waiting": ("1", "lower"),
    "memory_bandwidth": ("B/s", "lower"),
    "sampler_cpu_share": ("1", "lower"),
}

# Of one core, at most: for all that happens between the first sample and the last, with something
# left for drawing; and for asking every thread.
MOST_SHARE = 0.005
_SHARE = 0.004
_THREADS_SHARE = 0.002

# Drawing progress costs more than a sample does.
_REPORT_S = 5.0

_WORDS = {"host": "this host", "pid": "this process", "cgroup": "this control group"}

# More points than this make a document large and no plot finer.
_MOST_POINTS = 3600


@dataclass(frozen=True)
class ObservationConfig:
    """What is observed.

    Parameters
    ----------
    duration_s : float
        For how long.
    pid : int or None
        This process in place of the host.
    cgroup : str or None
        This control group in place of the host.
    interval_s : float
        Between samples, at least.
    """

    duration_s: float = 60.0
    pid: int | None = None
    cgroup: str | None = None
    interval_s: float = 1.0

    def check(self) -> None:
        """Refuse what cannot be done.

        Raises
        ------
        InputError
            Naming the option.
        """
        if not 0 < self.duration_s <= 7 * 86_400:
            raise InputError(
                f"--duration: found {self.duration_s}, expected above 0 and at most 604800 s"
            )
        if self.pid is not None and self.cgroup is not None:
            raise InputError("--pid: found --cgroup beside it, expected one or the other")
        if self.pid is not None and self.pid < 1:
            raise InputError(f"--pid: found {self.pid}, expected the number of a process")


class Recorder:
    """Makes tracks from samples.

    Parameters
    ----------
    first : Sample
        Where they begin; its CPUs get a track each.
    cpus : int
        CPUs of the node: what a process's CPU time is a share of.
    """

    def __init__(self, first: Sample, cpus: int) -> None:
        self.cpus = tuple(sorted(first.cpus))
        self._node_cpus = cpus
        self._origin_s = first.at_s
        self._last = first
        self._last_queue = first if first.queue is not None else None
        self._spans: list[tuple[float, float]] = []
        self._per_cpu: list[NDArray[np.float32]] = []
        self._values: dict[str, list[tuple[float, float, float]]] = {}
        self.turns: list[float] = []
        self.steal_s = 0.0

    @property
    def observed_s(self) -> float:
        """From the first sample to the last."""
        return self._last.at_s - self._origin_s

    @property
    def spans(self) -> int:
        """How many there are."""
        return len(self._spans)

    def add(self, now: Sample) -> None:
        """Take one more sample."""
        before, self._last = self._last, now
        begin, end = before.at_s - self._origin_s, now.at_s - self._origin_s
        if end <= begin:
            return
        span_s = end - begin
        self._spans.append((begin, end))
        if self.cpus:
            self._add_cpus(before, now, begin, end)
        if now.cpu_s is not None and before.cpu_s is not None:
            cores = max(0.0, now.cpu_s - before.cpu_s) / span_s
            self._put("cpu_cores", begin, end, cores)
            self._put("cpu_busy", begin, end, min(1.0, cores / self._node_cpus))
        for name, total_s in now.pressure_s.items():
            if name in before.pressure_s:
                stalled = max(0.0, total_s - before.pressure_s[name]) / span_s
                self._put(name, begin, end, min(1.0, stalled))
        if now.memory_bytes is not None and before.memory_bytes is not None:
            moved = now.memory_bytes - before.memory_bytes
            if moved >= 0:  # a monitor that was taken away makes the sum fall
                self._put("memory_bandwidth", begin, end, moved / span_s)
        if now.queue is not None:
            self._add_queue(now.queue, now)

    def _add_cpus(self, before: Sample, now: Sample, begin: float, end: float) -> None:
        row = np.full(len(self.cpus), np.nan, np.float32)
        places = {cpu: i for i, cpu in enumerate(self.cpus)}
        total = idle = steal = 0.0
        for cpu, times in now.cpus.items():
            was = before.cpus.get(cpu)
            # The kernel's counters of idle and stolen time now and then go back by a tick.
            if was is None or times.total_s <= was.total_s:
                continue
            spent = times.total_s - was.total_s
            spare = min(spent, max(0.0, times.idle_s - was.idle_s))
            total, idle = total + spent, idle + spare
            steal += max(0.0, times.steal_s - was.steal_s)
            if cpu in places:
                row[places[cpu]] = 1.0 - spare / spent
        self._per_cpu.append(row)
        if total > 0:
            self._put("cpu_busy", begin, end, 1.0 - idle / total)
            self._put("cpu_steal", begin, end, min(1.0, steal / total))
            self.steal_s += steal

    def _add_queue(self, queue: RunQueue, now: Sample) -> None:
        before, self._last_queue = self._last_queue, now
        if before is None or before.queue is None:
            return
        begin, end = before.at_s - self._origin_s, now.at_s - self._origin_s
        waited = max(0.0, queue.delay_s - before.queue.delay_s)
        self._put("runqueue_waiting", begin, end, waited / (end - begin))
        self.turns.append(max(0, queue.turns - before.queue.turns) / (end - begin))

    def _put(self, name: str, begin: float, end: float, value: float) -> None:
        self._values.setdefault(name, []).append((begin, end, value))

    def tracks(self) -> dict[str, Track]:
        """Give every quantity over time."""
        return {name: _track(np.array(rows)) for name, rows in self._values.items()}

    def cpu_tracks(self) -> dict[int, Track]:
        """Give the busy share of every single CPU over time, without the times it was offline."""
        if not self._per_cpu:
            return {}
        spans, busy = np.array(self._spans), np.array(self._per_cpu, np.float64)
        found = {}
        for place, cpu in enumerate(self.cpus):
            there = np.isfinite(busy[:, place])
            found[cpu] = Track(spans[there, 0], spans[there, 1], busy[there, place])
        return found

    def raw(self) -> dict[str, NDArray[np.generic]]:
        """Give arrays for the file of raw samples."""
        arrays: dict[str, NDArray[np.generic]] = {"spans_s": np.array(self._spans)}
        if self._per_cpu:
            arrays["cpu"] = np.array(self.cpus)
            arrays["cpu_busy"] = np.array(self._per_cpu)
        for name, rows in self._values.items():
            arrays[f"track/{name}"] = np.array(rows)
        return arrays


class Observation:
    """One observation of a host, a process or a control group.

    Parameters
    ----------
    config : ObservationConfig
        What is asked for.
    report : callable
        Told how much of it is done.
    root : Path
        Where ``proc`` and ``sys`` lie.

    Raises
    ------
    InputError
        The configuration is none, or what it names is not there.
    """

    def __init__(self, config: ObservationConfig, report: Report, root: Path = Path("/")) -> None:
        config.check()
        self.config = config
        self._report = report
        self._root = root
        self.topology = read_topology(root)
        self._reader: HostReader | ProcessReader | CgroupReader
        if config.pid is not None:
            self._reader = ProcessReader(config.pid, root / "proc")
        elif config.cgroup is not None:
            self._reader = CgroupReader(config.cgroup, root)
        else:
            self._reader = HostReader(root)
        self._recorder: Recorder | None = None
        self._sampler_share = 0.0
        self._bench: set[str] = set()
        self._ended: str | None = None

    def run(self) -> None:
        """Observe until the time is up, or until what is observed has ended."""
        self._bench.update(bench_load(self._root / "proc"))
        self._report(f"observing {self._reader.name}", 0.0)
        try:
            self._sample()
        except GoneError as error:
            self._ended = str(error)
        if self._recorder is None or not self._recorder.spans:
            why = self._ended or "no time passed between two samples"
            raise InputError(f"{self._reader.name}: {why} before anything could be observed")
        self._bench.update(bench_load(self._root / "proc"))

    def _sample(self) -> None:
        interval, until = self.config.interval_s, self.config.duration_s
        used_before = time.process_time()
        first = self._reader.sample()
        recorder = self._recorder = Recorder(first, len(self.topology.online))
        begin = asked = reported = first.at_s
        asking_s = time.process_time() - used_before
        while True:
            used_s = time.process_time() - used_before
            now = time.monotonic()
            # Never a longer pause than to the end, which gives the last sample.
            due = max(now + interval - (now - begin) % interval, begin + used_s / _SHARE)
            last = due >= begin + until - interval / 2
            time.sleep(max(0.0, min(due, begin + until) - now))
            started = time.process_time()
            ask = last or time.monotonic() - asked >= asking_s / _THREADS_SHARE
            sample = self._reader.sample(queue=ask)
            recorder.add(sample)
            if ask:
                asked, asking_s = sample.at_s, time.process_time() - started
            self._sampler_share = (time.process_time() - used_before) / recorder.observed_s
            if last:
                return
            if sample.at_s - reported >= _REPORT_S:
                reported = sample.at_s
                self._report(f"observing {self._reader.name}", (sample.at_s - begin) / until)

    @property
    def raw(self) -> dict[str, NDArray[np.generic]]:
        """Arrays for the file of raw samples."""
        return {} if self._recorder is None else self._recorder.raw()

    @property
    def observed(self) -> bool:
        """Whether there is anything to write down."""
        return self._recorder is not None and self._recorder.spans > 0

    def document(self, *, partial: bool = False) -> schema.Result:
        """Assemble the result document from what has been observed so far."""
        recorder = self._recorder
        assert recorder is not None
        # A process's number or a group's name says nothing to who reads it on another day.
        condition = self._reader.name.split()[0]
        tracks = recorder.tracks()
        metrics = _of_tracks(tracks, recorder, condition)
        for cpu, track in recorder.cpu_tracks().items():
            metrics += _summary("cpu_busy", f"cpu{cpu}", track.mean, windows(track, IDLE_WINDOW_S))
        metrics.append(_metric("sampler_cpu_share", "sampler", self._sampler_share))
        busy = tracks.get("cpu_busy")
        evidence = verdict.Idle(
            where=_WORDS[condition],
            whole=condition == "host",
            peak=None if busy is None else peak(busy, IDLE_WINDOW_S),
            observed_s=recorder.observed_s,
            bench=tuple(sorted(self._bench)),
        )
        return _document(
            {"experiment": asdict(self.config) | {"mode": "passive", "observes": condition}},
            metrics=metrics,
            claims=[verdict.headroom_idle(evidence)],
            series=[_series(name, condition, track) for name, track in tracks.items()],
            unavailable=self._reader.missing,
            notes=self._notes(),
            environ=environment.capture(self.topology),
            partial=partial or self._ended is not None,
            steal={condition: recorder.steal_s} if recorder.cpus else {},
        )

    def _notes(self) -> list[str]:
        notes = []
        if self._ended is not None:
            notes.append(f"{self._ended} before the time was up: this is what was seen until then")
        if getattr(self._reader, "skipped_threads", False):
            notes.append("there were more threads than are asked for their run-queue delay")
        if self._sampler_share > MOST_SHARE:
            notes.append(
                f"observing took {self._sampler_share * 100:.2f} % of a core, more than the "
                f"{MOST_SHARE * 100:.1f} % meant: a longer --duration spreads it"
            )
        return notes


def from_trace(path: Path) -> tuple[schema.Result, dict[str, NDArray[np.generic]]]:
    """Judge a recording of a production host, or of several.

    Hosts are numbered in the file's order; their names are not written down.

    Returns
    -------
    Result
        The document.
    dict of str to array
        Raw samples for the file beside it.

    Raises
    ------
    InputError
        The file cannot be read or is none that is known (`lorabench.experiments.headroom.trace`).
    """
    trace = read_trace(path)
    names = {host: f"host{n}" for n, host in enumerate(trace.hosts, start=1)}
    if len(names) == 1:
        names = dict.fromkeys(names, "host")
    metrics: list[schema.Metric] = []
    series: list[schema.Series] = []
    raw: dict[str, NDArray[np.generic]] = {}
    for host, track in trace.hosts.items():
        over = windows(track, IDLE_WINDOW_S)
        metrics += _summary("cpu_busy", names[host], track.mean, over)
        series.append(_series("cpu_busy", names[host], track))
        raw[f"track/{names[host]}/cpu_busy"] = np.stack(
            [track.begin_s, track.end_s, track.value], axis=1
        )
    for (host, cpu), track in trace.cpus.items():
        condition = f"cpu{cpu}" if len(trace.hosts) == 1 else f"{names[host]}/cpu{cpu}"
        metrics += _summary("cpu_busy", condition, track.mean, windows(track, IDLE_WINDOW_S))
    peaks = {
        names[host]: found
        for host, track in trace.hosts.items()
        if (found := peak(track, IDLE_WINDOW_S)) is not None
    }
    worst = max(peaks, key=lambda name: (peaks[name].low, peaks[name].high), default=None)
    where = "the recorded host"
    if len(names) > 1:
        where = f"{worst or 'none'}, the busiest of {len(names)} recorded hosts"
    evidence = verdict.Idle(
        where=where,
        whole=True,
        peak=_over(list(peaks.values())),
        observed_s=max(track.covered_s for track in trace.hosts.values()),
    )
    result = _document(
        {
            "experiment": {
                "mode": "trace",
                "kind": trace.kind,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "hosts": len(names),
            }
        },
        metrics=metrics,
        claims=[verdict.headroom_idle(evidence)],
        series=series,
        unavailable=(),
        notes=trace.notes,
        # Not of this machine: it only reads what another one did.
        environ={},
    )
    return result, raw


def _over(peaks: list[Peak]) -> Peak | None:
    """Bound the busiest window of several hosts."""
    if not peaks:
        return None
    return Peak(
        max(one.low for one in peaks),
        max(one.high for one in peaks),
        exact=all(one.exact for one in peaks),
    )


def _of_tracks(
    tracks: Mapping[str, Track], recorder: Recorder, condition: str
) -> list[schema.Metric]:
    metrics: list[schema.Metric] = []
    for name, track in tracks.items():
        metrics += _summary(name, condition, track.mean, windows(track, IDLE_WINDOW_S))
    waiting = tracks.get("runqueue_waiting")
    if waiting is not None:
        # Seconds waited a second over turns a second.
        turns = Track(waiting.begin_s, waiting.end_s, np.array(recorder.turns))
        total = turns.mean
        mean = waiting.mean / total if waiting.mean is not None and total else None
        over, rate = windows(waiting, IDLE_WINDOW_S), windows(turns, IDLE_WINDOW_S)
        some = rate.mean > 0
        delay = Windows(over.begin_s[some], over.span_s[some], over.mean[some] / rate.mean[some])
        metrics += _summary("runqueue_delay", condition, mean, delay)
    return metrics


def _summary(name: str, condition: str, mean: float | None, over: Windows) -> list[schema.Metric]:
    """Give mean over the time, 95th percentile and peak over windows."""
    return [
        _metric(name, condition, mean),
        _metric(f"{name}_p95", condition, over.p95),
        _metric(f"{name}_peak", condition, over.peak),
    ]


def _metric(name: str, condition: str, value: float | None) -> schema.Metric:
    unit, better = UNITS[name.removesuffix("_p95").removesuffix("_peak")]
    return schema.Metric(
        name=name,
        condition=condition,
        unit=unit,
        better=better,
        values=[value],
        estimate=value,
        ci95=None,
    )


def _series(name: str, condition: str, track: Track) -> schema.Series:
    """Draw a track at the ends of its spans; long ones are averaged first."""
    each = math.ceil(len(track.value) / _MOST_POINTS) or 1
    cuts = np.arange(0, len(track.value), each)
    span = track.span_s
    x: NDArray[np.float64] = track.end_s
    y: NDArray[np.float64] = track.value
    if each > 1:
        y = np.add.reduceat(y * span, cuts) / np.add.reduceat(span, cuts)
        x = x[np.minimum(cuts + each, len(x)) - 1]
    origin = float(track.begin_s[0]) if len(track.begin_s) else 0.0
    unit = UNITS[name][0]
    return schema.Series(
        name=name,
        condition=condition,
        x=(x - origin).tolist(),
        y=y.tolist(),
        x_unit="s",
        y_unit=unit,
    )


def _track(rows: NDArray[np.float64]) -> Track:
    return Track(rows[:, 0], rows[:, 1], rows[:, 2])


def _document(
    config: dict[str, Any],
    *,
    metrics: list[schema.Metric],
    claims: list[schema.Claim],
    series: list[schema.Series],
    unavailable: tuple[Missing, ...],
    notes: list[str],
    environ: dict[str, Any],
    partial: bool = False,
    steal: Mapping[str, float] | None = None,
) -> schema.Result:
    now = datetime.now(UTC)
    condition = metrics[0].condition
    return schema.Result(
        command="headroom",
        id=schema.new_id(now),
        created=now,
        lorabench=program(),
        config=config,
        config_hash=schema.config_hash(config),
        environment=environ,
        partial=partial,
        rounds=[
            schema.Round(
                index=0,
                order=[condition],
                schedule_sha256={},
                queries={},
                saturated=[],
                wraps=0,
                steal_s=dict(steal or {}),
                involuntary_switches={},
                notes=notes,
            )
        ],
        metrics=metrics,
        claims=claims,
        unavailable=[schema.Unavailable(**asdict(missing)) for missing in unavailable],
        series=series,
    )
