"""Which unit values are in, where neither a name nor an option says it: what the values allow.

Numbers tell little by themselves: 3.2 may be per cent, cores in use or a load average. Only what
they leave no doubt about is taken: the modes of a CPU add up to its whole time, a counter rises, no
share exceeds 1. All else is asked for.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Unit = Literal["share", "percent", "cores", "seconds"]

WHOLE = frozenset(("idle", "user", "system"))
"""With these beside them, the modes of a CPU add up to all of its time, nearly."""

BUSY = frozenset(("user", "system", "nice", "irq", "softirq", "steal"))
"""These add up to the time in which it is neither idle nor waiting for a disk."""

IDLE = ("idle", "iowait")

SCALE: Mapping[str, float] = {"share": 1.0, "percent": 0.01}

# Modes that add up to all time miss that by rounding, and by modes that are not among them.
_NEARLY = 0.1
# Of a counter's steps at most so many go back: a restart, a late scrape.
_FALLS = 0.1
_MOST_CPUS = 4096
# Late scrapes may make a share exceed 1 for a moment, but not twice itself.
_SLIGHTLY = 2.0


class UnclearError(Exception):
    """What the values are cannot be told: what was found, and which option says it."""

    def __init__(self, found: str, unit: str = "share|percent|cores") -> None:
        super().__init__(found)
        self.unit = unit


def unit_of_share(values: Floats, *, named: bool) -> tuple[Unit, str]:
    """Return the unit of a column of which no other mode is known, and how that is known.

    Parameters
    ----------
    values : float64 [N]
        All of it.
    named : bool
        Its name says that it is a share of CPU time, so that it is no count of cores.

    Raises
    ------
    UnclearError
        It may be something else.
    """
    above = float((values > 1.0 + 1e-3).mean())
    most = float(values.max())
    if above == 0.0:
        return "share", "no value exceeds 1"
    found = f"values from {float(values.min()):g} to {most:g} and no unit"
    if most <= _SLIGHTLY and above < (0.5 if named else 0.2):
        return "share", "hardly a value exceeds 1"
    if named and above >= 0.5 and most > _SLIGHTLY:
        return "percent", "a share in per cent, since values exceed 1"
    raise UnclearError(found)


def unit_of_modes(at_s: Floats, modes: Mapping[str, Floats], *, one_cpu: bool) -> tuple[Unit, str]:
    """Return the unit of the modes of a CPU or a host, and how that is known.

    Parameters
    ----------
    at_s : float64 [N]
        Times that all of them have.
    modes : mapping of str to float64 [N]
        By mode.
    one_cpu : bool
        They are of one CPU, and not of all of a host.

    Raises
    ------
    UnclearError
        They may be something else.
    """
    values = np.stack(list(modes.values()))
    rises = _rises(values)
    if set(modes) >= WHOLE:
        total = values.sum(axis=0)
        usual = float(np.median(total))
        steady = usual > 0 and float(np.mean(np.abs(total / usual - 1.0) > _NEARLY)) < _NEARLY
        if usual > 101.0:
            _check_still(values)
        if steady and not (rises and _grows(at_s, total)):
            return _of_sum(usual, modes)
        if rises:
            return "seconds", "they rise"
        _check_still(values)
        raise UnclearError(f"modes that add up to {total.min():g} to {total.max():g}")
    idle = modes["idle"] if "idle" in modes else values.sum(axis=0)
    low, high = float(idle.min()), float(idle.max())
    if high <= 1.0 + 1e-3:
        return "share", "no value exceeds 1"
    if high > 100.0 and (rises or (one_cpu and float(np.ptp(idle)) == 0.0)):
        return "seconds", "they rise" if rises else "more than 100 % of a CPU"
    if high > 100.0:
        _check_still(values)
    found = f"values of mode {', '.join(sorted(modes))} from {low:g} to {high:g} and no unit"
    if one_cpu and high <= 100.0 + 1e-3 and not rises:
        return "percent", "of one CPU, with values that exceed 1"
    if high <= _SLIGHTLY and float((idle > 1.0 + 1e-3).mean()) < 0.5:
        return "share", "hardly a value exceeds 1"
    raise UnclearError(found, "share|percent|cores|seconds")


def _check_still(values: Floats) -> None:
    if float(np.ptp(values, axis=1).max(initial=0.0)) == 0.0:
        found = f"values that never change ({values[0, 0]:g}), as of a counter that stands still"
        raise UnclearError(found, "share|percent|cores|seconds")


def _of_sum(usual: float, modes: Mapping[str, Floats]) -> tuple[Unit, str]:
    if abs(usual - 1.0) <= _NEARLY:
        return "share", "they add up to 1"
    if abs(usual - 100.0) <= 100 * _NEARLY and usual <= 101.0:
        return "percent", "they add up to 100"
    # Of more than one CPU: whatever the unit, the part that is idle is known.
    hundreds, cores = round(usual / 100), round(usual)
    if hundreds > 1 and abs(usual / 100 - hundreds) <= 0.02:
        return "cores", f"they add up to {hundreds} times 100"
    if 1 < cores <= _MOST_CPUS and abs(usual - cores) <= 0.02 * cores:
        return "cores", f"they add up to {cores} CPUs"
    names = ", ".join(sorted(modes))
    raise UnclearError(f"the modes {names}, which add up to {usual:g}")


def _rises(values: Floats) -> bool:
    """Whether these are counters: they hardly fall, and rise."""
    steps = np.diff(values, axis=1)
    if steps.size == 0:
        return False
    falls = float((steps < 0).any(axis=0).mean())
    return falls <= max(_FALLS, 1.01 / steps.shape[1]) and bool((steps > 0).any())


def _grows(at_s: Floats, total: Floats) -> bool:
    """Whether a sum of modes grows as time does, and does not only tremble."""
    elapsed = float(at_s[-1] - at_s[0])
    return elapsed > 0 and float(np.maximum(0.0, np.diff(total)).sum()) > 0.5 * elapsed
