"""A comparison as programs of CI read it: JUnit's XML, and github-action-benchmark's JSON.

JUnit: a test a gate and case, figures in the body of a failure, since GitLab shows no properties.
github-action-benchmark: ``customSmallerIsBetter``, of ratios alone, since milliseconds of two
machines do not compare.
"""

import re
from typing import Any
from xml.etree import ElementTree

from lorabench.report.comparison import Chosen, sides
from lorabench.results.change import Change
from lorabench.results.comparison import Comparison
from lorabench.results.gate import GateVerdict

# What XML 1.0 has no place for, escaped or not.
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(found: Comparison, *, unknown_fails: bool) -> str:
    """Return the gates as a JUnit report.

    Parameters
    ----------
    found : Comparison
        With gates.
    unknown_fails : bool
        A gate that could not tell is an error, and otherwise skipped.
    """
    counts = {
        outcome: sum(one.outcome == outcome for one in found.gates)
        for outcome in ("fail", "unknown")
    }
    suite = ElementTree.Element(
        "testsuite",
        name="lorabench compare",
        tests=str(len(found.gates)),
        failures=str(counts["fail"]),
        errors=str(counts["unknown"] if unknown_fails else 0),
        skipped=str(0 if unknown_fails else counts["unknown"]),
    )
    for one in found.gates:
        case = ElementTree.SubElement(
            suite, "testcase", classname=_xml(one.held.gate.metric), name=_xml(one.name)
        )
        body = _xml("\n".join([one.reason, *_figures(one), *sides(found), *found.notes]))
        if one.outcome == "fail":
            ElementTree.SubElement(case, "failure", message=_xml(one.reason)).text = body
        elif one.outcome == "unknown":
            tag = "error" if unknown_fails else "skipped"
            ElementTree.SubElement(case, tag, message=_xml(one.reason)).text = body
        else:
            ElementTree.SubElement(case, "system-out").text = body
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _figures(one: GateVerdict) -> list[str]:
    change = one.held.change
    if change is None:
        return []
    interval, least = change.interval(one.level), change.least_shown(one.level)
    return [
        f"head / base: {change.value:.6g}",
        f"interval: {'-' if interval is None else '{:.6g}..{:.6g}'.format(*interval)}",
        f"tolerance: {one.held.gate.share:.6g}",
        f"smallest change that could have been shown: {'-' if least is None else f'{least:.6g}'}",
        f"values: {change.n[0]} of base, {change.n[1]} of head",
    ]


def _xml(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)


def benchmark(found: Comparison, chosen: Chosen) -> list[dict[str, Any]]:
    """Return how much worse head is as ratios, of which smaller is better."""
    return [
        {
            "name": f"{row.metric}[{row.case}] {_which(row.change)}",
            "unit": "ratio",
            "value": _smaller(row.change.value, row.change),
            "range": _range(row.change, found.level),
            "extra": row.verdict,
        }
        for row in chosen.of(found)
        if row.change is not None and row.change.kind != "difference"
    ]


def _which(change: Change) -> str:
    return "head / base" if change.better == "lower" else "base / head"


def _smaller(value: float, change: Change) -> float:
    return value if change.better == "lower" else 1 / max(value, 1e-300)


def _range(change: Change, level: float) -> str:
    interval = change.interval(level)
    if interval is None:
        return ""
    low, high = sorted(_smaller(bound, change) for bound in interval)
    return f"{low:.4g}..{high:.4g}"
