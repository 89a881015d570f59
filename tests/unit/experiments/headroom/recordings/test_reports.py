"""What sar, mpstat and sadf write: text and JSON, in the forms that locales give them."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.errors import InputError
from lorabench.experiments.headroom.trace import parse_trace
from lorabench.results.windows import peak

BUSY = st.lists(st.integers(0, 100), min_size=1, max_size=20)
START = datetime(2026, 2, 20, 23, 40, 1, tzinfo=UTC)
MODES = ("%usr", "%nice", "%sys", "%iowait", "%steal", "%idle")
BANNER = "Linux 5.4.0 (node) \t02/20/2026 \t_x86_64_\t(4 CPU)\n\n"


def sar(
    busy: list[int], *, form: str = "%I:%M:%S %p", step: int = 600, comma: bool = False,
    every: int = 99, average: str = "Average:",
) -> str:  # fmt: skip
    """A report as sar writes it; a heading before every so many lines."""
    lines = []
    for i, share in enumerate(busy):
        at = START + timedelta(seconds=step * i)
        if i % every == 0:
            lines += ["", f"{at.strftime(form)}     CPU    {'    '.join(MODES)}"]
        fields = (share, 0, 0, (100 - share) / 4, 0, (100 - share) * 3 / 4)
        row = "    ".join(f"{value:.2f}" for value in fields)
        row = row.replace(".", ",") if comma else row
        lines.append(f"{(at + timedelta(seconds=step)).strftime(form)}     all    {row}")
    lines.append(f"{average}     all    {'    '.join(['50.00'] * 6)}")
    return BANNER + "\n".join(lines) + "\n"


@given(
    BUSY,
    st.sampled_from(["%I:%M:%S %p", "%H:%M:%S", "%H.%M.%S", "%H時%M分%S秒"]),
    st.sampled_from([1, 10, 600, 3600]),
    st.booleans(),
    st.sampled_from([1, 3, 99]),
)
def test_sar_reads_as_it_was_written(busy, form, step, comma, every) -> None:
    text = sar(busy, form=form, step=step, comma=comma, every=every)
    track = parse_trace(text, "sar.txt").hosts["node"]
    np.testing.assert_allclose(track.value, np.array(busy) / 100, atol=1e-4)
    np.testing.assert_allclose(track.span_s, step)
    np.testing.assert_allclose(np.diff(track.end_s), step)
    assert track.unknown_s == 0


@pytest.mark.parametrize("average", ["Moyenne :", "Durchschn.:", "Média:", "平均値:"])
def test_the_mean_at_the_end_is_passed_over_in_any_language(average: str) -> None:
    track = parse_trace(sar([10, 20], average=average), "sar.txt").hosts["node"]
    np.testing.assert_allclose(track.value, [0.1, 0.2])


def test_signs_and_colours_are_no_matter() -> None:
    text = sar([10, 20]).replace("10.00 ", "10.00% ").replace("all", "\x1b[34;22mall\x1b[0m")
    track = parse_trace(text, "sar.txt").hosts["node"]
    np.testing.assert_allclose(track.value, [0.1, 0.2])


def test_a_gap_in_a_report_is_one_long_mean_and_a_restart_is_unknown() -> None:
    lines = sar([10] * 6).splitlines()
    gone = [line for i, line in enumerate(lines) if i not in (5, 6, 7)]
    track = parse_trace("\n".join(gone), "sar.txt").hosts["node"]
    np.testing.assert_allclose(track.span_s, [600, 4 * 600, 600])
    assert track.unknown_s == 0
    heading = lines[3].replace("11:40:01 PM", "12:20:01 AM")
    restart = [*lines[:5], "", "12:10:01 AM       LINUX RESTART\t(4 CPU)", "", heading, *lines[8:]]
    begun = parse_trace("\n".join(restart), "sar.txt").hosts["node"]
    assert begun.unknown_s == 1800
    found = peak(begun, 10.0)
    assert found is not None
    assert found.high == 1.0


def test_every_cpu_and_other_tables_stand_beside() -> None:
    head = "11:40:01 AM     CPU     %user     %idle"
    rows = [f"11:40:{s}1 AM     {cpu}      {v:.2f}     {100 - v:.2f}"
            for s in (1, 2)
            for cpu, v in (("all", 15), ("0", 10), ("1", 20), ("2", 100))]  # fmt: skip
    rows = [r.replace("100.00     0.00", "0.00     0.00") for r in rows]
    other = ["", "11:40:01 AM    proc/s   cswch/s", "11:40:11 AM      0.03   2000.00", "",
             "11:40:01 AM  CPU    intr/s", "11:40:11 AM   0    2000.00"]  # fmt: skip
    trace = parse_trace(BANNER + "\n".join([head, *rows, *other]), "sar.txt")
    np.testing.assert_allclose(trace.hosts["node"].value, 0.15)
    assert {cpu for _, cpu in trace.cpus} == {"0", "1"}  # CPU 2 did nothing: it was offline


def test_reports_of_two_days_follow_each_other() -> None:
    second = sar([30], form="%H:%M:%S").replace("02/20/2026", "02/21/2026")
    trace = parse_trace(sar([10], form="%H:%M:%S") + "\n" + second, "sar.txt")
    track = trace.hosts["node"]
    assert track.begin_s[1] - track.begin_s[0] == 86_400
    assert track.unknown_s == 86_400 - 600


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("7.50", "x"), r"line 5, column \d+ \(%iowait\): found '22x', expected a percentage"),
        (("    10.00    ", "    1000.00    "), r"line 5, column 2 \(%usr\): found '1000.00'"),
        (("0.00    0.00    22", "0.00    22"), "line 5, column 7: found '6 fields', expected 7"),
        (("11:50:01 PM", "11:30:01 PM"), "line 5, column 1: found '11:30:01 PM', expected a later"),
        (("%idle", "%busy"), "found no table with the columns CPU and %idle over intervals"),
        (("11:50:01 PM", "11:40:01 PM"), "found no table with the columns CPU and %idle over"),
    ],
)
def test_a_bad_line_of_a_report_is_told(change: tuple[str, str], message: str) -> None:
    text = sar([10]).replace("22.50", "2" + "2.50") if change[0] != "7.50" else sar([10])
    text = text.replace("22.50", "22x") if change[0] == "7.50" else text.replace(*change)
    with pytest.raises(InputError, match=message) as caught:
        parse_trace(text, "sar.txt")
    assert "\n" not in str(caught.value)


def document(busy: list[int], *, sadf: bool, table: str = "cpu-load") -> dict[str, Any]:
    statistics = []
    for i, share in enumerate(busy):
        at = START + timedelta(seconds=10 * (i + 1))
        load = {"cpu": "all", "usr": share, "sys": 0.0, "iowait": 0.0, "idle": 100.0 - share}
        stamp: Any = at.strftime("%H:%M:%S")
        if sadf:
            stamp = {"date": f"{at:%Y-%m-%d}", "time": stamp, "utc": 1, "interval": 10}
        statistics.append({"timestamp": stamp, table: [load, {**load, "cpu": "0"}]})
    return {"sysstat": {"hosts": [{"nodename": "node", "statistics": statistics}]}}


@given(BUSY, st.booleans(), st.sampled_from(["cpu-load", "cpu-load-all"]))
def test_json_of_sadf_and_mpstat_reads_as_it_was_written(busy, sadf, table) -> None:
    text = json.dumps(document(busy, sadf=sadf, table=table))
    if len(busy) == 1 and not sadf:
        with pytest.raises(InputError, match="found no table with the columns CPU and %idle"):
            parse_trace(text, "m.json")
        return
    trace = parse_trace(text, "m.json")
    for track in (trace.hosts["node"], trace.cpus["node", "0"]):
        np.testing.assert_allclose(track.value, np.array(busy) / 100)
        np.testing.assert_allclose(track.span_s, 10.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('"idle": 90.0', '"idle": "x"'), r"statistics\[0\]\[0\].idle: found 'x', expected a per"),
        (('"idle": 90.0', '"idle": 900'), r"statistics\[0\]\[0\].idle: found 900, expected a perc"),
        (('"idle"', '"busy"'), r"statistics\[0\]\[0\]: found .*busy.*, expected idle among them"),
        (('"23:40:11"', '"now"'), r"statistics\[0\]: found 'now', expected a timestamp"),
        (('"23:40:21"', '"23:40:11"'), r"statistics\[1\]: found .*, expected a later time"),
        (('"hosts"', '"nodes"'), "m.json, sysstat: found None, expected hosts"),
        (('"cpu-load"', '"memory"'), "found no table with the columns CPU and %idle"),
        (('}]}]}}', ''), r"m.json, line 1, column \d+: found no JSON"),
    ],
)  # fmt: skip
def test_a_bad_place_in_json_is_told(change: tuple[str, str], message: str) -> None:
    text = json.dumps(document([10, 20], sadf=False)).replace(*change)
    with pytest.raises(InputError, match=message) as caught:
        parse_trace(text, "m.json")
    assert "\n" not in str(caught.value)


REPORT = st.text(st.sampled_from("0123456789:APM alCU%idesr.,\n\t()Linux"), max_size=200)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["sysstat", "hosts", "statistics", "timestamp", "cpu-load", "cpu", "idle",
                         "data", "result", "metric", "values", "status"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(
    REPORT.map(lambda text: f"{BANNER}11:40:01 PM CPU %usr %idle\n{text}")
    | JSON.map(json.dumps)
    | JSON.map(lambda inner: json.dumps({"sysstat": {"hosts": [{"statistics": inner}]}}))
    | JSON.map(lambda inner: json.dumps({"data": {"result": [{"metric": {}, "values": inner}]}}))
)
def test_whatever_stands_in_it_is_read_or_told_in_one_line(text: str) -> None:
    told = ""
    try:
        trace = parse_trace(text, "x")
    except InputError as error:
        told = str(error)
    if told:
        assert re.fullmatch("x[,:].* found .*expected .*", told), told
    else:
        for track in (*trace.hosts.values(), *trace.cpus.values()):
            assert ((track.value >= 0) & (track.value <= 1)).all()
            assert (track.span_s > 0).all()
