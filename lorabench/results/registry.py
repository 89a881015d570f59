"""Every metric there is, once: what it measures, its unit, which way is better, its mean of blocks.

``docs/metrics.md`` is made from it; how things are measured is written in ``docs/methodology.md``.
Longer than 400 lines: it is one table.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lorabench.results.schema import Better
from lorabench.results.statistics import Mean


@dataclass(frozen=True)
class MetricSpec:
    """What every value of a metric has in common.

    Parameters
    ----------
    what : str
        What it measures, from when to when, in a phrase.
    unit : str
        SI, without prefix; ``1`` for counts and ratios.
    better : {"lower", "higher"}
        Which way is better.
    mean : {"arithmetic", "geometric", "median"}
        How rounds become an estimate. Latencies and their ratios are skewed and positive: their
        mean is geometric, so that an interval never reaches below zero. Short pieces of work on a
        shared machine may meet a neighbour, which a median does not follow.
    signed : bool
        It may lie on either side of zero: two of them are compared by their difference.
    """

    what: str
    unit: str
    better: Better
    mean: Mean = "arithmetic"
    signed: bool = False


def _lower(
    unit: str, /, mean: Mean = "arithmetic", *, signed: bool = False, **what: str
) -> dict[str, MetricSpec]:
    return {name: MetricSpec(text, unit, "lower", mean, signed) for name, text in what.items()}


def _higher(
    unit: str, /, mean: Mean = "arithmetic", *, signed: bool = False, **what: str
) -> dict[str, MetricSpec]:
    return {name: MetricSpec(text, unit, "higher", mean, signed) for name, text in what.items()}


_SERVING = {
    **_lower(
        "s",
        mean="geometric",
        latency_p50="median latency: from a query's scheduled arrival to its finished prediction",
        latency_p95="95th percentile of the latency",
        latency_p99="99th percentile of the latency",
        latency_p999="99.9th percentile of the latency",
        latency_p99_unstalled="`latency_p99` of the queries that no stall of the host touched",
        baseline_p99="`latency_p99` of `solo` before the first round, once: what the limit of a "
        "throttle and `slow_share` rest on",
        spike_p99="`latency_p99` of the queries due within the spike of `--arrivals spike`",
        loadgen_latency_p50="median latency that MLCommons LoadGen logged: from a query's "
        "scheduled arrival until it was told of the answer",
        loadgen_latency_p99="99th percentile of the latency that LoadGen logged",
    ),
    **_lower(
        "1",
        mean="geometric",
        latency_p99_ratio="`latency_p99` over that of `solo` and `solo_repeat` (their geometric "
        "mean) in the same block; of `solo_repeat`, over that of `solo`",
        latency_p99_unstalled_ratio="`latency_p99_unstalled` over that of `solo` and "
        "`solo_repeat`, likewise",
        latency_p99_sham_ratio="`latency_p99` over that of `sham` in the same block",
        latency_p99_unstalled_sham_ratio="`latency_p99_unstalled` over that of `sham` in the same "
        "block",
        loadgen_p99_ratio="`latency_p99` over `loadgen_latency_p99` of the same queries",
        loadgen_own_p99_ratio="`loadgen_latency_p99` over `latency_p99` of `solo@own` in the same "
        "turn: the same arrivals from a schedule",
        spike_p99_ratio="`spike_p99` over that of `solo` and `solo_repeat` in the same block",
        rank_change_p99_ratio="`latency_p99` with `rank-change` over that without, same block",
        lora_p99_ratio="`latency_p99` beside a trainer that publishes an adapter over that beside "
        "who applies a push in its stead (`against`), in the same block",
        neighbour_batch_ratio="a full batch's time beside each neighbour of the neighbour probe "
        "over that beside an idle CPU, before the first round; a value a turn",
    ),
    **_lower(
        "s",
        signed=True,
        latency_impact="`latency_p99` minus that of `solo` and `solo_repeat` (their mean) in the "
        "same block",
    ),
    **_lower(
        "s",
        loadgen_issue_late_p99="99th percentile of the time from a query's scheduled arrival to "
        "LoadGen's handing it over",
        carry_over="how long after a switch of cases p99 is more than 1.25 times what it is later",
        yield_s="from the beginning of the spike to the end of the first 50 ms in it of which the "
        "trainer took less than a tenth of its CPUs; the whole spike where there were none",
        wakeup_late_p99="99th percentile, over all sleeps of the servers in the whole condition, "
        "of the time from the deadline to running again",
    ),
    **_lower("1/s", stalls_per_s="stalls of the host that a server met, a second and server"),
    **_lower(
        "1",
        batch_mean="queries scored together, averaged over the window's queries",
        stalled_share="share of a server's time that the host withheld in such stalls",
        stall_touched_share="share of the queries that such a stall touched",
        slow_share="share of the queries slower than `baseline_p99`",
        process_variance_share="share of the variance of a ratio's logarithm between blocks that "
        "lies between sets of processes",
    ),
    **_higher(
        "1",
        mean="geometric",
        isolation_gain="`latency_p99` of `naive` over that of the isolated case that is judged, in "
        "the same block",
    ),
    **_higher(
        "1", loadgen_valid="1 where LoadGen calls its test VALID by what it was given, else 0"
    ),
    **_higher(
        "1/s",
        throughput_qps="queries finished in the window",
        capacity_qps="queries answered when a full batch always waits, once, before all rounds",
        offered_qps="queries offered, all servers together; of a law whose rate changes, its peak",
    ),
}
_QUALITY = {
    **_higher(
        "1",
        auc="area under the ROC curve of the window's predictions as they were served; of "
        "`freshness`, the mean over a replicate's windows",
        auc_last_third="`auc` of the last third of the windows, taken together",
        auc_slice="`auc` of a part of each window's rows (`slice`), the mean over a replicate's "
        "windows",
    ),
    **_higher(
        "1",
        signed=True,
        auc_difference="`auc` of a strategy minus that of another (`against`) in the same "
        "windows, the mean over a replicate's windows",
        auc_slice_difference="`auc_slice` of a strategy minus that of another (`against`), "
        "likewise",
        gap_recovered="share of the AUC between `none` and `ideal` recovered, over all windows "
        "of a replicate; the estimate is the gains over the gaps, each summed over replicates",
        gap_recovered_first_quarter="`gap_recovered` over the first quarter of the windows, "
        "likewise",
        gap_recovered_last_third="`gap_recovered` over the last third of the windows, likewise",
    ),
    **_lower(
        "1",
        normalized_entropy="log loss of the window's predictions as they were served, over that "
        "of the constant click rate; of `freshness`, the mean over a replicate's windows",
        auc_difference_detectable="smallest `auc_difference` that the run would have shown with "
        "a power of 80 %, at two-sided 5 %, by its own spread over seeds",
        auc_difference_holm="p-value of an `auc_difference` from `delta`, that of all of them "
        "considered (Holm)",
        auc_standard_error="how far a replay's mean AUC may be off by the draw of its rows alone "
        "(Hanley and McNeil), the mean over replays",
        windows_below_none="windows of a replicate in which the AUC is below that of `none`",
        log_loss="mean log loss of a window's samples, each before it was learned from",
    ),
}
_TRAINING = {
    **_higher(
        "1/s",
        train_samples_per_s="samples whose update was published in the window; of `alone`, from "
        "full rings beside idle servers; of `profile`, trained on in the time of a window; of "
        "`freshness`, learned from in the time spent on learning alone",
    ),
    **_higher(
        "1/s",
        applied_rows_per_s="rows of a push that were written into the served tables, heads of "
        "slices included",
    ),
    **_higher("B/s", applied_bytes_per_s="bytes of the values of `applied_rows_per_s`"),
    **_higher(
        "1",
        train_rate_ratio="`train_samples_per_s` over that of `alone`",
        idle_used="`trainer_cpu_s` over itself and the idle time of the trainer's CPUs: how much "
        "of what the servers left it took",
        duty="share of the time that the throttle allowed the trainer, averaged over the window",
        epochs="publishes, in the whole condition",
        train_time_share="share of a profiled window's time that training itself took",
    ),
    **_lower("1", append_share="share of a server's time that it offered rows to the trainer"),
    **_lower("s", trainer_cpu_s="CPU time of the trainer in the window"),
    **_lower("1", trainer_cores="CPU time of the trainer a second, in the window"),
    **_lower(
        "s",
        mean="geometric",
        update_latency_p50="median update latency: from a label's arrival, in the window, to the "
        "first answer from parameters that include it",
        update_latency_p95="95th percentile of the update latency",
    ),
    **_lower(
        "1",
        publish_deferred="times the trainer found the idle side in use, in the whole condition",
        replay_dropped="samples that found the ring full, in the whole condition",
        replay_skipped="samples given up because they lagged by over 8 batches, in the whole "
        "condition",
        lookups_refused="trained lookups whose row had not earned a slot, in the whole condition",
        guard_trips="times the quality guard switched the adapter off, from first to last sample",
        diverged="1 where training met a value that is not finite and stopped, or a prediction was "
        "not finite, else 0",
        rank="mean rank of the adapted tables at the end of a condition or window; of `freshness`, "
        "the mean over a replicate's windows",
        rebases="changes of rank, basis or slots, from first to last sample",
        rebase_loss="share of the energy of A @ B that a change of a table's basis cost, on "
        "average",
    ),
    **_higher("1", slots_used="adapted rows at the end of a condition"),
    **_lower(
        "B",
        lora_bytes="all LoRA state, or of `memory` its buckets, as it was allocated, when it was "
        "most",
        lora_used_bytes="LoRA state in use at the end of a window, the mean over a replicate's "
        "windows",
        replay_bytes="replay rings of all servers",
    ),
    **_lower(
        "1",
        lora_fraction="`lora_bytes` over the table bytes",
        overhead_fraction="`lora_bytes` and `replay_bytes` over the table bytes",
    ),
    **_higher(
        "B",
        reuse_bytes_saved="table rows that the trainer need not read, with data reuse, in the "
        "whole condition",
    ),
    **_higher(
        "B",
        signed=True,
        reuse_net_bytes="`reuse_bytes_saved` less those written and read; below 0 where reuse "
        "cost more",
    ),
    **_lower(
        "B",
        reuse_bytes_written="base vectors and versions that reuse wrote into the rings, in the "
        "whole condition",
        reuse_bytes_read="base vectors and versions that reuse read out of the rings, in the whole "
        "condition",
    ),
}
_UPDATES = {
    **_lower(
        "s",
        staleness_p50="median age of what was served: from when the newest label came that it "
        "includes, and all before that, to each prediction; from the beginning of the replay where "
        "it includes none",
        staleness_p95="95th percentile of that age",
        learn_cpu_s="CPU time of learning in the whole replay; of a strategy that is trained "
        "elsewhere, of its training cluster",
        update_latency_p50_bound="lower bound of `update_latency_p50` where that lies beyond the "
        "end of a replay: labels not served before it count with what they had waited",
        update_latency_p95_bound="lower bound of `update_latency_p95`, likewise",
        push_s="from taking a push's rows to serving them: encoding, the link and writing; the "
        "mean over the pushes of a replay that landed, or over those under way",
        push_apply_s="what writing the rows of a push takes a serving host, the mean over such "
        "pushes of a replay",
    ),
    **_lower(
        "B",
        pushed_bytes="bytes put on the link in the whole replay, of the tables that it stands for",
        undo_bytes="undo log of the largest push of a replay: what its rows held before",
        held_bytes="what a strategy holds at the serving side beside the tables, when it was most: "
        "LoRA state, a memory of errors, an undo log",
    ),
    **_lower(
        "1",
        held_fraction="`held_bytes` over the table bytes",
        unserved_share="labels that were not served before the end of a replay, over all that came",
        push_share="rows of a push over all rows, the mean over the pushes of a replay",
    ),
    **_higher(
        "1",
        pushes="pushes that landed in the whole replay",
        on_pareto_front="1 where no other strategy recovers as much of the gap (or has as high an "
        "AUC, where there is none) for as little (`cost`) and is better in one of the two, else 0; "
        "by the estimates",
    ),
    **_lower(
        "1",
        pushes_refused="pushes that were unfit to be served, or rolled back after they had been",
    ),
}
_LINK = {
    **_lower(
        "s",
        mean="median",
        transfer_s="from when a sender hands a buffer to gloo to when the receiver has all of it",
        transfer_model_s="`transfer_s` as the model of the link has it",
        transfer_encode_s="gathering and encoding the rows of a transfer, before it begins",
        transfer_decode_s="decoding them, after it has ended",
    ),
    **_lower(
        "1",
        mean="median",
        transfer_model_ratio="`transfer_s` over `transfer_model_s`; 1 where the model is right",
    ),
}
_MACHINE = {
    **_lower(
        "1",
        cpu_busy="busy share of the CPUs of servers and trainer in the window, or of what is "
        "observed; stolen time counts as busy",
        cpu_cores="CPU time a second of the observed process or control group",
        cpu_steal="share of the host's observed CPU time that the hypervisor gave to others",
        steal_fraction="share of the CPUs' time since boot that the hypervisor gave to others",
        sampler_cpu_share="what observing took of one core, from first to last sample",
    ),
    **_lower(
        "s",
        steal_s="time of the CPUs of servers and trainer, in the window, that the hypervisor gave "
        "to others",
    ),
    **_lower(
        "1",
        involuntary_switches="involuntary switches of all threads of servers and trainer in the "
        "window",
    ),
    **_lower(
        "1",
        psi_some_cpu="share of the observed time in which some task was stalled for a CPU",
        psi_full_cpu="share of the observed time in which all tasks were stalled for a CPU",
        psi_some_memory="share of the observed time in which some task was stalled for memory",
        psi_full_memory="share of the observed time in which all tasks were stalled for memory",
        psi_some_io="share of the observed time in which some task was stalled for a disk",
        psi_full_io="share of the observed time in which all tasks were stalled for a disk",
    ),
    **_lower("s", runqueue_delay="wait before a turn on a CPU, averaged over observed turns"),
    **_lower("1", runqueue_waiting="tasks that waited for a CPU, averaged over observed time"),
    **_lower("B/s", memory_bandwidth="bytes that resctrl's `mbm_total_bytes` counted, all groups"),
    **_higher("1", capabilities_available="capabilities of the machine that this user can have"),
    **_lower(
        "1",
        capabilities_restricted="capabilities that are partly there, denied, or disturbing",
        capabilities_unavailable="capabilities that are not there, or cannot be told",
    ),
    **_higher(
        "1",
        cpus_online="CPUs that are online",
        cpus_allowed="CPUs that this process may use",
        physical_cores="physical cores with a CPU that this process may use",
        l3_domains="last-level caches of CPUs that this process may use",
        numa_nodes="NUMA nodes",
    ),
    **_higher(
        "B",
        memory_bytes="memory of all nodes",
        memory_limit_bytes="tightest limit that control groups set on memory",
        hugetlb_free_bytes="reserved huge pages that are free, by page size",
    ),
    **_higher("CPUs", cpu_quota="tightest limit that control groups set on CPU time"),
    **_lower(
        "1",
        quota_periods="periods of a limit on CPU time in which the group that it is on had "
        "something to run: of a case, of the servers' group in the window; of `machine`, of its "
        "own since it was made; else of what is observed",
        throttled_periods="those of them in which the kernel stopped that group, since it had used "
        "up what the limit allows",
        throttled_slices="slices in which the kernel stopped the servers' group for a limit on CPU "
        "time: a block with one has no ratio",
        quota_busy="busy share of the CPU time that control groups allow the observer's own group",
    ),
    **_lower(
        "s",
        throttled_s="time for which the kernel stopped that group, the CPUs on which it did added "
        "up",
    ),
}
_CROSSOVER = "where `auc_difference` of a sweep changes sign along the axis, interpolated: "
_SWEEP = {
    **_lower(
        "s",
        crossover_push_interval_s=f"{_CROSSOVER}a push interval",
    ),
    **_lower("B", crossover_emt_bytes=f"{_CROSSOVER}a size of the tables"),
    **_higher("bit/s", crossover_link_bits_per_s=f"{_CROSSOVER}a link's line rate"),
    **_higher("1", crossover_links=f"{_CROSSOVER}a number of links"),
    **_lower(
        "1",
        crossover_drift_strength=f"{_CROSSOVER}a multiple of the workload's drift",
        crossover_rank=f"{_CROSSOVER}a rank of adapters",
        crossover_memory_budget=f"{_CROSSOVER}a share of the table bytes",
    ),
}
_HEADROOM = {
    **_higher("1/s", headroom_samples_per_s="the most training whose p99 keeps the SLO"),
    **_higher(
        "1",
        headroom_cores="CPU time a second of that training",
        headroom_open="share of the resamples of rounds that never reached the SLO",
    ),
    **_lower(
        "s",
        headroom_slo="p99 to keep",
        latency_p99_fit="p99 at a duty on the curve fitted over all rounds",
    ),
    **_lower("1", headroom_slo_reached="1, or 0 where no duty broke the SLO"),
}
_PROFILE = {
    **_lower(
        "1",
        rows_changed="rows of a table that differ between two snapshots, of those that both have",
        rows_new="rows of a table that the older of two snapshots does not have",
        rows_touched="rows of a table that a window looked up",
        update_energy="squared norm of a table's difference between two snapshots",
        update_energy_share="a table's share of all tables' update energy, over all windows",
        rank_at="components that hold the share at the name's end of the variance of updates",
        rank_fraction_at="`rank_at` over D",
        weighted_rank_at="mean `rank_at` of all tables, weighted by update energy, by the "
        "optimiser that moved the rows or, derived from the same windows, might have",
        effective_rank="effective rank (Roy and Vetterli 2007) of a table's updates",
        gradient_rank_at="`rank_at` of per-sample gradients",
        gradient_rank_fraction_at="`gradient_rank_at` over D",
        gradient_effective_rank="`effective_rank` of per-sample gradients",
        signal_rank="eigenvalues of the gradients' signal above the noise floor",
        signal_rank_at="components that hold the share at the name's end of the signal above the "
        "noise floor",
        signal_floor="noise floor: what the largest eigenvalue of noise alone hardly ever exceeds",
        recommended_rank="LoRA rank that a table needs: median over windows of `signal_rank_at`, "
        "or `rank_at` of two snapshots",
    ),
    **_higher(
        "1",
        signal_share="share of signal in the energy of a window's gradient sums",
        subspace_alignment="mean squared cosine of the principal angles between a window's "
        "leading subspace of updates and that of the window before",
    ),
    **_lower(
        "B",
        recommended_bytes="LoRA state of the rows touched or changed at `recommended_rank`",
        table_bytes="a table's bytes",
    ),
}
_KERNELS = {
    **_lower(
        "s",
        mean="median",
        lookup_row_s="time of a row of an embedding-bag lookup",
        random_read_row_s="time of a row read at random and nothing else, at the best prefetch "
        "distance",
        lora_row_s="time of a row of a lookup with a LoRA term, or without one on the same inputs",
        update_row_s="time of a row in one stage of an update, of LoRA or of a peer's full "
        "precision",
        zipf_sample_s="time of drawing a Zipf variate",
        index_find_s="time of looking a row's slot up, found or not",
        top_rows_row_s="time of a row among which those of the largest norm are sought",
        gram_sample_s="time of adding a sample to a Gram matrix",
    ),
    **_lower(
        "1",
        mean="median",
        lookup_over_limit="`lookup_row_s` over `random_read_row_s` in the same round",
        lookup_lora_ratio="time of a lookup with a LoRA term over one without, in the same round",
        lora_hit_share="share of a call's lookups whose row has a slot, once",
    ),
    **_higher(
        "1",
        mean="median",
        lookup_speedup="a peer's time of a lookup over ours, in the same round",
        update_speedup="a peer's time of an update over ours, in the same round",
        zipf_speedup="NumPy's time of a Zipf variate over ours, in the same round",
        index_find_speedup="time of NumPy's `searchsorted` over ours, in the same round",
        top_rows_row_speedup="torch's time of seeking rows over ours, in the same round",
        gram_sample_speedup="torch's time of a Gram matrix over ours, in the same round",
    ),
}

_CALIBRATION = {
    **_lower(
        "1",
        false_verdict_share="share of simulated runs that end with a false verdict: on the limit "
        "where the true ratio is the limit, or an interval off 1 where it is 1",
        blocks_needed="blocks at the look that decides, median over simulated runs",
        least_slowdown_seen="smallest slowdown, as the ratio minus 1, that 9 of 10 simulated runs "
        "of so many minutes see",
        aa_log_ratio_sd="standard deviation, over simulated blocks, of the log ratio where "
        "nothing is slower",
        gate_false_alarm_share="share of simulated comparisons of a version with itself that fail "
        "a gate on p99",
        gate_unknown_share="share of simulated comparisons that end with a gate unknown: the data "
        "could not have shown a change of its size",
        worse_false_share="share of simulated comparisons of a version with itself whose interval "
        "lies above 1 at some look",
        pairs_needed="pairs of blocks at the look that fails a gate, median over simulated "
        "comparisons",
        least_slowdown_found="smallest slowdown, as the ratio minus 1, that fails a gate in 9 of "
        "10 simulated comparisons",
        least_tolerance_passed="smallest tolerance of a gate that 9 of 10 simulated comparisons "
        "of a version with itself pass",
        aa_pair_log_ratio_sd="standard deviation, over simulated pairs of blocks, of the log ratio "
        "where nothing is slower",
    ),
    **_higher(
        "1",
        slowdown_seen_share="share of simulated runs whose interval lies above the bound at some "
        "look, at a slowdown of known size",
        met_share="share of simulated runs that end as met where nothing is slower",
        gate_found_share="share of simulated comparisons with a head slower by a known size that "
        "fail a gate on p99",
        worse_found_share="share of simulated comparisons with a head slower by a known size whose "
        "interval lies above 1 at some look",
    ),
    **_lower("s", block_s="time that all cases of a block ran, in the median recorded block"),
}
_SYNC = {
    **_lower(
        "B",
        sync_bytes="bytes on the link of a push of the rows touched in a push interval",
    ),
    **_lower(
        "s",
        sync_s="time of such a push, from the moment at which its rows are taken to that at which "
        "they are served",
        sync_period_s="time from one push's beginning to the next's: the push interval, or longer "
        "where pushes follow one another back to back",
        sync_fixed_point_s="period that pushes back to back come to; 0 where the link outruns the "
        "rows touched, null where pushes grow until all rows go",
        sync_settled_s="time of a push once its period is `sync_period_s`",
    ),
    **_lower("B/s", sync_bytes_per_s="bytes that are to be sent, a second of the push interval"),
    **_lower(
        "1",
        link_load="`sync_bytes_per_s` over the payload that the link carries",
        touched_share="share of the rows touched within a time",
    ),
}

FAMILIES: Mapping[str, Mapping[str, MetricSpec]] = {
    "Serving": _SERVING,
    "Quality": _QUALITY,
    "Training": _TRAINING,
    "Updates": _UPDATES,
    "Link": _LINK,
    "Machine": _MACHINE,
    "Sweeps of freshness": _SWEEP,
    "Headroom": _HEADROOM,
    "Profile": _PROFILE,
    "Kernels": _KERNELS,
    "Calibration": _CALIBRATION,
    "Sync": _SYNC,
}
"""The registry, by what metrics are about. A new one is a name here and values in a table."""

METRICS: Mapping[str, MetricSpec] = {
    name: spec for family in FAMILIES.values() for name, spec in family.items()
}
"""The registry by name."""

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
