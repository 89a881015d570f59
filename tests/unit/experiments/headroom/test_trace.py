"""Exports of sysstat and Prometheus as they are written, and what is said of others."""

import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.bench.experiment import Findings
from lorabench.bench.progress import ProgressObserver
from lorabench.errors import InputError
from lorabench.experiments.headroom.options import HeadroomOptions
from lorabench.experiments.headroom.recordings.interpretation import Asked
from lorabench.experiments.headroom.trace import TraceReading, parse_trace, read_trace

BUSY = st.lists(st.floats(0, 1), min_size=1, max_size=20)
START = 1_700_000_000

HEADER = (
    "# hostname;interval;timestamp;CPU"
    ";%usr;%nice;%sys;%iowait;%steal;%irq;%soft;%guest;%gnice;%idle"
)


def stamp(at: float, form: str) -> str:
    if form == "epoch":
        return str(int(at))
    text = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{text} UTC" if form == "utc" else text


def sysstat(busy: list[float], *, cpu: str = "-1", interval: int = 10, form: str = "utc") -> str:
    lines = [HEADER]
    for i, share in enumerate(busy):
        # Some of what is not busy is spent in waiting for a disk.
        rest = 100 * (1 - share)
        fields = [f"{100 * share:.2f}", *["0.00"] * 2, f"{rest / 4:.2f}", *["0.00"] * 5]
        at = stamp(START + interval * (i + 1), form)
        lines.append(f"web1;{interval};{at};{cpu};{';'.join(fields)};{rest * 3 / 4:.2f}")
    return "\n".join(lines) + "\n"


@given(BUSY, st.sampled_from(["-1", "all"]), st.sampled_from(["utc", "local", "epoch"]))
def test_sysstat_reads_as_it_was_written(busy: list[float], cpu: str, form: str) -> None:
    trace = parse_trace(sysstat(busy, cpu=cpu, form=form), "sar.csv")
    assert trace.kind == "sysstat"
    track = trace.hosts["web1"]
    np.testing.assert_allclose(track.value, busy, atol=2e-4)
    np.testing.assert_allclose(track.span_s, 10.0)
    assert not trace.cpus


def test_sysstat_of_every_cpu_gives_each_and_all() -> None:
    rows = [
        f"web1;1;{stamp(START + t, 'utc')};{cpu};{user};0;0;0;0;0;0;0;0;{100 - user}"
        for t in (1, 2)
        for cpu, user in (("-1", 15), ("0", 10), ("1", 20))
    ]
    trace = parse_trace("\n".join([HEADER, *rows]), "sar.csv")
    np.testing.assert_allclose(trace.hosts["web1"].value, 0.15)
    np.testing.assert_allclose(trace.cpus["web1", "1"].value, 0.20)
    only = parse_trace("\n".join([HEADER, *(r for r in rows if ";-1;" not in r)]), "sar.csv")
    np.testing.assert_allclose(only.hosts["web1"].value, 0.15)
    assert "no line of all CPUs" in only.notes[0]


def test_what_else_stands_in_an_export_is_passed_over() -> None:
    busy = sysstat([0.1, 0.2]).splitlines()
    text = "\n".join(
        [
            f"web1;-1;{stamp(START, 'utc')};LINUX-RESTART\t(4 CPU)",
            *busy[:2],
            f"web1;-1;{stamp(START + 11, 'utc')};COM somebody was here",
            "# hostname;interval;timestamp;kbmemfree;%memused",
            f"web1;10;{stamp(START + 10, 'utc')};1000;20.00",
            busy[0],
            busy[2].replace(".", ","),
            f"web1;10;{stamp(START + 20, 'utc')};5;{';'.join(['0.00'] * 10)}",
        ]
    )
    trace = parse_trace(text, "sar.csv")
    np.testing.assert_allclose(trace.hosts["web1"].value, [0.1, 0.2])
    assert not trace.cpus  # CPU 5 is offline: it did nothing, not even idling


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("10;2023", "x;2023"), r"line 2, column 2 \(interval\): found 'x', expected whole"),
        (("UTC", "CET"), r"line 2, column 3 \(timestamp\): found '2023-.* CET', expected 2024-"),
        (("-11-", "-13-"), r"line 2, column 3 \(timestamp\): found '2023-13"),
        ((";10.00;", ";ten;"), r"line 2, column 5 \(%usr\): found 'ten', expected a percentage"),
        ((";10.00;", ";1000;"), r"line 2, column 5 \(%usr\): found '1000', expected a percentage"),
        ((";67.50", ""), r"line 2, column 14: found '13 fields', expected 14, as in the header"),
        (
            ("# hostname", "# node"),
            "line 1, column 1: found .*, expected # hostname;interval;timest",
        ),
        (("%idle", "%busy"), r"sar.csv: found no table with the columns CPU and %idle"),
        ((";CPU;", ";CPU;[...];"), r"column 15: found '%idle', expected a line a CPU: export w"),
    ],
)
def test_a_bad_line_of_sysstat_is_told_by_line_and_column(
    change: tuple[str, str], message: str
) -> None:
    text = sysstat([0.1, 0.2]).replace(*change)
    with pytest.raises(InputError, match=message) as caught:
        parse_trace(text, "sar.csv")
    assert "\n" not in str(caught.value)


def test_times_that_go_back_are_told() -> None:
    lines = sysstat([0.1, 0.2]).splitlines()
    with pytest.raises(InputError, match=r"line 3, column 3 .*expected a later time than before"):
        parse_trace("\n".join([lines[0], lines[2], lines[1]]), "sar.csv")


@given(BUSY, st.sampled_from(["s", "ms", "iso", "grafana"]), st.booleans())
def test_shares_of_prometheus_read_as_they_were_written(
    busy: list[float], form: str, percent: bool
) -> None:
    def time(i: int) -> str:
        at = START + 15 * i
        iso = datetime.fromtimestamp(at, UTC).isoformat()
        return {
            "s": f"{at}.0",
            "ms": f"{at}000",
            "iso": iso.replace("+00:00", "Z"),
            "grafana": iso[:19].replace("T", " "),
        }[form]

    values = [f"{100 * b:.6f}%" if percent else f"{b:.8f}" for b in busy]
    text = "Time,web1:9100\n" + "".join(f"{time(i)},{v}\n" for i, v in enumerate(values))
    trace = parse_trace(text, "prom.csv")
    track = trace.hosts["web1:9100"]
    if len(busy) == 1:  # nobody knows how long that was
        assert len(track.value) == 0
        return
    np.testing.assert_allclose(track.value, busy, atol=1e-6)
    np.testing.assert_allclose(track.span_s, 15.0)
    unsaid = "no value exceeds 1; --unit says otherwise"
    assert (unsaid in trace.reading[0]) != percent


def test_percentages_are_known_by_their_name_or_asked_for() -> None:
    values = "time,a\n1,0.5\n2,12\n"
    with pytest.raises(
        InputError, match=r"column 2 \(a\): found values from 0.5 to 12 and no unit"
    ):
        parse_trace(values, "p.csv")
    asked = parse_trace(values, "p.csv", Asked(unit="percent"))
    np.testing.assert_allclose(asked.hosts["a"].value, [0.005, 0.12])
    said = parse_trace("time,a (percent)\n1,0.5\n2,0.6\n", "p.csv")
    np.testing.assert_allclose(said.hosts["a (percent)"].value, [0.005, 0.006])
    plain = parse_trace("time,a\n1,0.5\n2,0.6\n", "p.csv")
    np.testing.assert_allclose(plain.hosts["a"].value, [0.5, 0.6])


def test_missing_values_and_times_leave_gaps() -> None:
    text = "\ufeffTime\ta\tb\n" + "".join(
        f"{t}\t{'' if t == 30 else 0.1}\t{'NaN' if t < 30 else 0.2}\n"
        for t in (0, 10, 20, 30, 60, 70)
    )
    trace = parse_trace(text.removeprefix("\ufeff"), "p.tsv")
    np.testing.assert_allclose(trace.hosts["a"].end_s, [0, 10, 20, 60, 70])
    np.testing.assert_allclose(trace.hosts["a"].begin_s, [-10, 0, 10, 50, 60])
    assert len(trace.hosts["b"].value) == 3


def counters(busy: list[float], cpus: int, modes: dict[str, float]) -> dict[tuple[int, str], list]:
    """Counters of CPUs so busy in each step of 10 s; `modes` shares out the busy part."""
    found: dict[tuple[int, str], list[float]] = {}
    for cpu in range(cpus):
        for mode, share in {**modes, "idle": math.nan}.items():
            value, values = 1000.0 + cpu, [1000.0 + cpu]
            for b in busy:
                value += 10 * ((1 - b) if mode == "idle" else b * share)
                values.append(value)
            found[cpu, mode] = values
    return found


ALL_MODES = {"user": 0.5, "system": 0.25, "softirq": 0.125, "steal": 0.125}


@given(BUSY, st.sampled_from([ALL_MODES, {}]), st.booleans())
def test_counters_of_prometheus_give_the_busy_share(busy, modes, wide: bool) -> None:
    values = counters(busy, 2, modes)
    if wide:
        heads = [
            f'"node_cpu_seconds_total{{cpu=""{c}"", instance=""w"", mode=""{m}""}}"'
            for c, m in values
        ]
        lines = [f"Time,{','.join(heads)}"]
        lines += [
            f"{START + 10 * i},{','.join(f'{v[i]:.9f}' for v in values.values())}"
            for i in range(len(busy) + 1)
        ]
    else:
        lines = ["timestamp,instance,cpu,mode,value"]
        for (cpu, mode), series in values.items():
            lines += [f"{START + 10 * i},w,{cpu},{mode},{v:.9f}" for i, v in enumerate(series)]
    trace = parse_trace("\n".join(lines), "prom.csv")
    np.testing.assert_allclose(trace.hosts["w"].value, busy, atol=1e-6)
    np.testing.assert_allclose(trace.cpus["w", "1"].value, busy, atol=1e-6)
    np.testing.assert_allclose(trace.hosts["w"].span_s, 10.0)


def test_sums_over_cpus_need_all_modes() -> None:
    values = counters([0.25, 0.5], 1, ALL_MODES)
    lines = ["time,mode,value"]
    for (_, mode), series in values.items():
        lines += [f"{START + 10 * i},{mode},{4 * v}" for i, v in enumerate(series)]
    track = parse_trace("\n".join(lines), "p.csv").hosts["p.csv"]
    np.testing.assert_allclose(track.value, [0.25, 0.5])
    idle = [line for line in lines if "idle" in line or "time" in line]
    with pytest.raises(InputError, match="no label cpu, expected that, or all modes"):
        parse_trace("\n".join(idle), "p.csv")


def test_a_restart_is_left_out_of_counters_and_the_mean_of_a_gap_is_known() -> None:
    at = [0, 10, 20, 30, 100, 110]
    idle = [1000.0, 1009.0, 1018.0, 5.0, 70.0, 79.0]
    text = "time,cpu,mode,value\n" + "".join(
        f"{t},0,idle,{v}\n" for t, v in zip(at, idle, strict=True)
    )
    track = parse_trace(text, "p.csv").hosts["p.csv"]
    np.testing.assert_allclose(track.begin_s, [0, 10, 30, 100])
    np.testing.assert_allclose(track.value, [0.1, 0.1, 5 / 70, 0.1])
    assert track.unknown_s == 10.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "p.csv: found nothing in it, expected an export of sysstat"),
        ("\n \n", "found nothing in it"),
        ("hello\n", "line 1, column 1: found 'hello', expected an export of sysstat"),
        ("a,b\n1,2\n", "line 1, column 1: found 'a, b', expected an export"),
        ("time,a\n", "found no values in it"),
        ("time,a\n1,0.1\n2,x\n", r"line 3, column 2 \(a\): found 'x', expected a number, or"),
        (
            "time,a\n1,-0.1\n",
            r"column 2 \(a\): found 1 of 1 values outside 0 to 1 \(first on line 2",
        ),
        (
            "time,a\n1,250\n",
            r"column 2 \(a\): found values from 250 to 250 and no unit, expected --un",
        ),
        ("time,a\nnow,0.1\n", r"line 2, column 1 \(time\): found 'now', expected seconds or"),
        ("time,a\n2,0.1\n2,0.1\n", r"line 3, column 2 \(a\): found 'time 2.000', expected a later"),
        ("time,a\n1,0.1,7\n", r"line 2, column 3: found '3 fields', expected 2, as in the header"),
        ("sep=,\n\ntime,a\n1,y\n", "line 4, column 2"),
        ("time,mode,cpu,value\n1,user,0,5\n", "0: found the modes user, expected idle among them"),
    ],
)
def test_a_bad_file_is_told_by_line_column_found_and_expected(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_trace(text, "p.csv")
    assert "\n" not in str(caught.value)


LINES = st.text(st.sampled_from("time,valuecpmode;#-0123456789. \n\"'%hostnaintrlUTC\t"))


@given(st.text() | LINES | LINES.map(lambda t: f"time,a\n{t}") | LINES.map(f"{HEADER}\n".__add__))
def test_whatever_it_is_it_is_read_or_told_in_one_line(text: str) -> None:
    told = None
    try:
        trace = parse_trace(text, "x.csv")
    except InputError as error:
        told = str(error)
    if told is not None:
        assert told.startswith("x.csv")
        assert "expected" in told
    else:
        for track in (*trace.hosts.values(), *trace.cpus.values()):
            assert (track.span_s >= 0).all()
            assert ((track.value >= 0) & (track.value <= 1)).all()


def test_a_file_that_is_missing_or_no_text_is_told(tmp_path) -> None:
    with pytest.raises(InputError, match="No such file or directory; expected an export"):
        read_trace(tmp_path / "none.csv")
    with pytest.raises(InputError, match="Is a directory"):
        read_trace(tmp_path)
    (tmp_path / "b").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="found no text"):
        read_trace(tmp_path / "b")


def judged(path: Path) -> Findings:
    reading = TraceReading(HeadroomOptions(trace=path))
    assert reading.findings() is None
    reading.measure(ProgressObserver(None, None))
    found = reading.findings()
    assert found is not None
    return found


def test_the_busiest_of_several_recorded_hosts_is_what_counts(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("time,a,b\n" + "".join(f"{10 * i},0.1,0.4\n" for i in range(30)))
    found = judged(path)
    (claim,) = found.claims
    assert claim.verdict == "missed"
    assert "host2, the busiest of 2 recorded hosts" in claim.reason
    assert set(found.raw) == {"track/host1/cpu_busy", "track/host2/cpu_busy"}


def test_a_coarse_recording_of_an_idle_host_is_inconclusive(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("time,a\n" + "".join(f"{600 * i},0.1\n" for i in range(30)))
    (claim,) = judged(path).claims
    assert claim.verdict == "inconclusive"
    assert "between 10.0 and 100.0 % busy" in claim.reason
    assert "a finer recording would tell" in claim.reason


def test_a_recorded_cpu_is_labelled_by_its_number_and_its_host(tmp_path: Path) -> None:
    lines = ["timestamp,instance,cpu,mode,value"]
    lines += [f"{10 * i},{h},{c},idle,{1000 + 5 * i}" for h in "ab" for c in "03" for i in range(9)]
    path = tmp_path / "p.csv"
    path.write_text("\n".join(lines))
    cases = judged(path).table.named("cpu_busy")
    assert {case.text: case.labels for case in cases if "cpu" in case.labels} == {
        f"host{h}/cpu{c}": {"condition": f"host{h}", "cpu": c} for h in (1, 2) for c in (0, 3)
    }
