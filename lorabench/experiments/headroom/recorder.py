"""From samples of the kernel's counters to loads over time."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lorabench.experiments.headroom.stillness import Stillness
from lorabench.host.cgroups import Group
from lorabench.host.observe import Sample
from lorabench.host.procfs import RunQueue
from lorabench.host.quota import CpuLimit, QuotaUse, Throttled, tightest_first
from lorabench.results.windows import Track


class Recorder:
    """Makes tracks from samples.

    Parameters
    ----------
    first : Sample
        Where they begin; its CPUs get a track each.
    cpus : int
        CPUs of the node: what a process's CPU time is a share of, where no quota allows it less.
    quotas : mapping of Group to QuotaUse
        What was used then of the quotas that bind what is observed.
    """

    def __init__(
        self, first: Sample, cpus: int, quotas: Mapping[Group, QuotaUse] | None = None
    ) -> None:
        self.cpus = tuple(sorted(first.cpus))
        self._node_cpus = cpus
        self._origin_s = first.at_s
        self._last = first
        self._last_queue = first if first.queue is not None else None
        self._quotas = dict(quotas or {})
        self._throttled: dict[Group, Throttled] = {}
        self._spans: list[tuple[float, float]] = []
        self._per_cpu: list[NDArray[np.float32]] = []
        self._values: dict[str, list[tuple[float, float, float]]] = {}
        self.turns: list[float] = []
        self.stillness = Stillness()
        self.steal_s = 0.0

    @property
    def observed_s(self) -> float:
        """From the first sample to the last."""
        return self._last.at_s - self._origin_s

    @property
    def spans(self) -> int:
        """How many there are."""
        return len(self._spans)

    @property
    def limit(self) -> CpuLimit | None:
        """The tightest quota, of the last sample, that allows less than the node has."""
        limits = tightest_first(use.limit for use in self._quotas.values())
        return next((limit for limit in limits if limit.cpus < self._node_cpus), None)

    @property
    def throttled(self) -> Throttled:
        """How often the kernel stopped, for a quota, the group that it stopped most."""
        return max(
            self._throttled.values(),
            key=lambda one: (one.stopped, one.periods),
            default=Throttled(),
        )

    def add(self, now: Sample, quotas: Mapping[Group, QuotaUse] | None = None) -> None:
        """Take one more sample."""
        before, self._last = self._last, now
        quotas_before, self._quotas = self._quotas, dict(quotas or {})
        begin, end = before.at_s - self._origin_s, now.at_s - self._origin_s
        if end <= begin:
            return
        span_s = end - begin
        self._spans.append((begin, end))
        if self.cpus:
            self._add_cpus(before, now, begin, end)
        own_s = None
        if now.cpu_s is not None and before.cpu_s is not None:
            own_s = max(0.0, now.cpu_s - before.cpu_s)
        of_quota = self._add_quotas(quotas_before, own_s, span_s)
        if own_s is not None:
            cores = own_s / span_s
            self._put("cpu_cores", begin, end, cores)
            busy = max(cores / self._node_cpus, of_quota or 0.0)
            self._put("cpu_busy", begin, end, min(1.0, busy))
        elif of_quota is not None:
            self._put("quota_busy", begin, end, of_quota)
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
            if was is None or not self.stillness.tells(cpu, was, times):
                continue
            # The kernel's counters of idle and stolen time now and then go back by a tick.
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

    def _add_quotas(
        self, before: Mapping[Group, QuotaUse], own_s: float | None, span_s: float
    ) -> float | None:
        """Return the busy share of the quota that is used most; None where none binds."""
        shares = []
        for group, now in self._quotas.items():
            was = before.get(group)
            if was is None or now.limit.cpus >= self._node_cpus:
                continue
            stopped = now.throttled - was.throttled
            self._throttled[group] = self._throttled.get(group, Throttled()) + stopped
            used_s = own_s
            if now.used_s is not None and was.used_s is not None:
                used_s = now.used_s - was.used_s
            if used_s is None:
                # In a period in which it was stopped, all of it had been used.
                used_s = stopped.stopped * now.limit.period_s * now.limit.cpus
            shares.append(min(1.0, max(0.0, used_s) / (now.limit.cpus * span_s)))
        return max(shares, default=None)

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
        """Return every quantity over time."""
        return {name: _track(np.array(rows)) for name, rows in self._values.items()}

    def cpu_tracks(self) -> dict[int, Track]:
        """Return the busy share of every CPU that is known of, but while it was offline."""
        if not self._per_cpu:
            return {}
        spans, busy = np.array(self._spans), np.array(self._per_cpu, np.float64)
        found = {}
        for place, cpu in enumerate(self.cpus):
            there = np.isfinite(busy[:, place])
            if not there.any():
                continue
            found[cpu] = Track(spans[there, 0], spans[there, 1], busy[there, place])
        return found

    def raw(self) -> dict[str, NDArray[np.generic]]:
        """Return arrays for the file of raw samples."""
        arrays: dict[str, NDArray[np.generic]] = {"spans_s": np.array(self._spans)}
        if self._per_cpu:
            arrays["cpu"] = np.array(self.cpus)
            arrays["cpu_busy"] = np.array(self._per_cpu)
        for name, rows in self._values.items():
            arrays[f"track/{name}"] = np.array(rows)
        return arrays


def _track(rows: NDArray[np.float64]) -> Track:
    return Track(rows[:, 0], rows[:, 1], rows[:, 2])
