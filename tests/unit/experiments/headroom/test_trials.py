"""Exports as people make them, each with what is right to say of it.

Files of this shape were once read as something else, most of them as an idle host.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lorabench.bench.progress import ProgressObserver
from lorabench.errors import InputError
from lorabench.experiments.headroom.options import HeadroomOptions
from lorabench.experiments.headroom.trace import TraceReading
from lorabench.results.schema import Claim

START = 1_714_982_400
IDLE = '{mode=""idle""}'
NODE = "node_cpu_seconds_total"


def csv(head: str, row: Callable[[int], str], rows: int = 60, step: int = 10) -> str:
    """A heading, then rows at times a step apart."""
    return "\n".join([head, *(f"{START + step * i},{row(i)}" for i in range(rows))]) + "\n"


def tidy(values: Callable[[int], dict[str, object]], labels: str, at: list[int]) -> str:
    """A value a line; `values` has labels, joined by commas, of each time."""
    rows = [f"{START + t},{k},{v}" for t in at for k, v in values(t).items()]
    return "\n".join([f"time,{labels},value", *rows]) + "\n"


class Read:
    """What is said of a recording."""

    def __init__(self, folder: Path, text: str, **options: object) -> None:
        path = folder / "recording"
        path.write_text(text)
        reading = TraceReading(HeadroomOptions(trace=path, **options))  # type: ignore[arg-type]
        reading.options.check()
        reading.measure(ProgressObserver(None, None))
        found = reading.findings()
        assert found is not None
        claim: Claim = found.claims[0]
        self.verdict, self.reason = claim.verdict, claim.reason or ""
        self.low = claim.measured
        self.config = found.config["experiment"]
        self.reading = "; ".join(self.config["reading"])
        self.notes = "; ".join(found.rounds[0].notes)
        self.hosts = self.config["hosts"]


EVERY_10_S = [10 * i for i in range(61)]


def test_a_scrape_gap_of_a_counter_has_the_mean_of_the_gap(tmp_path: Path) -> None:
    """The scrapes time out while the host is 95 % busy."""

    def idle(t: int) -> float:
        return 100_000 + 0.9 * t - 0.85 * min(60, max(0, t - 300))

    at = [t for t in EVERY_10_S if not 300 < t < 360]
    found = Read(tmp_path, tidy(lambda t: {f"{c},idle": idle(t) for c in "0123"}, "cpu,mode", at))
    assert found.verdict == "missed"
    assert found.low == pytest.approx(0.95)


def test_scrapes_that_become_sparser_keep_their_means(tmp_path: Path) -> None:
    at = [10 * i for i in range(61)] + [600 + 60 * i for i in range(1, 11)]
    values = lambda t: {"0,idle": 5000 + 0.95 * min(t, 600) + 0.2 * max(0, t - 600)}  # noqa: E731
    found = Read(tmp_path, tidy(values, "cpu,mode", at))
    assert found.verdict == "missed"
    assert "observed for 1,200 s" in found.reason


@pytest.mark.parametrize("gap", ["", "NaN", None])
def test_shares_that_are_missing_leave_it_open(tmp_path: Path, gap: str | None) -> None:
    text = csv("Time,web1", lambda i: "0.05" if not 20 < i < 27 else "x")
    lines = [line for line in text.splitlines() if gap is not None or not line.endswith(",x")]
    found = Read(tmp_path, "\n".join(lines).replace(",x", f",{gap}"))
    assert found.verdict == "inconclusive"
    assert "of 60 s more nothing is known; a recording without gaps would tell" in found.reason


def test_a_host_that_is_missing_at_an_end_leaves_it_open(tmp_path: Path) -> None:
    found = Read(tmp_path, csv("Time,a,b", lambda i: f"0.05,{'0.05' if i < 50 else ''}"))
    assert found.verdict == "inconclusive"


def test_a_cpu_that_is_missing_leaves_its_part_open(tmp_path: Path) -> None:
    at = [10 * i for i in range(61)]
    values = lambda t: {f"{c},idle": 500 + 0.95 * t for c in "0123" if c < "3" or t < 300}  # noqa: E731
    found = Read(tmp_path, tidy(values, "cpu,mode", at))
    assert found.verdict == "inconclusive"
    assert "between 5.0 and 28.8 % busy" in found.reason


BY_MODE = [
    ("Time,idle,iowait,system,user", "0.90,0.01,0.03,0.06", 0.09, "1 - idle - iowait"),
    ("Time,idle,iowait,system,user", "90,1,3,6", 0.09, "1 - idle - iowait"),
    ("Time,idle,iowait,system,user", "7.2,0.08,0.24,0.48", 0.09, "add up to 8 CPUs"),
    ('Time,"{mode=""idle""}","{mode=""system""}","{mode=""user""}"', "90,4,6", 0.10, "1 - idle"),
    ("Time,Busy System,Busy User,Busy Iowait,Busy IRQs,Idle", "3%,6%,1%,0%,90%", 0.09, "iowait"),
    ("Time,iowait,irq,nice,softirq,steal,system,user", ".01,0,0,.01,0,.03,.05", 0.09, "the sum"),
    ("Time,usage_idle,usage_system,usage_user", "91,4,5", 0.09, "modes of one host"),
    ("Time,host,idle,system,user", "w,0.91,0.04,0.05", 0.09, "modes of one host"),
]


@pytest.mark.parametrize("trial", BY_MODE)
def test_columns_by_mode_are_one_host(tmp_path: Path, trial) -> None:
    head, row, busy, said = trial
    found = Read(tmp_path, csv(head, lambda _: row))
    assert (found.verdict, found.hosts) == ("met", 1)
    assert found.low == pytest.approx(busy)
    assert "modes of one host" in found.reading
    assert said in found.reading


@pytest.mark.parametrize(
    ("total", "said"),
    [(800, "add up to 8 times 100"), (128, "add up to 128 CPUs"), (4, "add up to 4 CPUs")],
)
def test_modes_of_many_cpus_together_are_shares_of_their_sum(tmp_path: Path, total, said) -> None:
    def row(i: int) -> str:
        busy = 0.1 + 0.01 * (i % 5)
        return f"{total * (1 - busy):.4f},{total * busy * 0.6:.4f},{total * busy * 0.4:.4f}"

    found = Read(tmp_path, csv("Time,idle,user,system", row))
    assert (found.verdict, found.low) == ("met", pytest.approx(0.14))
    assert said in found.reading


def test_modes_behind_the_names_of_hosts_are_of_these(tmp_path: Path) -> None:
    for by in (" ", "-", ": "):
        head = ",".join(f"{h}{by}{m}" for h in ("w1", "w2") for m in ("idle", "user", "system"))
        found = Read(tmp_path, csv(f"Time,{head}", lambda _: "0.95,0.03,0.02,0.5,0.3,0.2"))
        assert (found.verdict, found.hosts) == ("missed", 2)
        assert found.low == pytest.approx(0.5)


@pytest.mark.parametrize("scale", [1, 100])
def test_rates_by_mode_and_cpu_are_no_counters(tmp_path: Path, scale: int) -> None:
    rng = np.random.default_rng(1)
    busy = 0.6 + 0.05 * rng.standard_normal(61)
    values = lambda t: {  # noqa: E731
        f"{c},{m}": f"{scale * v:.4f}"
        for c in "01"
        for m, v in (("idle", 1 - busy[t // 10]), ("user", busy[t // 10]))
    }
    found = Read(tmp_path, tidy(values, "cpu,mode", EVERY_10_S))
    assert found.verdict == "missed"
    assert found.low == pytest.approx(busy.max(), abs=1e-3)
    assert "observed for 610 s" in found.reason


REFUSED = [
    (
        "Time,web1",
        "0.3",
        {"cpus": 32},
        "--cpus beside values without a unit, expected --unit cores",
    ),
    (
        "Time,idle,user,system",
        ".9,.05,.05",
        {"unit": ("percent",)},
        "in percent, though they add up",
    ),
    # Cores in use and load averages, which nothing tells from per cent.
    ("Time,ranker-7c9f", "3.127", {}, "column 2 .*values from 3.127 to 3.127 .*--unit cores with"),
    ("Time,ranker-7c9f", "0.127", {}, "of a container or a pod, and no unit"),
    (
        "Time,web1",
        "3.127",
        {},
        "values from 3.127 to 3.127 and no unit, expected --unit share|perc",
    ),
    ("Time,web1", "15.3", {}, "no unit, .*a load average is no CPU time"),
    ("Time,web1", "3.127", {"unit": ("cores",)}, "cores in use, and not of how many, .*--cpus N"),
    ("Time,node_load1", "15.3", {}, "found load averages, which count tasks"),
    ("Time,Sys Load (5m avg)", "0.3", {}, "found load averages"),
    ("Time,system.load.1", "0.3", {}, "found load averages"),
    ("Time,1m,5m,15m", ".3,.4,.5", {}, "found load averages"),
    ('Time,"{pod=""a""}"', "0.3", {}, "of a container or a pod, and no unit"),
    ("Time,Memory used", "0.3", {}, "found no CPU time"),
    # One column in shares, one in per cent.
    ("Time,a,b", "0.12,12", {}, r"column 3 \(b\): found values from 12 to 12 and no unit"),
    # An unknown label, by which hosts would merge.
    (
        'Time,"{rack=""a""}","{rack=""b""}"',
        "0.0,0.9",
        {},
        "the label rack, which .*--host-label rack",
    ),
    ('Time,"{rack=""a"",mode=""idle""}","{rack=""b"",mode=""idle""}"', "1,.1", {}, "label rack"),
    ('Time,"{job=""a"",host=""h""}","{job=""b"",host=""h""}"', ".1,.9", {}, "the label job"),
    # Expressions that are no busy share.
    (
        f'Time,"avg(rate({NODE}{{mode!=""idle""}}[10s]))"',
        "0.1",
        {},
        "an expression that may not be",
    ),
    (f'Time,"1 - avg(irate({NODE}{IDLE}[5m]))"', "0.1", {}, "found irate, .*--range with the time"),
    ('Time,"sum(rate(container_cpu_usage_seconds_total[1m]))"', "0.1", {}, "--cpus N"),
    (f'Time,"max_over_time((1 - avg(rate({NODE}{IDLE}[10s])))[5m:])"', "0.1", {}, "an expression"),
    # Names that may be anybody's.
    ("Time,web1-idle", "0.05", {}, "a name that ends in idle"),
    ("Time,user,system", "0.05,0.02", {}, "found the modes system, user, expected idle among them"),
    ("Time,idle", "93.5", {}, "values of mode idle from 93.5 to 93.5 and no unit, expected --unit"),
    ("Time,idle,user,system", "0.3,0.1,0.1", {}, "add up to 0.5"),
    ("Time,a,a", "0.1,0.1", {}, "line 1, column 3: found 'a once more'"),
    ("Time,a", "0.1", {"host_label": "rack"}, "--host-label: found no label 'rack' in recording"),
    ("Time,a", "0.1", {"mode_label": "kind"}, "--mode-label: found no label 'kind' in recording"),
    # Names that a terminal would obey, or that take two lines.
    ('Time,"a\x1b[31m\nb"', "3.2", {}, r"column 2 \(ab\): found values from 3.2"),
    ('Time,"{rack=""a\n\x07""}","{rack=""b""}"', "0.1,0.1", {}, r"\(a\\x07, b\)"),
    # Counters that stand still.
    ("Time,idle,user,system", "900,900,900", {}, "values that never change .900., as of a counter"),
    (
        f'Time,"{NODE}{{mode=""idle""}}","{NODE}{{mode=""user""}}","{NODE}{{mode=""system""}}"',
        "900,9,9",
        {},
        "CPU seconds that never change",
    ),
]


@pytest.mark.parametrize("trial", REFUSED)
def test_what_is_not_known_is_asked_for(tmp_path: Path, trial) -> None:
    head, row, options, message = trial
    with pytest.raises(InputError, match=message) as caught:
        Read(tmp_path, csv(head, lambda _: row), **options)
    assert "\n" not in str(caught.value)
    assert "recording" in str(caught.value)
    assert "expected" in str(caught.value)


SETTLED = [
    ("Time,idle %,user %,system %", "90,3,3", {}, "met", 0.1, "the modes of one host"),
    ("Time,cpu0 idle,cpu0 user,cpu1 idle,cpu1 user", ".9,.1,.8,.2", {}, "met", 0.15, "single CPUs"),
    ("Time,pod,cpu,memory", "r1,3200m,1024Mi", {"cpus": 4}, "missed", 0.8, "cores / 4"),
    ("Time,cpu0,cpu1", "0.1,0.1", {"cpus": 2}, "met", 0.1, "busy shares"),
    (f"Time,\"1 - avg(rate({NODE}{{mode='idle'}}[10s])) by (instance)\"", "0.05", {}, "met", 0.05,
     "a busy share"),
    ("Time,idle (mean),user (mean),system (mean)", "90,6,4", {}, "met", 0.1, "modes of one"),
    ("Time,web1", "3.2", {"unit": ("cores",), "cpus": 4}, "missed", 0.8, "cores / 4"),
    ("Time,web1", "3.2", {"unit": ("cores",), "cpus": 32}, "met", 0.1, "cores / 32"),
    ("Time,web1", "3.2", {"unit": ("percent",)}, "met", 0.032, "a busy share in per cent"),
    ("Time,a,b", "0.12,12", {"unit": ("share", "3=percent")}, "met", 0.12, "in per cent"),
    ("Time,a,b (%)", "0.12,15", {}, "met", 0.15, "a busy share in per cent"),
    ("Time,a,cores used", "0.1,3.2", {"cpus": 4}, "missed", 0.8, "cores / 4"),
    ("Time,web1,load1", "0.1,15", {}, "met", 0.1, "1 column is a busy share"),
    ("Time,idle", "93.5", {"unit": ("percent",)}, "met", 0.065, "1 - idle"),
    ("Time,idle", "3.6", {"unit": ("cores",), "cpus": 4}, "met", 0.1, "1 - idle"),
    ("Time,CPU busy,Memory used", "0.1,0.9", {}, "met", 0.1, "1 column is a busy share"),
    ("Time,CPU utilization", "12", {}, "met", 0.12, "since values exceed 1"),
    ("Time,cpu0,cpu1", "0.1,0.28", {}, "met", 0.19, "2 columns are busy shares"),
    ('Time,"{rack=""a""}","{rack=""b""}"', "0.0,0.9", {"host_label": "rack"}, "missed", 0.9, "2"),
    ('Time,"{kind=""idle""}","{kind=""user""}"', "0.9,.1", {"mode_label": "kind"}, "met", 0.1, ""),
    (f'Time,"1 - avg(rate({NODE}{IDLE}[10s]))"', "0.05", {}, "met", 0.05, "a busy share"),
    (f'Time,"avg(rate({NODE}{IDLE}[10s]))"', "0.95", {}, "met", 0.05, "the idle share"),
    (f'Time,"100 - avg(rate({NODE}{IDLE}[10s])) * 100"', "12", {}, "met", 0.12, "in per cent"),
    (f'Time,"sum(rate({NODE}{{mode!=""idle""}}[10s]))"', "0.8", {"cpus": 8}, "met", 0.1, "/ 8"),
    (f'Time,"1 - avg(irate({NODE}{IDLE}[5m]))"', "0.1", {"range_s": 10.0}, "met", 0.1, "share"),
]  # fmt: skip


@pytest.mark.parametrize("trial", SETTLED)
def test_names_and_options_settle_it(tmp_path: Path, trial) -> None:
    head, row, options, verdict, busy, said = trial
    found = Read(tmp_path, csv(head, lambda _: row), **options)
    assert found.verdict == verdict, found.reason
    assert found.low == pytest.approx(busy)
    assert said in found.reading
    kept = {k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}
    assert kept.items() <= found.config.items()


def test_cpus_that_are_not_in_it_are_told_or_known_to_be_unknown(tmp_path: Path) -> None:
    text = csv("Time,cpu0,cpu3", lambda _: "0.04,0.04")
    holes = Read(tmp_path, text)
    assert "2 of 4 CPUs of a host are not in it: the mean of those there stands" in holes.notes
    counted = Read(tmp_path, text, cpus=4)
    assert counted.verdict == "inconclusive"
    assert "between 2.0 and 52.0 % busy" in counted.reason


def test_a_label_of_numbers_tells_series_apart_whatever_their_times(tmp_path: Path) -> None:
    rows = [f"{START + 10 * i + n},{n},{busy}" for i in range(60) for n, busy in ((1, 0), (2, 0.9))]
    text = "\n".join(["time,rack,value", *rows])
    with pytest.raises(InputError, match=r"the label rack, which differs .*--host-label rack"):
        Read(tmp_path, text)
    found = Read(tmp_path, text, host_label="rack")
    assert (found.verdict, found.hosts) == ("missed", 2)


def test_containers_are_no_nodes(tmp_path: Path) -> None:
    """What else a node did is not in a recording of a container, which may settle it alone."""
    head = 'Time,"sum(rate(container_cpu_usage_seconds_total{pod=""a""}[10s]))"'
    idle = Read(tmp_path, csv(head, lambda _: "3.2"), cpus=32)
    assert idle.verdict == "unavailable"
    assert "what else the node did was not recorded" in idle.reason
    busy = Read(tmp_path, csv(head, lambda _: "3.2"), cpus=4)
    assert busy.verdict == "missed"


def test_kubectl_top_is_a_share_of_the_cpus(tmp_path: Path) -> None:
    text = "".join(
        f"2024-05-06T07:{i // 6:02d}:{i % 6}0Z\nNAME CPU(cores) MEMORY(bytes)\nr-1 {900 + i}m 9Mi\n"
        for i in range(60)
    )
    with pytest.raises(InputError, match="pod r-1: found cores in use, and not of how many"):
        Read(tmp_path, text)
    found = Read(tmp_path, text, cpus=4)
    assert found.verdict == "missed"
    assert "each value was taken for the mean over 60 s" in found.notes
    node = text.replace("CPU(cores)", "CPU(cores) CPU%").replace("m 9Mi", "m 2% 9Mi")
    judged = Read(tmp_path, node)
    assert judged.verdict == "met"
    assert "between 2.0 and 12.0 % busy" in judged.reason


def averaged(range_s: int) -> str:
    """5 % with 20 s of 100 % in every 200, as rate(...[range]) gives it every 10 s."""
    busy = np.array([1.0 if t % 200 < 20 else 0.05 for t in range(2000)])
    rows = [f"{START + t},{busy[t - range_s : t].mean():.4f}" for t in range(range_s, 2000, 10)]
    return "\n".join(["Time,web1", *rows])


def test_an_average_over_five_minutes_hides_seconds(tmp_path: Path) -> None:
    text = averaged(300)
    unknown = Read(tmp_path, text)
    assert "each value was taken for the mean since the one before" in unknown.notes
    found = Read(tmp_path, text, range_s=300.0)
    assert found.verdict == "inconclusive"
    assert "values that are means over 300 s hide shorter peaks" in found.reason
    named = text.replace("web1", f'"1 - avg(rate({NODE}{IDLE}[5m]))"')
    assert Read(tmp_path, named).verdict == "inconclusive"
    ruled = text.replace("web1", "instance:node_cpu_utilisation:rate5m")
    assert Read(tmp_path, ruled).verdict == "inconclusive"
    assert Read(tmp_path, averaged(10), range_s=10.0).verdict == "missed"


def test_a_range_a_little_wider_than_the_step_is_no_window_either(tmp_path: Path) -> None:
    found = Read(tmp_path, csv("Time,web1", lambda _: "0.12"), range_s=15.0)
    assert found.verdict == "inconclusive"
    idle = Read(tmp_path, csv("Time,web1", lambda _: "0.05"), range_s=15.0)
    assert idle.verdict == "met"
    assert "and 15.0 % busy" in idle.reason


def test_a_host_of_which_hardly_anything_is_known_leaves_it_open(tmp_path: Path) -> None:
    found = Read(tmp_path, csv("Time,a,b", lambda i: f"0.05,{'0.05' if i == 3 else ''}"))
    assert (found.verdict, found.hosts) == ("inconclusive", 2)
    empty = Read(tmp_path, csv("Time,a,b", lambda _: "0.05,NaN"))
    assert "left out, since they have no value: column 3" in empty.notes


def test_a_mode_that_is_missing_now_and_then_is_not_needed(tmp_path: Path) -> None:
    head = "Time,idle,system,user,steal"
    found = Read(tmp_path, csv(head, lambda i: f"0.9,0.05,0.05,{'0' if i % 7 == 0 else ''}"))
    assert found.verdict == "met"


def test_a_range_shorter_than_the_step_leaves_the_rest_open(tmp_path: Path) -> None:
    found = Read(tmp_path, csv("Time,web1", lambda _: "0.05", step=15), range_s=5.0)
    assert found.verdict == "inconclusive"
    assert "nothing is known" in found.reason


def test_values_a_little_outside_are_counted_and_left_out(tmp_path: Path) -> None:
    """A late scrape makes a share negative and the next one exceed 1."""
    text = csv("Time,busy", lambda i: {20: "-0.07", 21: "1.31"}.get(i, "0.12"))
    found = Read(tmp_path, text)
    assert found.verdict == "inconclusive"
    assert "2 of 60 values lie outside 0 to 1 as shares and were left out" in found.notes
    with pytest.raises(InputError, match=r"found 12 of 60 values outside 0 to 1 \(first on line 2"):
        Read(tmp_path, csv("Time,busy", lambda i: "1.31" if i % 5 == 0 else "0.12"))
    percent = Read(tmp_path, csv("Time,busy %", lambda i: "-7" if i == 20 else "12"))
    assert "1 of 60 values lie outside" in percent.notes
    rounded = Read(tmp_path, csv("Time,busy", lambda i: "-0.0004" if i % 2 else "1.0003"))
    assert "outside" not in rounded.notes


def test_counters_that_go_back_are_counted_and_left_out(tmp_path: Path) -> None:
    def idle(t: int) -> float:
        return 322_555.9 + 0.9 * t - (10 if t == 200 else 0)

    values = lambda t: {f"{c},idle": f"{idle(t):.1f}" for c in "01"}  # noqa: E731
    found = Read(tmp_path, tidy(values, "cpu,mode", EVERY_10_S))
    assert "2 of 122 samples of counters stand still, go back" in found.notes
    assert found.low == pytest.approx(0.1)
    worse = lambda t: {"0,idle": f"{5000 + 0.9 * t - (20 if t % 30 == 0 else 0):.1f}"}  # noqa: E731
    with pytest.raises(InputError, match="samples of counters that cannot be"):
        Read(tmp_path, tidy(worse, "cpu,mode", EVERY_10_S), unit=("seconds",))


def test_idle_counters_that_never_change_are_of_busy_cpus(tmp_path: Path) -> None:
    found = Read(tmp_path, csv(f'Time,"{NODE}{{cpu=""0"",mode=""idle""}}"', lambda _: "900"))
    assert found.verdict == "missed"
    assert "1 idle counter(s) never change: read as CPUs that are always busy" in found.notes


def test_an_answer_of_prometheus_is_judged(tmp_path: Path) -> None:
    result = [
        {"metric": {"__name__": NODE, "cpu": c, "mode": "idle", "instance": "h:9100"},
         "values": [[START + 5 * i, str(322_555.9 + 4.5 * i)] for i in range(60)]}
        for c in "0123"
    ]  # fmt: skip
    document = {"status": "success", "data": {"resultType": "matrix", "result": result}}
    found = Read(tmp_path, json.dumps(document))
    assert (found.verdict, found.hosts) == ("met", 1)
    assert "4 columns are counters of modes of single CPUs of one host" in found.reading
    used = {"metric": {"__name__": "container_cpu_usage_seconds_total", "pod": "p"},
            "values": [[START + 10 * i, str(70 + 31 * i)] for i in range(60)]}  # fmt: skip
    document["data"] = {"resultType": "matrix", "result": [used]}
    assert Read(tmp_path, json.dumps(document), cpus=4).low == pytest.approx(3.1 / 4)


def test_the_newest_row_may_come_first(tmp_path: Path) -> None:
    head, *rows = csv("Time,web1", lambda i: f"0.{i % 10}").splitlines()
    first, last = (Read(tmp_path, "\n".join([head, *order])) for order in (rows, rows[::-1]))
    assert first.reason == last.reason


def test_a_warning_of_prometheus_is_told(tmp_path: Path) -> None:
    one = {"metric": {"instance": "a"}, "values": [[START + 10 * i, "0.1"] for i in range(60)]}
    document = {"warnings": ["partial"], "data": {"resultType": "matrix", "result": [one]}}
    assert "Prometheus warned of its own answer" in Read(tmp_path, json.dumps(document)).notes


def test_no_name_of_a_machine_is_written_down(tmp_path: Path) -> None:
    found = Read(tmp_path, csv("Time,secret1,secret2", lambda _: "0.1,0.2"))
    assert "secret" not in json.dumps(found.config) + found.reason + found.notes
