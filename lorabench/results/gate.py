"""Gates: by how much a metric may get worse, and whether data show that it did.

A gate fails only where the change is shown to lie beyond its tolerance; several gates hold
together, so that the chance that any of them fails without cause is that of one (Holm 1979, A
simple sequentially rejective multiple test procedure, Scand. J. Statist. 6). A gate that does not
fail has passed only if it could have seen something: where the data could not have told a change of
its tolerance from none, nor show that the change stays within, it is unknown.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lorabench.results.change import Change, tolerated
from lorabench.results.statistics import LEVEL

GateOutcome = Literal["pass", "fail", "unknown"]

_GATE = re.compile(r"(?P<metric>[A-Za-z0-9_.]+)(?:\[(?P<case>.+)\])?=(?P<share>[^=%]+)%")


@dataclass(frozen=True)
class Gate:
    """What a metric is held to.

    Parameters
    ----------
    metric : str
        Its name.
    share : float
        By how much of base it may get worse, above 0.
    case : str or None
        In which case alone, by its text or as label=value[,label=value]; None for all that are no
        controls.
    """

    metric: str
    share: float
    case: str | None = None

    def __str__(self) -> str:
        case = "" if self.case is None else f"[{self.case}]"
        return f"{self.metric}{case}={self.share * 100:g}%"

    def wants(self, text: str, labels: "dict[str, str]") -> bool:
        """Return whether it is about a case, given by its text and its labels as text."""
        if self.case is None or self.case == text:
            return True
        asked = [part.partition("=") for part in self.case.split(",")]
        return all(mark and labels.get(name) == value for name, mark, value in asked)


def parse_gate(text: str) -> Gate:
    """Read ``METRIC=5%`` or ``METRIC[CASE]=5%``.

    Raises
    ------
    ValueError
        It is neither; says what is expected.

    Examples
    --------
    >>> parse_gate("latency_p99[isolated]=5%")
    Gate(metric='latency_p99', share=0.05, case='isolated')
    """
    found = _GATE.fullmatch(text.strip())
    if found is None:
        raise ValueError("METRIC=X% or METRIC[CASE]=X%, such as latency_p99=5%")
    try:
        share = float(found["share"]) / 100
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise ValueError("a percentage above 0 and below 100, such as latency_p99=5%")
    return Gate(found["metric"], share, found["case"])


@dataclass(frozen=True)
class Held:
    """A change that a gate is about.

    Parameters
    ----------
    gate : Gate
        It.
    case : str
        Of which case.
    change : Change or None
        None where a side has no value.
    worse : str or None
        Why it is worse whatever the values say, such as a queue that only grew.
    chance : float
        Of what `worse` tells, though nothing is worse.
    unknown : str or None
        Why nothing can be told whatever the values say.
    """

    gate: Gate
    case: str
    change: Change | None
    worse: str | None = None
    unknown: str | None = None
    chance: float = 0.0


@dataclass(frozen=True)
class GateVerdict:
    """What became of a gate in one case.

    Parameters
    ----------
    held : Held
        What was held to it.
    outcome : {"pass", "fail", "unknown"}
        How it went.
    level : float
        What its interval leaves out on either side, so that all gates hold together.
    reason : str
        What was found, in words.
    """

    held: Held
    outcome: GateOutcome
    level: float
    reason: str

    @property
    def name(self) -> str:
        """The gate with its case."""
        return f"{self.held.gate.metric}[{self.held.case}]={self.held.gate.share * 100:g}%"

    @property
    def decided(self) -> bool:
        """Whether it failed, or its interval lies within the tolerance: more would change nothing.

        One that passes since the data could have shown a change may yet fail with more of them.
        """
        change = self.held.change
        bounds = None if change is None else change.worse_by(self.level)
        if self.outcome != "pass" or change is None or bounds is None:
            return self.outcome == "fail"
        return bounds[1] <= tolerated(self.held.gate.share, change.better)


def judge(held: Sequence[Held], level: float = LEVEL) -> list[GateVerdict]:
    """Hold changes to their gates, all together.

    Parameters
    ----------
    held : sequence of Held
        One a gate and case.
    level : float
        How often any gate may fail though no change is beyond its tolerance.
    """
    p_values = [_p(one) for one in held]
    order = sorted(range(len(held)), key=lambda n: p_values[n])
    found: dict[int, GateVerdict] = {}
    rejecting, step = True, level
    for rank, place in enumerate(order):
        if rejecting:
            # The step at which the first gate does not fail is that of all that follow.
            step = level / (len(held) - rank)
            rejecting = p_values[place] <= step
        found[place] = _verdict(held[place], step, failed=rejecting)
    return [found[place] for place in range(len(held))]


def _p(one: Held) -> float:
    """Return the p of a gate that is kept; 1 where nothing can be told."""
    if one.worse is not None:
        return one.chance
    if one.unknown is not None or one.change is None:
        return 1.0
    found = one.change.p_worse(tolerated(one.gate.share, one.change.better))
    return 1.0 if found is None else found


def _verdict(one: Held, level: float, *, failed: bool) -> GateVerdict:
    return GateVerdict(one, *_outcome(one, level, failed=failed))


def _outcome(one: Held, level: float, *, failed: bool) -> tuple[GateOutcome, float, str]:
    """Return how a gate went, at which level, and what was found."""
    change, share = one.change, one.gate.share
    if one.worse is not None:
        unsure = f"{one.worse}, which chance alone may give"
        return ("fail", level, one.worse) if failed else ("unknown", level, unsure)
    bounds = None if change is None else change.worse_by(level)
    if one.unknown is not None or change is None or bounds is None:
        few = "of one value a side nothing is known of how far values vary"
        return "unknown", level, one.unknown or (few if change else "a side has no value")
    limit, least = tolerated(share, change.better), change.least(level)
    assert least is not None
    said, asked = _said(change, level), f"{share * 100:g} %"
    shown = f"{change.as_share(least) * 100:.1f} %"
    if failed:
        return "fail", level, f"{said}, beyond {asked}"
    if bounds[1] <= limit:
        return "pass", level, f"{said}, within {asked}"
    if least <= limit:
        could = f"it could have shown one of {shown}"
        return "pass", level, f"{said}, not shown to be beyond {asked}; {could}"
    could = f"it could not have shown a change of {asked}, but one of {shown}"
    return "unknown", level, f"{said}; {could}"


def _said(change: Change, level: float) -> str:
    interval = change.interval(level)
    bounds = "" if interval is None else f" [{interval[0]:.3f}..{interval[1]:.3f}]"
    return f"head / base {change.value:.3f}{bounds}"
