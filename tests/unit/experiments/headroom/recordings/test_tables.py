"""CSV, JSON of Prometheus and kubectl top become columns of values at times."""

import json
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.errors import InputError
from lorabench.experiments.headroom.recordings.answers import load_json, read_answer
from lorabench.experiments.headroom.recordings.delimited import read_delimited
from lorabench.experiments.headroom.recordings.kubectl import is_kubectl_top, read_kubectl_top
from lorabench.experiments.headroom.recordings.table import parse_time, parse_value

START = 1_714_982_400
VALUES = st.lists(st.none() | st.floats(0, 1e6), min_size=1, max_size=12).filter(any)


def written(value: float | None, *, comma: bool) -> str:
    text = "NaN" if value is None else f"{value:.4f}"
    return text.replace(".", ",") if comma else text


@given(VALUES, VALUES, st.sampled_from(",;\t"), st.booleans())
def test_wide_and_long_csv_have_the_same_columns(one, two, separator: str, sep_line: bool) -> None:
    rows = list(zip(one, two, strict=False))
    if not any(a is not None for a, _ in rows) or not any(b is not None for _, b in rows):
        return
    comma = separator != ","
    head = "sep=;\n\n" if sep_line else ""
    wide = [separator.join(("Time", "web1", "web2"))]
    long = [separator.join(("timestamp", "instance", "value"))]
    for i, values in enumerate(rows):
        cells = [written(value, comma=comma) for value in values]
        wide.append(separator.join((str(START + 10 * i), *cells)))
        long += [
            separator.join((str(START + 10 * i), f"web{h}", c)) for h, c in enumerate(cells, 1)
        ]
    a, b = (read_delimited(head + "\n".join(lines), "p.csv") for lines in (wide, long))
    for at, (x, y) in enumerate(zip(a.columns, b.columns, strict=True)):
        expected = [round(row[at], 4) for row in rows if row[at] is not None]
        assert x.values == y.values == pytest.approx(expected)
        assert x.at_s == y.at_s
        assert (x.name, y.labels) == (f"web{at + 1}", {"instance": f"web{at + 1}"})
    assert (a.first_s, a.last_s) == (START, START + 10 * (len(rows) - 1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1714982400", START),
        ("1714982400.5", START + 0.5),
        ("1714982400000", START),
        ("1714982400000000", START),
        ("1714982400000000000", START),
        ("2024-05-06T08:00:00Z", START),
        ("2024-05-06 08:00:00", START),
        ("2024-05-06T10:00:00+02:00", START),
        ("2024-05-06T08:00:00.000Z", START),
        ("-5", None),
        ("noon", None),
    ],
)
def test_times_are_epochs_in_any_unit_or_iso(text: str, expected: float | None) -> None:
    assert parse_time(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12.5%", (12.5, "percent")), ("12.5 %", (12.5, "percent")), ("250m", (0.25, "cores")),
        ("156340123n", (0.156340123, "cores")), ("-0.07", (-0.07, "")), ("1e-3", (0.001, "")),
        ("\u22120.1", (-0.1, "")), ("", (None, "")), ("NaN", (None, "")), ("null", (None, "")),
        ("+Inf", (None, "")), ("<unknown>", (None, "")),
    ],
)  # fmt: skip
def test_values_bear_their_unit_or_are_nothing(text: str, expected) -> None:
    value, unit = parse_value(text)
    assert unit == expected[1]
    assert value == (None if expected[0] is None else pytest.approx(expected[0]))


@pytest.mark.parametrize("text", ["x", "%", "m", "1,5", "1 2", "0x10", "12.5.1"])
def test_what_is_no_value_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="a number, or nothing"):
        parse_value(text)


def series(name: str, values: list[Any], **labels: str) -> dict[str, Any]:
    pairs = [[START + 10 * i, value] for i, value in enumerate(values)]
    return {"metric": {"__name__": name, **labels}, "values": pairs}


FOUND = [series("node_cpu", ["1", "2.5", "NaN"], cpu="0"), series("node_cpu", ["3", "4", "5"])]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"status": "success", "data": {"resultType": "matrix", "result": FOUND}}),
        json.dumps({"resultType": "matrix", "result": FOUND}, indent=1),
        json.dumps(FOUND),
        "\n".join(
            json.dumps({"metric": s["metric"], "values": [float(v) for _, v in s["values"]],
                        "timestamps": [1000 * t for t, _ in s["values"]]}) for s in FOUND
        ),
    ],
)  # fmt: skip
def test_an_answer_of_prometheus_is_read_in_all_its_forms(text: str) -> None:
    table = read_answer(load_json(text, "q.json"), "q.json")
    assert [column.values for column in table.columns] == [[1.0, 2.5], [3.0, 4.0, 5.0]]
    assert table.columns[0].labels == {"cpu": "0"}
    assert {column.name for column in table.columns} == {"node_cpu"}
    assert (table.first_s, table.last_s) == (START, START + 20)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"status":"error","error":"too many\x1b"}'.replace("\x1b", "\\u001b"),
         r"found an error of Prometheus 'too many\\x1b', expected an answer of query"),
        ('{"data":{"resultType":"vector","result":[]}}', "found resultType 'vector', expected an"),
        ('{"data":{"resultType":"matrix","result":[]}}', "found no values in it, expected an ans"),
        ('{"dashboard":1}', "found JSON with 'dashboard', expected an export"),
        ("[1]", "found JSON with 'int'"),
        ('[{"metric":{},"values":[[1]]}]', r"series 1, value 1: found \[1\], expected a time and"),
        ('[{"metric":{},"values":[[1,"x"]]}]', "series 1 .*, time 1: found 'x', expected a number"),
        ('[{"metric":{},"values":[["x","1"]]}]', "found the time 'x', expected an epoch"),
        ('[{"metric":{},"values":[[2,"1"],[1,"1"]]}]', "found time 1.000, expected a later time"),
        ('[{"metric":{},"values":[[1,"1"]', r"line 1, column \d+: found no JSON .*; it ends too e"),
        ("[" * 100_000, "found (JSON too deep|no JSON)"),
    ],
)  # fmt: skip
def test_another_answer_is_told(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_answer(load_json(text, "q.json"), "q.json")
    assert "\x1b" not in str(caught.value)


STAMPS = {
    "iso": lambda at: at.isoformat(),
    "z": lambda at: at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "space": lambda at: at.strftime("%Y-%m-%d %H:%M:%S"),
    "epoch": lambda at: str(int(at.timestamp())),
    "date": lambda at: at.strftime("%a %b %e %H:%M:%S UTC %Y"),
    "date12": lambda at: at.strftime("%a %b %e %I:%M:%S %p UTC %Y"),
    "german": lambda at: at.strftime("%a %e %b %H:%M:%S CEST %Y"),
    "ts": lambda at: at.strftime("%b %d %H:%M:%S"),
}
TOPS = {
    "pods": ("NAME          CPU(cores)   MEMORY(bytes)", "ranker-7c9f   {}m   1024Mi", "pod"),
    "containers": (
        "POD      NAME     CPU(cores)   MEMORY(bytes)", "r-1   ranker   {}m   1024Mi", "pod",
    ),
    "all": ("NAMESPACE  NAME   CPU(cores)   MEMORY(bytes)", "prod   r-1   {}m   1024Mi", "pod"),
    "nodes": (
        "NAME   CPU(cores)   CPU%   MEMORY(bytes)   MEMORY%",
        "n1   4000m   {}%   9Gi   10%",
        "node",
    ),
}  # fmt: skip


@given(
    st.lists(st.integers(0, 100), min_size=2, max_size=6),
    st.sampled_from(sorted(STAMPS)),
    st.sampled_from(sorted(TOPS)),
    st.booleans(),
)
def test_kubectl_top_is_read_under_and_beside_its_times(values, stamp, top, beside) -> None:
    header, row, label = TOPS[top]
    lines = []
    for i, value in enumerate(values):
        at = STAMPS[stamp](datetime.fromtimestamp(START + 15 * i, UTC))
        filled = row.format(value)
        lines += [f"{at} {header}", f"{at} {filled}"] if beside else [at, header, filled, ""]
    text = "\n".join(lines)
    assert is_kubectl_top(text)
    (column,) = read_kubectl_top(text, "top.txt").columns
    percent = label == "node"
    assert column.unit == {"percent" if percent else "cores"}
    assert column.values == pytest.approx([v if percent else v / 1000 for v in values])
    assert set(column.labels) == {label}
    assert [b - a for a, b in pairwise(column.at_s)] == [15.0] * (len(values) - 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("NAME CPU(cores) MEMORY(bytes)\nr 1m 5Mi\n",
         "line 2, column 1: found 'r 1m 5Mi', expected a time before it: kubectl top writes none"),
        ("1714982400\nNAME CPU(cores)\nerror: Metrics not available\n",
         "line 3, column 1: found 'err"),
        ("1714982400\nNAME CPU(cores)\n", "found no values in it"),
        ("1714982400\nNAME CPU(cores)\nr 1m 5Mi\nr 1m 5Mi\n", "line 4, .*expected a later time"),
    ],
)  # fmt: skip
def test_a_bad_line_of_kubectl_top_is_told(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_kubectl_top(text, "top.txt")
