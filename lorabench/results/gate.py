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

from lorabench.results.change import Change, as_percent, as_ratio
from lorabench.results.limit import MIN_ROUNDS
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
class Lost:
    """Blocks of head without a value, of which there are more than chance lets pass for none.

    Parameters
    ----------
    told : str
        What is missing where, such as a queue that only grew.
    chance : float
        Of so many more of head than of base, though the two are alike.
    """

    told: str
    chance: float


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
    lost : Lost or None
        What speaks against head beside its values, and against passing by them.
    unknown : str or None
        Why nothing can be told whatever the values say.
    least : int
        Fewer values a side tell nothing.
    """

    gate: Gate
    case: str
    change: Change | None
    lost: Lost | None = None
    unknown: str | None = None
    least: int = MIN_ROUNDS

    @property
    def judged(self) -> Change | None:
        """The change, where it is known well enough to be judged."""
        change = self.change
        if self.unknown is not None or change is None or change.error is None:
            return None
        return change if min(change.n) >= self.least else None


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
        change = self.held.judged
        bounds = None if change is None else change.worse_by(self.level)
        if self.outcome != "pass" or change is None or bounds is None:
            return self.outcome == "fail"
        return bounds[1] <= change.tolerates(self.held.gate.share)


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
    """Return the p of a gate that is kept; 1 where nothing can be told.

    Of two tests, of values and of blocks without any, the clearer one, for both together.
    """
    if one.unknown is not None:
        return 1.0
    change = one.judged
    found = None if change is None else change.p_worse(change.tolerates(one.gate.share))
    p = 1.0 if found is None else found
    return p if one.lost is None else min(1.0, 2 * min(p, one.lost.chance))


def _verdict(one: Held, level: float, *, failed: bool) -> GateVerdict:
    if one.lost is not None and one.unknown is None:
        if not failed:
            unsure = f"{one.lost.told}, which chance alone may give"
            return GateVerdict(one, "unknown", level, unsure)
        if 2 * one.lost.chance <= level:
            return GateVerdict(one, "fail", level, one.lost.told)
    change = one.judged
    if change is None:
        return GateVerdict(one, "unknown", level, _unjudged(one))
    return GateVerdict(one, *_outcome(change, one.gate.share, level, failed=failed))


def _unjudged(one: Held) -> str:
    """Return why a change tells nothing."""
    if one.unknown is not None:
        return one.unknown
    if one.change is None:
        return "a side has no value"
    n = min(one.change.n)
    if n == 1:
        return "of one value a side nothing is known of how far values vary"
    return f"there are {n} values a side, and {one.least} are needed"


def _outcome(
    change: Change, share: float, level: float, *, failed: bool
) -> tuple[GateOutcome, float, str]:
    """Return how a gate went by its values, at which level, and what was found."""
    bounds, least, limit = change.worse_by(level), change.least(level), change.tolerates(share)
    assert bounds is not None
    assert least is not None
    said, asked = _said(change, level), f"{share * 100:g} %"
    if failed:
        return "fail", level, f"{said}, beyond {asked}"
    if bounds[1] <= limit:
        return "pass", level, f"{said}, within {asked}"
    if least <= limit and sum(bounds) / 2 <= limit:
        from_on = as_percent(change.as_share(limit + least))
        could = f"it fails from {from_on} on, 4 times of 5"
        return "pass", level, f"{said}, not shown to be beyond {asked}; {could}"
    shown = as_percent(change.as_share(least))
    if least <= limit:
        return "unknown", level, f"{said}, on neither side of {asked}; more time would tell"
    could = f"it could not have shown a change of {asked}, but one of {shown}"
    return "unknown", level, f"{said}; {could}"


def _said(change: Change, level: float) -> str:
    interval = change.interval(level)
    bounds = "" if interval is None else " [{}..{}]".format(*map(as_ratio, interval))
    what = "head - base" if change.kind == "difference" else "head / base"
    return f"{what} {as_ratio(change.value)}{bounds}"
