"""Every metric there is, once: its unit, which way is better, how rounds are averaged.

And the table on which a run's values are collected. What a metric means, and from when to when it
is measured, is written in ``docs/methodology.md``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from lorabench.results import statistics
from lorabench.results.case import Case
from lorabench.results.schema import Better, Metric
from lorabench.results.statistics import Estimate, Mean


@dataclass(frozen=True)
class MetricSpec:
    """What every value of a metric has in common.

    Parameters
    ----------
    unit : str
        SI, without prefix; ``1`` for counts and ratios.
    better : {"lower", "higher"}
        Which way is better.
    mean : {"arithmetic", "geometric", "median"}
        How rounds become an estimate. Latencies and their ratios are skewed and positive: their
        mean is geometric, so that an interval never reaches below zero. Short pieces of work on a
        shared machine may meet a neighbour, which a median does not follow.
    """

    unit: str
    better: Better
    mean: Mean = "arithmetic"


def _lower(unit: str, *names: str, mean: Mean = "arithmetic") -> dict[str, MetricSpec]:
    return dict.fromkeys(names, MetricSpec(unit, "lower", mean))


def _higher(unit: str, *names: str, mean: Mean = "arithmetic") -> dict[str, MetricSpec]:
    return dict.fromkeys(names, MetricSpec(unit, "higher", mean))


_SERVING = {
    **_lower("s", "latency_p50", "latency_p95", "latency_p99", "latency_p999", mean="geometric"),
    **_lower("s", "spike_p99", mean="geometric"),
    **_lower("1", "latency_p99_ratio", "spike_p99_ratio", mean="geometric"),
    **_lower("1", "rank_change_p99_ratio", "neighbour_batch_ratio", mean="geometric"),
    **_lower("s", "latency_impact", "yield_s", "wakeup_late_p99"),
    **_lower("1", "batch_mean"),
    **_higher("1/s", "throughput_qps", "capacity_qps"),
}
_QUALITY = {
    **_higher("1", "auc", "auc_last_third", "gap_recovered", "gap_recovered_last_third"),
    **_lower("1", "normalized_entropy", "log_loss"),
}
_TRAINING = {
    **_higher("1/s", "train_samples_per_s"),
    **_higher("1", "train_rate_ratio", "idle_used", "duty", "epochs", "train_time_share"),
    **_lower("s", "trainer_cpu_s"),
    **_lower("1", "trainer_cores"),
    **_lower("s", "update_latency_p50", "update_latency_p95", mean="geometric"),
    **_lower("1", "publish_deferred", "replay_dropped", "replay_skipped", "lookups_refused"),
    **_lower("1", "guard_trips", "diverged", "rank", "rebases", "rebase_loss"),
    **_higher("1", "slots_used"),
    **_lower("B", "lora_bytes", "lora_used_bytes", "replay_bytes"),
    **_lower("1", "lora_fraction", "overhead_fraction"),
    **_higher("B", "reuse_bytes_saved", "reuse_net_bytes"),
    **_lower("B", "reuse_bytes_written", "reuse_bytes_read"),
}
_MACHINE = {
    **_lower("1", "cpu_busy", "cpu_cores", "cpu_steal", "steal_fraction", "sampler_cpu_share"),
    **_lower("s", "steal_s"),
    **_lower("1", "involuntary_switches"),
    **_lower("1", "psi_some_cpu", "psi_full_cpu", "psi_some_memory", "psi_full_memory"),
    **_lower("1", "psi_some_io", "psi_full_io"),
    **_lower("s", "runqueue_delay"),
    **_lower("1", "runqueue_waiting"),
    **_lower("B/s", "memory_bandwidth"),
    **_higher("1", "capabilities_available"),
    **_lower("1", "capabilities_restricted", "capabilities_unavailable"),
    **_higher("1", "cpus_online", "cpus_allowed", "physical_cores", "l3_domains", "numa_nodes"),
    **_higher("B", "memory_bytes", "memory_limit_bytes", "hugetlb_free_bytes"),
    **_higher("CPUs", "cpu_quota"),
}
_HEADROOM = {
    **_higher("1/s", "headroom_samples_per_s"),
    **_higher("1", "headroom_cores", "headroom_open"),
    **_lower("s", "headroom_slo", "latency_p99_fit"),
    **_lower("1", "headroom_slo_reached"),
}
_PROFILE = {
    **_lower("1", "rows_changed", "rows_touched", "update_energy", "update_energy_share"),
    **_lower("1", "rank_at", "rank_fraction_at", "effective_rank"),
    **_lower("1", "gradient_rank_at", "gradient_rank_fraction_at", "gradient_effective_rank"),
    **_lower("1", "signal_rank", "signal_rank_at", "signal_floor", "recommended_rank"),
    **_higher("1", "signal_share", "subspace_alignment"),
    **_lower("B", "recommended_bytes", "table_bytes"),
}
_KERNELS = {
    **_lower("s", "lookup_row_s", "random_read_row_s", "lora_row_s", "update_row_s", mean="median"),
    **_lower("s", "zipf_sample_s", "index_find_s", "top_rows_row_s", mean="median"),
    **_lower("s", "gram_sample_s", mean="median"),
    **_lower("1", "lookup_over_limit", "lookup_lora_ratio", "lora_hit_share", mean="median"),
    **_higher("1", "lookup_speedup", "update_speedup", "zipf_speedup", mean="median"),
    **_higher("1", "index_find_speedup", "top_rows_row_speedup", mean="median"),
    **_higher("1", "gram_sample_speedup", mean="median"),
}

METRICS: Mapping[str, MetricSpec] = (
    _SERVING | _QUALITY | _TRAINING | _MACHINE | _HEADROOM | _PROFILE | _KERNELS
)
"""The registry. A new metric is a name here and a value given to `MetricTable`."""

# What may follow a name: a statistic over windows, a share of the variance, a page size.
_SUFFIX = re.compile(r"_(?:p95|peak|[0-9.]+k?)$")


def metric_spec(name: str) -> MetricSpec:
    """Return a metric in the registry; ``rank_at_80`` and ``cpu_busy_p95`` by what they begin with.

    Raises
    ------
    KeyError
        It is not there.
    """
    return METRICS[name if name in METRICS else _SUFFIX.sub("", name)]


@dataclass
class MetricTable:
    """A run's values: one a round for each metric and case, None where a round gave none.

    Cases can be given as texts alone where they have no labels but ``condition``.
    """

    rows: dict[tuple[str, Case], list[float | None]] = field(default_factory=dict)
    _estimates: dict[tuple[str, Case], Estimate | None] = field(default_factory=dict)

    def add(self, name: str, case: Case | str, *values: float | None) -> None:
        """Write down the values of one more round, or of several."""
        self.rows.setdefault((name, _case(case)), []).extend(values)

    def put(self, name: str, case: Case | str, estimate: Estimate | None) -> None:
        """Write down what is known of all rounds together and has no value a round."""
        self.rows[name, _case(case)] = []
        self._estimates[name, _case(case)] = estimate

    def values(self, name: str, case: Case | str) -> list[float | None]:
        """Return all rounds' values, empty where nothing was measured."""
        return self.rows.get((name, _case(case)), [])

    def named(self, name: str) -> dict[Case, list[float | None]]:
        """Return the values of a metric in every case that has it."""
        return {case: values for (found, case), values in self.rows.items() if found == name}

    def estimate(self, name: str, case: Case | str) -> Estimate | None:
        """Return the mean over rounds with its interval, as the metric's own law has it."""
        key = name, _case(case)
        if key in self._estimates:
            return self._estimates[key]
        return statistics.summarise(self.values(name, case), metric_spec(name).mean)

    def metrics(self) -> list[Metric]:
        """Return all as a document has them, summarised over rounds."""
        found = []
        for (name, case), values in self.rows.items():
            known, estimate = metric_spec(name), self.estimate(name, case)
            found.append(
                Metric(
                    name=name,
                    condition=case.text,
                    labels=dict(case.labels),
                    unit=known.unit,
                    better=known.better,
                    values=values,
                    estimate=estimate.value if estimate else None,
                    ci95=estimate.interval if estimate else None,
                )
            )
        return found


def _case(case: Case | str) -> Case:
    return case if isinstance(case, Case) else Case(case)
