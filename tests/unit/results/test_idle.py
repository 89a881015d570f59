"""The verdict on idle CPU, and its words."""

from dataclasses import replace

import pytest

from lorabench.results.idle import Idle, Quota, headroom_idle
from lorabench.results.windows import Peak


def exactly(busy: float) -> Peak:
    return Peak(busy, busy, exact=True)


HOST = Idle("this host", whole=True, peak=exactly(0.15), observed_s=60.0)


@pytest.mark.parametrize(
    ("evidence", "expected", "words"),
    [
        (HOST, "met", "this host, observed for 60 s, was 15.0 % busy in its busiest 10 s; that it"),
        (replace(HOST, peak=exactly(0.20)), "met", "was 20.0 % busy"),
        (replace(HOST, peak=exactly(0.21)), "missed", "was 21.0 % busy in its busiest 10 s"),
        (replace(HOST, peak=None), "unavailable", "gave no window of 10 s"),
        (
            replace(HOST, quota=Quota(1.2, 600, 340, 9.0, exactly(1.0))),
            "missed",
            "this host, observed for 60 s, was 15.0 % busy in its busiest 10 s; of the 1.2 CPUs of "
            "this container's CPU quota, which is all that training in it can use, at most 100.0 % "
            "were in use; the kernel stopped it in 340 of 600 periods, 9.0 s in all",
        ),
        (
            replace(HOST, quota=Quota(1.2, 600, 0, 0.0, exactly(0.01))),
            "met",
            "at most 1.0 % were in use; that it served its usual load meanwhile is yours to know",
        ),
        (
            Idle("this control group", False, exactly(1.0), 34.0, quota=Quota(0.2, 343, 340, 27.0)),
            "missed",
            "was 100.0 % busy in its busiest 10 s, as a share of the CPU quota of 0.2 CPUs that "
            "binds it; the kernel stopped it in 340 of 343 periods, 27.0 s in all",
        ),
        (
            Idle("this process", False, exactly(0.1), 34.0, quota=Quota(0.2, 343, 0, 0.0)),
            "unavailable",
            "of 0.2 CPUs that binds it; what else the node did was not observed",
        ),
        (
            replace(HOST, bench=("fio (process 3)",)),
            "unavailable",
            "made load on the node: fio (pr",
        ),
        (
            replace(HOST, peak=Peak(0.1, 0.5, exact=False)),
            "inconclusive",
            "was between 10.0 and 50.0 % busy in its busiest 10 s; a finer recording would tell",
        ),
        (replace(HOST, peak=Peak(0.3, 1.0, exact=False)), "missed", "between 30.0 and 100.0 %"),
        (replace(HOST, peak=Peak(0.01, 0.2, exact=False)), "met", "between 1.0 and 20.0 %"),
        (
            replace(HOST, peak=None, recorded=True),
            "unavailable",
            "gave no window of 10 s; a longer recording would",
        ),
        (
            replace(HOST, peak=Peak(0.1, 1.0, exact=False), recorded=True, unknown_s=60.0),
            "inconclusive",
            "busiest 10 s; of 60 s more nothing is known; a recording without gaps would tell",
        ),
        (
            replace(HOST, peak=Peak(0.1, 1.0, exact=False), recorded=True, range_s=300.0),
            "inconclusive",
            "values that are means over 300 s hide shorter peaks: one of 10 s or less would tell",
        ),
        (
            replace(HOST, whole=False, recorded=True),
            "unavailable",
            "what else the node did was not recorded (a recording of the node itself has it)",
        ),
        (replace(HOST, whole=False), "unavailable", "what else the node did was not observed"),
        (replace(HOST, whole=False, peak=exactly(0.4)), "missed", "a share of the node's CPUs"),
    ],
)
def test_idle_cpu_is_judged_by_the_busiest_window_of_a_node_without_a_bench(
    evidence: Idle, expected: str, words: str
) -> None:
    claim = headroom_idle(evidence)
    assert (claim.id, claim.verdict, claim.target) == ("headroom.idle", expected, 0.20)
    assert words in claim.reason
