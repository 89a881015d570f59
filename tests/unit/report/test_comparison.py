"""A comparison on a terminal and as Markdown: all there, nothing of a document taken as code."""

import io
import re

from documents import document
from rich.console import Console

from lorabench.report.comparison import Chosen, markdown, render
from lorabench.results.compare import compare
from lorabench.results.gate import parse_gate

NOISE = [0.99, 1.01, 1.0, 1.02, 0.98, 1.0]


def of(scale: float, number: int, **names: str):
    case = names.get("case", "isolated")
    values = {
        ("latency_p99", case): [1.3e-3 * scale * one for one in NOISE],
        ("latency_p99", "planted"): [1.6e-3 * one for one in NOISE],
        ("epochs", case): [100 * one for one in NOISE],
        ("lora_bytes", case): [5 << 20] * 6,
        ("latency_impact", case): [1e-4 * scale, -1e-4, 2e-4, 1e-4, 1e-4, 1e-4],
        ("lookup_row_s", case): [8e-9 * one for one in NOISE],
    }
    return document(values, number=number)


def text(found, chosen: Chosen, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    render(found, console, chosen)
    return console.file.getvalue()


GATES = [parse_gate("latency_p99[isolated]=5%")]


def test_headlines_and_what_is_gated_are_shown_with_units_and_in_80_columns() -> None:
    found = compare([of(1.0, 0)], [of(1.3, 1)], gates=GATES)
    shown = text(found, Chosen())
    assert "latency_p99, ms\n" in shown
    assert re.search(r"\n  isolated +1\.30 +1\.69 +1\.300 \[1\.2", shown)
    assert "worse" in shown
    assert "lookup_row_s, ns" in shown
    assert "planted" not in shown
    assert "epochs" not in shown
    assert "latency_p99[isolated]=5% fail: head / base 1.300 [1.2" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_all_is_everything_and_a_metric_is_itself_alone() -> None:
    found = compare([of(1.0, 0)], [of(1.3, 1)])
    assert {row.metric for row in Chosen(everything=True).of(found)} == {
        *("latency_p99", "epochs", "lora_bytes", "latency_impact", "lookup_row_s"),
    }
    shown = text(found, Chosen(everything=True))
    assert "planted" in shown
    assert "lora_bytes, MiB" in shown
    assert "latency_impact, µs" in shown
    shown = text(found, Chosen(metrics=("epochs",)))
    assert "epochs" in shown
    assert "latency_p99" not in shown


def test_markdown_has_gates_rows_and_what_to_know() -> None:
    found = compare([of(1.0, 0)], [of(1.3, 1)], gates=GATES)
    lines = markdown(found, Chosen()).splitlines()
    assert lines[0] == "## lorabench compare: a gate failed"
    assert any(line.startswith(r"| latency\_p99\[isolated\]=5% | **fail** |") for line in lines)
    (row,) = [line for line in lines if line.startswith(r"| latency\_p99, ms | isolated | 1.30")]
    assert row.count("|") == 8
    assert any("sessions differ" in line for line in lines)


def test_a_name_in_a_document_is_shown_and_never_taken_as_markup() -> None:
    case = "[bold]<script>alert(1)</script> | `x` \\ ![a](b)\n# head &amp;"
    found = compare([of(1.0, 0, case=case)], [of(1.0, 1, case=case)])
    assert "[bold]<scrip" in text(found, Chosen(), 300)
    made = markdown(found, Chosen())
    assert "<script" not in made
    (row,) = [line for line in made.splitlines() if line.startswith(r"| latency\_p99, ms")]
    # The only bars are those of the table, and the line is one.
    assert row.replace(r"\|", "").count("|") == 8
    assert r"\`x\`" in row


def test_markdown_keeps_within_its_size_and_says_what_is_left_out() -> None:
    cases = {("auc", f"case {n}"): [0.7 * one for one in NOISE] for n in range(400)}
    sides = [document(cases, number=n) for n in (0, 1)]
    made = markdown(compare(sides[:1], sides[1:]), Chosen(), most=20_000)
    assert 10_000 < len(made.encode()) <= 20_000
    assert "more rows are in `--format json`." in made
    long = markdown(compare(sides[:1], sides[1:], gates=[parse_gate("auc=5%")]), Chosen(), 20_000)
    assert len(long.encode()) <= 20_000
    assert long.startswith("## lorabench compare: gates passed")
