"""From what was recorded of a condition to the metrics of the result document.

Pure functions of a `Record`. What each metric is, and from when to when it is measured, is written
in `lorabench.results.registry`.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorabench.lora.basis import LearnLog
from lorabench.results import statistics
from lorabench.results.quality import auc, normalized_entropy
from lorabench.targets.service import ServiceTime, Stalls, measured_stalls
from lorabench.targets.target import Record
from lorabench.targets.trace import NS
from lorabench.targets.training import ReuseBytes

# A trainer has yielded when it took less than this share of its CPUs for so long.
_YIELDED = 0.1
_YIELD_S = 0.05


@dataclass(frozen=True)
class Known:
    """What is known of a node before a case is judged.

    Parameters
    ----------
    service : ServiceTime
        What a batch takes as a rule.
    slow_s : float or None
        p99 of `solo` when it was calibrated; slower queries are counted.
    held_back : ServiceTime or None
        What every answer was held back for on purpose.
    spike_s : tuple of float or None
        Begin and end of a spike of the load.
    beside : bool
        A trainer or its sham was beside the servers.
    limited : bool
        A limit of a control group binds the servers' CPU time.
    """

    service: ServiceTime
    slow_s: float | None = None
    held_back: ServiceTime | None = None
    spike_s: tuple[float, float] | None = None
    beside: bool = False
    limited: bool = False


def measure(
    record: Record, labels: NDArray[np.int8], known: Known, held_up: Stalls
) -> dict[str, float | None]:
    """Compute the metrics of one case of one block.

    Parameters
    ----------
    record : Record
        What was recorded.
    labels : int8 [sum of rows]
        Of the rows that were scored.
    known : Known
        What it is held against.
    held_up : Stalls
        What the host held up.
    """
    counted, latency = record.counted, record.latency_s
    late = record.late_ns[record.late_ns >= 0] / NS
    found: dict[str, float | None] = {
        "latency_p50": statistics.quantile(latency, 0.50),
        "latency_p95": statistics.quantile(latency, 0.95),
        "latency_p99": statistics.quantile(latency, 0.99),
        "latency_p999": statistics.quantile(latency, 0.999),
        "throughput_qps": float(record.measured(record.done).sum()) / record.measured_s,
        "wakeup_late_p99": statistics.quantile(late, 0.99),
        "batch_mean": float(record.batch[counted].mean()) if counted.any() else None,
        "cpu_busy": None if math.isnan(record.cpu_busy) else record.cpu_busy,
        "steal_s": record.steal_s,
        "involuntary_switches": float(record.involuntary_switches),
    }
    found |= _stalled(record, held_up)
    if known.limited or record.stopped.any():
        periods, stopped, stopped_s = map(float, record.throttled.sum(axis=0))
        found |= {
            "quota_periods": periods,
            "throttled_periods": stopped,
            "throttled_s": stopped_s,
            "throttled_slices": float(record.stopped.sum()),
        }
    if known.beside:
        found["trainer_cores"] = record.trainer_cpu_s / record.measured_s
    if known.slow_s is not None and len(latency):
        found["slow_share"] = float((latency > known.slow_s).mean())
    rows_counted = np.repeat(counted, record.rows)
    truth, scores = labels[rows_counted], record.prediction[rows_counted]
    found["auc"] = auc(truth, scores)
    found["normalized_entropy"] = normalized_entropy(truth, scores)
    if known.spike_s is not None:
        found["spike_p99"] = statistics.quantile(record.latencies(known.spike_s), 0.99)
        if record.train is not None:
            at_s, used_s = record.trainer_cpu[:, 0] / NS, record.trainer_cpu[:, 1]
            found["yield_s"] = yield_s(at_s, used_s, known.spike_s, record.trainer_cpus)
    if record.train is not None:
        found |= _training(record, _servers(record))
    if record.applied is not None:
        found["applied_rows_per_s"] = record.applied.rows / record.length_s
        found["applied_bytes_per_s"] = record.applied.size / record.length_s
    if len(record.throttle):
        found["duty"] = _duty(record, record.throttle)
    return found


def _servers(record: Record) -> int:
    return len(np.unique(record.server)) or 1


def _stalled(record: Record, held_up: Stalls) -> dict[str, float | None]:
    """Return what the host held up, and p99 without it."""
    counted = record.counted
    unstalled = (record.done - record.scheduled)[counted & ~held_up.touched] / NS
    count, held_s = measured_stalls(record, held_up)
    windows_s = np.diff(record.windows_ns, axis=1)[:, 0] / NS
    served_s = float(windows_s[~record.stopped].sum()) * _servers(record)
    found: dict[str, float | None] = {
        "latency_p99_unstalled": statistics.quantile(unstalled, 0.99),
        "stalls_per_s": count / served_s if served_s else None,
        "stalled_share": held_s / served_s if served_s else None,
        "stall_touched_share": float(held_up.touched[counted].mean()) if counted.any() else None,
    }
    # Without what a thread waited in the run queue nobody knows whose doing it was.
    return dict.fromkeys(found) if (record.delay_ns < 0).any() else found


def _duty(record: Record, throttle: NDArray[np.float64]) -> float | None:
    """Average a throttle's duty over what is measured of each slice."""
    windows = [tuple(each / NS) for each in record.windows_ns]
    duties = [duty_mean(throttle[:, 0] / NS, throttle[:, 1], each) for each in windows]
    known = [duty for duty in duties if duty is not None]
    return float(np.mean(known)) if known else None


def duty_mean(
    at_s: NDArray[np.float64], duty: NDArray[np.float64], window_s: tuple[float, float]
) -> float | None:
    """Average a duty over a window, each value counting until the next; None before the first."""
    begin, end = window_s
    held = np.diff(np.clip(np.append(at_s, end), begin, end))
    return float((duty * held).sum() / held.sum()) if held.sum() > 0 else None


def yield_s(
    at_s: NDArray[np.float64], cpu_s: NDArray[np.float64], spike_s: tuple[float, float], cpus: int
) -> float | None:
    """Time from the beginning of a spike until the trainer had all but stopped.

    That is judged by its CPU time and not by what a throttle decided: a trainer that the kernel
    keeps off the CPU has yielded before it can decide anything.

    Parameters
    ----------
    at_s, cpu_s : float64 [n]
        When, and the CPU time until then.
    spike_s : tuple of float
        Begin and end of the spike.
    cpus : int
        How many the trainer has.

    Returns
    -------
    float or None
        Until the end of the first 50 ms, within the spike, of which it took less than a tenth of
        its CPUs. Where there are none the length of the spike: it took at least that long. None
        where nobody watched.
    """
    begin, end = spike_s
    before = np.searchsorted(at_s, at_s - _YIELD_S, side="right") - 1
    judged = np.flatnonzero((before >= 0) & (at_s > begin) & (at_s < end))
    passed = at_s[judged] - at_s[before[judged]]
    used = (cpu_s[judged] - cpu_s[before[judged]]) / (passed * cpus)
    yielded = judged[used < _YIELDED]
    if not len(judged):
        return None
    return float(at_s[yielded[0]] if len(yielded) else end) - begin


def _training(record: Record, servers: int) -> dict[str, float | None]:
    assert record.train is not None
    train, before = record.train, record.before
    updates, learner = train.updates, record.learned
    latency = update_latency(record)
    available_s = record.trainer_cpu_s + record.trainer_idle_s

    def since(counter: str) -> float:
        """Return how much a counter of the trainer's grew in the block."""
        return float(getattr(train, counter) - (getattr(before, counter) if before else 0))

    published = record.measured(updates.published_ns)
    return _reuse(train.reuse, before.reuse if before else None) | {
        "trainer_cpu_s": record.trainer_cpu_s,
        "idle_used": record.trainer_cpu_s / available_s if available_s > 0 else None,
        "train_samples_per_s": float(updates.size[published].sum()) / record.measured_s,
        "append_share": record.append_s / record.length_s / servers,
        "update_latency_p50": statistics.quantile(latency, 0.50),
        "update_latency_p95": statistics.quantile(latency, 0.95),
        "epochs": since("epoch"),
        "publish_deferred": since("publish_deferred"),
        "replay_dropped": since("replay_dropped"),
        "replay_skipped": since("replay_skipped"),
        "lookups_refused": float(learner.refused),
        "slots_used": float(sum(train.slots_used)),
        "guard_trips": float(learner.guard_trips),
        "diverged": float(learner.diverged),
        "rank": _mean_rank(train.learner),
        "rebases": float(learner.rebases),
        "rebase_loss": float(np.mean(learner.rebase_loss)) if learner.rebase_loss else None,
    }


def _reuse(found: ReuseBytes | None, before: ReuseBytes | None) -> dict[str, float | None]:
    """Return what data reuse saved and cost; nothing where it is off."""
    if found is None:
        return {}

    def since(name: str) -> float:
        return float(getattr(found, name) - (getattr(before, name) if before else 0))

    return {
        "reuse_bytes_saved": since("saved"),
        "reuse_bytes_written": since("written"),
        "reuse_bytes_read": since("read"),
        "reuse_net_bytes": since("net"),
    }


def _mean_rank(log: LearnLog) -> float | None:
    """Mean rank of the adapted tables at the end; None while there was no basis yet."""
    ranks = [rank for rank in log.ranks[-1] if rank] if log.ranks else []
    return float(np.mean(ranks)) if ranks else None


def update_latency(record: Record) -> NDArray[np.float64]:
    """Time from a label's arrival to the first answer from parameters that include it.

    Parameters
    ----------
    record : Record
        With a trainer's report; labels that arrived in what is measured count.

    Returns
    -------
    float64 [n]
        Seconds, one for every sample that was trained on and whose update was served before the
        last slice ended.
    """
    assert record.train is not None
    updates = record.train.updates
    answered = updates.each(record.first_answered(updates.epoch))
    counts = record.measured(updates.label_ns) & (answered >= 0)
    found: NDArray[np.float64] = (answered[counts] - updates.label_ns[counts]) / NS
    return np.repeat(found, updates.count[counts])
