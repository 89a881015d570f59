"""A comparison for programs of CI: JUnit and github-action-benchmark."""

from xml.etree import ElementTree

import pytest
from documents import document

from lorabench.report.comparison import Chosen
from lorabench.report.gates import benchmark, junit
from lorabench.results.compare import compare
from lorabench.results.gate import parse_gate

NOISE = [0.99, 1.01, 1.0, 1.02, 0.98, 1.0]
WILD = [0.3, 1.9, 1.0, 3.0, 0.4, 1.0]


def of(slow: float, number: int, name: str = "isolated"):
    values = {
        ("latency_p99", "solo"): [1e-3 * one for one in NOISE],
        ("latency_p99", name): [1e-3 * slow * one for one in NOISE],
        ("latency_p99", "naive"): [1e-3 * one for one in WILD],
        ("train_samples_per_s", name): [4e4 / slow * one for one in NOISE],
    }
    return document(values, number=number)


def suite(**options) -> ElementTree.Element:
    found = compare([of(1.0, 0)], [of(1.5, 1)], gates=[parse_gate("latency_p99=5%")])
    return ElementTree.fromstring(junit(found, **options)).find("testsuite")


def test_each_gate_and_case_is_a_test_and_a_failure_has_its_figures_in_its_body() -> None:
    made = suite(unknown_fails=True)
    assert {key: made.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "3",
        "failures": "1",
        "errors": "1",
        "skipped": "0",
    }
    failed = made.find("testcase[@name='latency_p99[isolated]=5%']/failure")
    assert failed.get("message").startswith("head / base 1.500 [1.4")
    for line in ("head / base: 1.5\n", "tolerance: 0.05\n", "interval: 1.4", "values: 6 of base"):
        assert line in failed.text
    unknown = made.find("testcase[@name='latency_p99[naive]=5%']/error")
    assert "could not have shown a change of 5 %" in unknown.text


def test_a_gate_that_cannot_tell_is_skipped_where_it_passes() -> None:
    made = suite(unknown_fails=False)
    assert (made.get("errors"), made.get("skipped")) == ("0", "1")
    assert made.find("testcase[@name='latency_p99[naive]=5%']/skipped") is not None


def test_whatever_a_case_is_called_the_report_is_xml() -> None:
    name = "<a & b> \x00\x1b[31m \ud800 ]]> \"'"
    found = compare([of(1.0, 0, name)], [of(1.5, 1, name)], gates=[parse_gate("latency_p99=5%")])
    names = [
        case.get("name")
        for case in ElementTree.fromstring(junit(found, unknown_fails=True)).iter("testcase")
    ]
    assert "latency_p99[<a & b> \ufffd\ufffd[31m \ufffd ]]> \"']=5%" in names


def test_ratios_are_exported_of_which_smaller_is_better() -> None:
    found = compare([of(1.0, 0)], [of(1.5, 1)])
    made = {one["name"]: one for one in benchmark(found, Chosen())}
    latency = made["latency_p99[isolated] head / base"]
    rate = made["train_samples_per_s[isolated] base / head"]
    assert latency["value"] == pytest.approx(1.5)
    assert rate["value"] == pytest.approx(1.5)
    assert {one["unit"] for one in made.values()} == {"ratio"}
    low, high = map(float, rate["range"].split(".."))
    assert low < 1.5 < high
    assert "naive" in str(made)
