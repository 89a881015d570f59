"""What names of columns say: expressions, series, legends, hosts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.experiments.headroom.recordings.naming import cpu_of, mode_of, read_name
from lorabench.experiments.headroom.recordings.promql import meaning_of, parse_duration

NODE = "node_cpu_seconds_total"


@pytest.mark.parametrize(
    ("expression", "kind", "unit", "range_s"),
    [
        (f'1 - avg(rate({NODE}{{mode="idle"}}[10s]))', "busy", "share", 10),
        (f'1 - avg by (instance) (rate({NODE}{{mode="idle"}}[1m30s]))', "busy", "share", 90),
        (f'(1 - avg(rate({NODE}{{mode="idle"}}[5m]))) * 100', "busy", "percent", 300),
        (f'100 - (avg by (instance) (rate({NODE}{{mode="idle"}}[5m])) * 100)', "busy", "percent",
         300),
        (f'100 * (1 - avg(rate({NODE}{{mode="idle"}}[1m])))', "busy", "percent", 60),
        (f'avg(rate({NODE}{{mode="idle"}}[15s]))', "idle", "share", 15),
        (f'avg(rate({NODE}{{mode="idle"}}[15s])) * 100', "idle", "percent", 15),
        (f'sum(rate({NODE}{{mode!="idle"}}[10s]))', "cores", "cores", 10),
        (f'sum(rate({NODE}{{mode!~"idle|iowait"}}[10s])) / count({NODE}{{mode="idle"}})',
         "busy", "share", 10),
        (f'avg(sum by (cpu) (rate({NODE}{{mode!="idle"}}[10s])))', "busy", "share", 10),
        (f'avg(rate({NODE}{{mode!="idle"}}[10s]))', "unknown", "", 0),
        (f'avg(rate({NODE}{{mode="system"}}[10s]))', "mode", "share", 10),
        (f'sum(rate({NODE}[10s]))', "unknown", "", 0),
        (f'avg({NODE}{{mode="idle"}})', "unknown", "", 0),
        ('sum(rate(container_cpu_usage_seconds_total{pod="x"}[5m]))', "cores", "cores", 300),
        ('sum(rate(container_cpu_usage_seconds_total[5m])) / sum(kube_pod_cpu_limit)',
         "busy", "share", 300),
        ("rate(process_cpu_seconds_total[1m])", "cores", "cores", 60),
        ("instance:node_cpu_utilisation:rate5m * 100", "busy", "percent", 300),
        ("avg_over_time(instance:node_cpu_utilisation:rate1m[5m])", "busy", "share", 300),
        ("avg(node_load1)", "load", "", 0),
        ("sum(rate(http_requests_total[5m]))", "unknown", "", 0),
    ],
)  # fmt: skip
def test_an_expression_says_what_comes_out_of_it(expression, kind, unit, range_s) -> None:
    found = meaning_of(expression)
    assert (found.kind, found.unit, found.range_s) == (kind, unit, range_s)
    assert read_name(expression).meaning == found
    assert read_name(expression).host == ""


def test_irate_speaks_of_two_scrapes_alone() -> None:
    assert meaning_of(f'1 - avg(irate({NODE}{{mode="idle"}}[5m]))').instant
    assert not meaning_of(f'1 - avg(rate({NODE}{{mode="idle"}}[5m]))').instant


def test_cores_in_per_cent_are_cores() -> None:
    found = meaning_of("sum(rate(container_cpu_usage_seconds_total[1m])) * 100")
    assert (found.unit, found.factor, found.part) == ("cores", 0.01, True)


@pytest.mark.parametrize(
    ("name", "kind", "mode", "unit", "host"),
    [
        ("idle", "idle", "idle", "", ""),
        ("Idle", "idle", "idle", "", ""),
        ("%idle", "idle", "idle", "percent", ""),
        ("usage_idle", "idle", "idle", "percent", ""),
        ("cpu_usage_idle", "idle", "idle", "percent", ""),
        ("system.cpu.idle", "idle", "idle", "", ""),
        ("CPU Idle (%)", "idle", "idle", "percent", ""),
        ("Busy System", "mode", "system", "", ""),
        ("Busy Iowait", "mode", "iowait", "", ""),
        ("Busy Other", "mode", "other", "", ""),
        ("User - Normal processes executing in user mode", "mode", "user", "", ""),
        ("%usr", "mode", "user", "percent", ""),
        ("softirq", "mode", "softirq", "", ""),
        ("web1 idle", "idle", "idle", "", "web1"),
        ("10.0.0.1:9100 iowait", "mode", "iowait", "", "10.0.0.1:9100"),
        ("Web1-steal", "mode", "steal", "", "Web1"),
        ("node_load1", "load", "", "", ""),
        ("load average (5m)", "load", "", "", ""),
        ("1m", "load", "", "", ""),
        ("load5", "load", "", "", ""),
        ("Memory used", "other", "", "", ""),
        ("disk util %", "other", "", "percent", ""),
        ("CPU busy", "busy", "", "", "CPU busy"),
        ("CPU utilization (%)", "busy", "", "percent", "CPU utilization (%)"),
        ("cores used", "cores", "", "cores", "cores used"),
        ("web1:9100", "unknown", "", "", "web1:9100"),
        ("load-balancer-1", "unknown", "", "", "load-balancer-1"),
        ("a (percent)", "unknown", "", "percent", "a (percent)"),
        (NODE, "counter", "", "seconds", ""),
        ("container_cpu_usage_seconds_total", "counter", "busy", "seconds", ""),
        ("instance:node_cpu_utilisation:rate5m", "busy", "", "share", ""),
    ],
)
def test_a_name_says_kind_mode_unit_and_host(name, kind, mode, unit, host) -> None:
    found = read_name(name)
    assert (found.meaning.kind, found.meaning.mode, found.meaning.unit) == (kind, mode, unit)
    assert found.host == host or kind in ("load", "other")


@pytest.mark.parametrize(
    ("name", "labels", "kind"),
    [
        ('{mode="idle"}', {"mode": "idle"}, "unknown"),
        (f'{NODE}{{cpu="0", mode="idle"}}', {"cpu": "0", "mode": "idle"}, "counter"),
        ("usage_idle {host: web1, cpu: cpu-total}", {"host": "web1", "cpu": "cpu-total"}, "idle"),
        ('node_load1{instance="a"}', {"instance": "a"}, "load"),
        ("{}", {}, "unknown"),
    ],
)
def test_labels_of_a_series_are_read(name, labels, kind) -> None:
    found = read_name(name)
    assert found.labels == labels
    assert found.meaning.kind == kind


@pytest.mark.parametrize("name", ["ranker-7c9f", "ranker-7c9fd8b6c5-x2x4p", "a-5d8f9c7b64-2kqzv"])
def test_names_of_pods_are_known(name: str) -> None:
    assert read_name(name).pod


@pytest.mark.parametrize("name", ["web-01", "ip-10-0-0-12", "web1:9100", "srv-face", "host"])
def test_names_of_hosts_are_none_of_pods(name: str) -> None:
    assert not read_name(name).pod


def test_cpus_and_modes_are_called_alike() -> None:
    assert [cpu_of({"cpu": c}) for c in ("0", "cpu3", "CPU 7", "cpu-total", "all", "")] == [
        *("0", "3", "7"),
        *("", "", ""),
    ]
    assert [mode_of(word) for word in ("usr", "SYS", "idle", "my")] == [
        *("user", "system", "idle", "my"),
    ]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5m", 300), ("90s", 90), ("1h30m", 5400), ("15", 15), ("500ms", 0.5), ("5x", None),
     ("", None)],
)  # fmt: skip
def test_durations_are_as_prometheus_writes_them(text: str, seconds) -> None:
    assert parse_duration(text) == seconds


@given(
    st.text() | st.text('node_cpu_seconds_total{mode="idle"}[5m]()1-*avg sumrate:/|', max_size=60)
)
def test_any_name_is_read(name: str) -> None:
    found = read_name(name)
    assert found.meaning.factor > 0
    assert found.meaning.range_s >= 0
