"""Idle CPU of a host in production, observed while others load it; nothing is loaded here.

The kernel's counters are sampled about once a second and judged over windows of 10 s. The observer
keeps its own use of the CPU below 0.5 % of a core, measures it and reports it: samples come further
apart where reading is dear. How much of the idle CPU can be *used* is asked by
`lorabench.experiments.headroom.sweep`. No torch here, so that attaching is light.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lorabench.bench.experiment import Experiment, Findings, Observer
from lorabench.errors import InputError
from lorabench.experiments.headroom.metrics import (
    add_track,
    add_windows,
    cpu_case,
    drawn,
    only_round,
)
from lorabench.experiments.headroom.options import HeadroomOptions
from lorabench.experiments.headroom.recorder import Recorder
from lorabench.host import environment
from lorabench.host.cgroups import Group, groups_with
from lorabench.host.files import Files
from lorabench.host.load import bench_load
from lorabench.host.observe import CgroupReader, GoneError, HostReader, ProcessReader
from lorabench.host.quota import QuotaReader, below_mounts, groups_of_path
from lorabench.host.topology import read_topology
from lorabench.results import idle as verdict
from lorabench.results.case import Case
from lorabench.results.idle import IDLE_WINDOW_S
from lorabench.results.metrics import MetricTable
from lorabench.results.windows import Peak, Track, Windows, peak, windows

DURATION_S = 60.0
"""How long is observed where nobody says it."""

# Of one core, at most: for all that happens between the first sample and the last, with something
# left for drawing; and for asking every thread.
MOST_SHARE = 0.005
_SHARE = 0.004
_THREADS_SHARE = 0.002

# Of a sample, beside a float32 a CPU: when it was, and a few tracks of three float64.
_SAMPLE_BYTES = 256

# Drawing progress costs more than a sample does.
_REPORT_S = 5.0

_WORDS = {"host": "this host", "pid": "this process", "cgroup": "this control group"}


class Observation(Experiment):
    """One observation of a host, a process or a control group.

    Parameters
    ----------
    options : HeadroomOptions
        What is asked for.
    root : Path
        Where ``proc`` and ``sys`` lie.
    interval_s : float
        Between samples, at least.

    Raises
    ------
    InputError
        What the options name is not there.
    """

    options: HeadroomOptions

    def __init__(
        self, options: HeadroomOptions, root: Path = Path("/"), interval_s: float = 1.0
    ) -> None:
        super().__init__(options)
        self._duration_s = DURATION_S if options.duration_s is None else options.duration_s
        self._interval_s = interval_s
        self._root = root
        self._topology = read_topology(root)
        self._reader: HostReader | ProcessReader | CgroupReader
        if options.pid is not None:
            self._reader = ProcessReader(options.pid, root / "proc")
        elif options.cgroup is not None:
            self._reader = CgroupReader(below_mounts(Files(root), options.cgroup), root)
        else:
            self._reader = HostReader(root)
        self._quotas = QuotaReader(Files(root), _groups(options, Files(root)))
        self._recorder: Recorder | None = None
        self._sampler_share = 0.0
        self._bench: set[str] = set()
        self._ended: str | None = None

    def measure(self, observer: Observer) -> None:
        """Observe until the time is up, or until what is observed has ended.

        Raises
        ------
        InputError
            It had ended before anything was seen of it.
        """
        samples = int(self._duration_s / self._interval_s)
        cpus = len(self._topology.online)
        self.room(samples * cpus, samples * (_SAMPLE_BYTES + 4 * cpus))
        self._bench.update(bench_load(self._root / "proc"))
        observer.stage(f"observing {self._reader.name}", 0.0)
        try:
            self._sample(observer)
        except GoneError as error:
            self._ended = str(error)
        if self._recorder is None or not self._recorder.spans:
            why = self._ended or "no time passed between two samples"
            raise InputError(f"{self._reader.name}: {why} before anything could be observed")
        self._bench.update(bench_load(self._root / "proc"))

    def _sample(self, observer: Observer) -> None:
        interval, until = self._interval_s, self._duration_s
        used_before = time.process_time()
        first = self._reader.sample()
        node_cpus = len(self._topology.online)
        recorder = self._recorder = Recorder(first, node_cpus, self._quotas.sample())
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
            recorder.add(sample, self._quotas.sample())
            if ask:
                asked, asking_s = sample.at_s, time.process_time() - started
            self._sampler_share = (time.process_time() - used_before) / recorder.observed_s
            if last:
                return
            if sample.at_s - reported >= _REPORT_S:
                reported = sample.at_s
                observer.stage(f"observing {self._reader.name}", (sample.at_s - begin) / until)

    def findings(self) -> Findings | None:
        """Return what has been seen so far, once two samples have been taken."""
        recorder = self._recorder
        if recorder is None or not recorder.spans:
            return None
        # A process's number or a group's name says nothing to who reads it on another day.
        case = Case(self._reader.name.split()[0])
        tracks = recorder.tracks()
        lacking = recorder.stillness.lacking
        found = Findings(
            {"experiment": self._config(case)},
            machine=environment.capture(self._topology),
            raw=recorder.raw(),
            unavailable=(*self._reader.missing, *([lacking] if lacking else [])),
            partial=self._ended is not None,
        )
        for name, track in tracks.items():
            add_track(found.table, name, case, track)
        _add_delay(found.table, case, tracks, recorder)
        for cpu, track in recorder.cpu_tracks().items():
            add_track(found.table, "cpu_busy", cpu_case(cpu), track)
        found.table.add("sampler_cpu_share", "sampler", self._sampler_share)
        found.series = [drawn(name, case, track) for name, track in tracks.items()]
        evidence = verdict.Idle(
            where=_WORDS[case.text],
            whole=case.text == "host",
            peak=_peak(tracks, "cpu_busy"),
            observed_s=recorder.observed_s,
            bench=tuple(sorted(self._bench)),
            lacking=None if lacking is None else f"{lacking.why}; {lacking.enable}",
            quota=_add_quota(found.table, case, recorder, _peak(tracks, "quota_busy")),
        )
        found.claims = [verdict.headroom_idle(evidence)]
        steal_s = {case.text: recorder.steal_s} if recorder.cpus else {}
        found.rounds = [only_round(case, self._notes(), steal_s)]
        return found

    def _config(self, case: Case) -> dict[str, Any]:
        return {
            "duration_s": self._duration_s,
            "pid": self.options.pid,
            "cgroup": self.options.cgroup,
            "interval_s": self._interval_s,
            "mode": "passive",
            "observes": case.text,
        }

    def _notes(self) -> list[str]:
        notes = []
        if self._ended is not None:
            notes.append(f"{self._ended} before the time was up: this is what was seen until then")
        if getattr(self._reader, "skipped_threads", False):
            notes.append("there were more threads than are asked for their run-queue delay")
        if self._recorder is not None and (note := self._recorder.stillness.note) is not None:
            notes.append(note)
        if self._sampler_share > MOST_SHARE:
            notes.append(
                f"observing took {self._sampler_share * 100:.2f} % of a core, more than the "
                f"{MOST_SHARE * 100:.1f} % meant: a longer --duration spreads it"
            )
        return notes


def _groups(options: HeadroomOptions, files: Files) -> list[Group]:
    """List the control groups whose limits bind what is observed; of a host, this container's."""
    if options.cgroup is not None:
        return list(groups_of_path(files, options.cgroup))
    task = "self" if options.pid is None else str(options.pid)
    try:
        return list(groups_with(files, "cpu", task))
    except ProcessLookupError:  # it has just ended, which the first sample finds
        return []


def _peak(tracks: Mapping[str, Track], name: str) -> Peak | None:
    return peak(tracks[name], IDLE_WINDOW_S) if name in tracks else None


def _add_quota(
    table: MetricTable, case: Case, recorder: Recorder, busiest: Peak | None
) -> verdict.Quota | None:
    """Write down the quota that binds what is observed; None where none does."""
    limit, throttled = recorder.limit, recorder.throttled
    if limit is None:
        return None
    table.add("cpu_quota", case, limit.cpus)
    table.add("quota_periods", case, throttled.periods)
    table.add("throttled_periods", case, throttled.stopped)
    table.add("throttled_s", case, throttled.stopped_s)
    return verdict.Quota(
        limit.cpus, throttled.periods, throttled.stopped, throttled.stopped_s, busiest
    )


def _add_delay(
    table: MetricTable, case: Case, tracks: Mapping[str, Track], recorder: Recorder
) -> None:
    """Write down the wait before a turn: seconds waited a second over turns a second."""
    waiting = tracks.get("runqueue_waiting")
    if waiting is None:
        return
    turns = Track(waiting.begin_s, waiting.end_s, np.array(recorder.turns))
    total = turns.mean
    mean = waiting.mean / total if waiting.mean is not None and total else None
    over, rate = windows(waiting, IDLE_WINDOW_S), windows(turns, IDLE_WINDOW_S)
    some = rate.mean > 0
    delay = Windows(over.begin_s[some], over.span_s[some], over.mean[some] / rate.mean[some])
    add_windows(table, "runqueue_delay", case, mean, delay)
