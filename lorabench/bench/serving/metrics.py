"""From what was recorded of a condition to the metrics of the result document.

Pure functions of a `Record`. What each metric is, and from when to when it is measured, is written
in the registry, `lorabench.results.metrics`.
"""

import numpy as np
from numpy.typing import NDArray

from lorabench.lora.basis import LearnLog
from lorabench.results import statistics
from lorabench.results.quality import auc, normalized_entropy
from lorabench.targets.target import Record, ReuseBytes
from lorabench.targets.trace import NS

# A trainer has yielded when it took less than this share of its CPUs for so long.
_YIELDED = 0.1
_YIELD_S = 0.05


def measure(
    record: Record,
    labels: NDArray[np.int8],
    window_s: tuple[float, float],
    spike_s: tuple[float, float] | None = None,
) -> dict[str, float | None]:
    """Compute the metrics of one condition of one round.

    Parameters
    ----------
    record : Record
        What was recorded.
    labels : int8 [sum of rows]
        Of the rows that were scored.
    window_s : tuple of float
        Begin and end of the measured window; a query counts by its scheduled arrival.
    spike_s : tuple of float, optional
        Begin and end of a spike of the load within it.
    """
    begin, end = (int(at * NS) for at in window_s)
    inside = record.inside(window_s)
    latency = record.latencies(window_s)
    found: dict[str, float | None] = {
        "latency_p50": statistics.quantile(latency, 0.50),
        "latency_p95": statistics.quantile(latency, 0.95),
        "latency_p99": statistics.quantile(latency, 0.99),
        "latency_p999": statistics.quantile(latency, 0.999),
        "throughput_qps": float(((record.done >= begin) & (record.done < end)).sum())
        / (window_s[1] - window_s[0]),
        "wakeup_late_p99": statistics.quantile(record.late_ns / NS, 0.99),
        "batch_mean": float(record.batch[inside].mean()) if inside.any() else None,
        "cpu_busy": record.cpu_busy,
        "steal_s": record.steal_s,
        "involuntary_switches": float(record.involuntary_switches),
    }
    rows_inside = np.repeat(inside, record.rows)
    truth = labels[: len(rows_inside)][rows_inside]
    scores = record.prediction[rows_inside]
    found["auc"] = auc(truth, scores)
    found["normalized_entropy"] = normalized_entropy(truth, scores)
    if spike_s is not None:
        found["spike_p99"] = statistics.quantile(record.latencies(spike_s), 0.99)
    if record.train is not None:
        found |= _training(record, begin, end)
        if len(record.train.throttle):
            at_s = (record.train.throttle[:, 0] - record.start_ns) / NS
            found["duty"] = duty_mean(at_s, record.train.throttle[:, 1], window_s)
        if spike_s is not None:
            at_s = (record.trainer_cpu[:, 0] - record.start_ns) / NS
            found["yield_s"] = yield_s(at_s, record.trainer_cpu[:, 1], spike_s, record.trainer_cpus)
    return found


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


def _training(record: Record, begin: int, end: int) -> dict[str, float | None]:
    assert record.train is not None
    updates, learner = record.train.updates, record.train.learner
    published = updates.published_ns - record.start_ns
    latency = update_latency(record, begin, end)
    available_s = record.trainer_cpu_s + record.trainer_idle_s
    return _reuse(record.train.reuse) | {
        "trainer_cpu_s": record.trainer_cpu_s,
        "idle_used": record.trainer_cpu_s / available_s if available_s > 0 else None,
        "train_samples_per_s": float(updates.size[(published >= begin) & (published < end)].sum())
        / ((end - begin) / NS),
        "update_latency_p50": statistics.quantile(latency, 0.50),
        "update_latency_p95": statistics.quantile(latency, 0.95),
        "epochs": float(record.train.epoch),
        "publish_deferred": float(record.train.publish_deferred),
        "replay_dropped": float(record.train.replay_dropped),
        "replay_skipped": float(record.train.replay_skipped),
        "lookups_refused": float(learner.refused),
        "slots_used": float(sum(record.train.slots_used)),
        "guard_trips": float(learner.guard_trips),
        "rank": _mean_rank(learner),
        "rebases": float(learner.rebases),
        "rebase_loss": float(np.mean(learner.rebase_loss)) if learner.rebase_loss else None,
    }


def _reuse(found: ReuseBytes | None) -> dict[str, float | None]:
    """Return what data reuse saved and cost; nothing where it is off."""
    if found is None:
        return {}
    return {
        "reuse_bytes_saved": float(found.saved),
        "reuse_bytes_written": float(found.written),
        "reuse_bytes_read": float(found.read),
        "reuse_net_bytes": float(found.net),
    }


def _mean_rank(log: LearnLog) -> float | None:
    """Mean rank of the adapted tables at the end; None while there was no basis yet."""
    ranks = [rank for rank in log.ranks[-1] if rank] if log.ranks else []
    return float(np.mean(ranks)) if ranks else None


def update_latency(record: Record, begin: int, end: int) -> NDArray[np.float64]:
    """Time from a label's arrival to the first answer from parameters that include it.

    Parameters
    ----------
    record : Record
        With a trainer's report.
    begin, end : int
        Labels that arrived in this window, ns after the start, count.

    Returns
    -------
    float64 [n]
        Seconds, one for every sample that was trained on and whose update was served before the
        schedule ended.
    """
    assert record.train is not None
    updates = record.train.updates
    label = updates.label_ns - record.start_ns
    answered = updates.each(record.first_answered(updates.epoch))
    counts = (label >= begin) & (label < end) & (answered >= 0)
    found: NDArray[np.float64] = (answered[counts] - label[counts]) / NS
    return found
