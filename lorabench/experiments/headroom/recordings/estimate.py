"""Busy shares over time of the columns of a table, with what is unknown in them.

A CPU is busy when it is not idle and not waiting for a disk; stolen time counts as busy. What a
file lacks, and what cannot be, is left out and stays unknown: it may have been anything.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.experiments.headroom.recordings.counters import Counters
from lorabench.experiments.headroom.recordings.interpretation import (
    Asked,
    Interpretation,
    Series,
)
from lorabench.experiments.headroom.recordings.spans import Trace, add_hosts
from lorabench.experiments.headroom.recordings.table import Table, one_line
from lorabench.experiments.headroom.recordings.telling import KUBECTL_RANGE_S, Told
from lorabench.experiments.headroom.recordings.units import (
    BUSY,
    IDLE,
    SCALE,
    WHOLE,
    UnclearError,
    unit_of_modes,
    unit_of_share,
)
from lorabench.results.windows import Track

Floats = NDArray[np.float64]

# A share that misses 0 or 1 by no more is rounded.
_ROUNDING = 0.005
# Of a column's values at most that many may be such as cannot be, or a handful.
_ODD_SHARE = 0.05
_HANDFUL = 5
# Values come no further apart than that many steps, or one is missing between them.
_MISSING = 1.5


def estimate(table: Table, found: Interpretation, asked: Asked) -> Trace:
    """Return the loads of all hosts in a table.

    Raises
    ------
    InputError
        The unit of a column is not known, CPUs are to be counted, or too much of it cannot be.
    """
    told = Told()
    groups: dict[tuple[str, str], list[Series]] = defaultdict(list)
    for one in found.series:
        groups[one.host or table.file, one.cpu].append(one)
    trace = Trace(table.kind, whole=not any(s.name.meaning.part for s in found.series))
    whole: dict[str, Track] = {}
    counted = any(s.cpu or s.unit in ("cores", "seconds") for s in found.series)
    for (host, cpu), series in groups.items():
        track = _Group(table, asked, told, host, cpu, series, counted).track()
        if cpu:
            trace.cpus[host, cpu] = track
        else:
            whole[host] = track
    _extend(table, trace, whole)
    absent, notes = _missing_cpus(trace, asked.cpus)
    add_hosts(trace, whole, absent)
    trace.notes.extend(notes)
    trace.reading.extend(told.lines())
    trace.notes.extend(found.notes + told.notes())
    return trace


@dataclass
class _Group:
    """The series of one CPU or of one host's CPUs together."""

    table: Table
    asked: Asked
    told: Told
    host: str
    cpu: str
    series: list[Series]
    counted: bool
    """Whether --cpus says something of any column."""

    def track(self) -> Track:
        """Return how busy it was."""
        modes = {one.mode: one for one in self.series if one.mode}
        single = next((one for one in self.series if not one.mode), None)
        if single is not None and not modes:
            return self._single(single)
        if single is not None:
            self._refuse(
                single, "a column of all modes beside columns of modes", "one or the other"
            )
        return self._modes(modes)

    def _single(self, one: Series) -> Track:
        meaning = one.name.meaning
        values = np.array(one.column.values) * meaning.factor
        if one.counter:
            return self._counted({"busy": one}, f"CPU seconds in use of {self._whose()}")
        if one.unit == "cores" or meaning.kind == "cores":
            cpus = self._cpus(one, "cores in use")
            self.told.read(f"cores in use; busy = cores / {cpus:g}", self.host, 1)
            return self._spans(one, values / cpus)
        unit, how = one.unit, ""
        if not unit:
            self._check_known(one)
        if not unit:
            unit, how = self._told_unit(one, lambda: unit_of_share(values, named=one.name.busy))
        if unit == "percent" and not how and self.asked.unit and float(values.max()) <= 1.0:
            self.told.tiny.append(one.column.place.split(" (")[0])
        words = "{busy} in per cent" if unit == "percent" else "{busy} from 0 to 1"
        self.told.read(words + (f" ({how}; --unit says otherwise)" if how else ""), self.host, 1)
        return self._spans(one, values * SCALE[unit])

    def _check_known(self, one: Series) -> None:
        """Refuse what may be anything, whatever its values are."""
        if one.name.expression and one.name.meaning.kind == "unknown":
            known = '1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[15s]))'
            expected = f"{known}, or --unit share|percent|cores, which says that it is one"
            self._refuse(one, "an expression that may not be a busy share", expected)
        if self.asked.cpus is not None and not self.counted and not one.name.busy:
            expected = "--unit cores, or --unit share|percent without it"
            self._refuse(one, "--cpus beside values without a unit", expected)
        if one.name.meaning.part:
            expected = "--unit cores with --cpus N, the node's CPUs, or --unit share|percent"
            values = one.column.values
            found = f"values from {min(values):g} to {max(values):g} of a container or a pod"
            self._refuse(one, f"{found}, and no unit", expected)

    def _modes(self, modes: dict[str, Series]) -> Track:
        first = next(iter(modes.values()))
        shown = ", ".join(sorted(modes))
        if "idle" not in modes and not set(modes) - {"iowait"} >= BUSY:
            raise InputError(
                f"{self.table.file}: {self._who()}: found the modes {one_line(shown):.80}, "
                "expected idle among them"
            )
        at_s, values = _common(modes)
        if not len(at_s):
            self._refuse(first, f"no time at which all of the modes {shown} have a value", "some")
        said = {one.unit for one in modes.values()}
        if len(said) > 1:
            self._refuse(first, f"modes in {' and '.join(sorted(said))}", "one unit")
        unit, how = said.pop(), ""
        if not unit:
            unit, how = self._told_unit(
                first, lambda: unit_of_modes(at_s, values, one_cpu=bool(self.cpu))
            )
        elif unit in ("share", "percent") and set(modes) >= WHOLE:
            unit, how = self._added_up(first, at_s, values, unit)
        if unit == "seconds":
            return self._counted(modes, f"counters of modes of {self._whose()}")
        if "idle" in modes and unit != "cores":
            # Other modes only tell the unit: where one of them has no value, busy is known.
            at_s, values = _common({mode: modes[mode] for mode in modes if mode in IDLE})
        busy = self._busy(first, modes, values, unit)
        formula = "1 - idle" + (" - iowait" if "iowait" in modes else "")
        if "idle" not in modes:
            formula = "the sum of all but iowait"
        if set(modes) == {"idle"}:
            words = f"{{idle}} of {self._whose()}"
        else:
            words = f"the modes of {self._whose()}"
        how = f" ({how})" if how and unit != "seconds" else ""
        self.told.read(f"{words}{how}; busy = {formula}", self.host, len(modes))
        return self._spans(_like(modes.get("idle", first), at_s), busy)

    def _added_up(
        self, first: Series, at_s: Floats, values: dict[str, Floats], said: str
    ) -> tuple[str, str]:
        """Hold a unit that is said against what all modes add up to."""
        try:
            unit, how = unit_of_modes(at_s, values, one_cpu=bool(self.cpu))
        except UnclearError:
            return said, ""  # some modes may be missing
        if unit not in (said, "cores"):
            self._refuse(first, f"modes in {said}, though {how}", "a unit in which they add up")
        return unit, how

    def _busy(
        self, first: Series, modes: dict[str, Series], values: dict[str, Floats], unit: str
    ) -> Floats:
        idle = np.sum([values[mode] for mode in values if mode in IDLE], axis=0)
        if unit != "cores":
            scale = SCALE[unit]
            if "idle" in modes:
                return np.asarray(1.0 - idle * scale, np.float64)
            used = np.sum([v for m, v in values.items() if m != "iowait"], axis=0)
            return np.asarray(used * scale, np.float64)
        if set(modes) >= WHOLE:
            total = np.sum(list(values.values()), axis=0)
            return np.asarray(1.0 - idle / np.where(total > 0, total, np.nan), np.float64)
        return np.asarray(1.0 - idle / self._cpus(first, "idle CPUs"), np.float64)

    def _counted(self, modes: dict[str, Series], words: str) -> Track:
        first = next(iter(modes.values()))
        at_s, values = _common(modes)
        cpus: float | None = 1.0 if self.cpu else None
        whole = set(modes) >= WHOLE
        if cpus is None and not whole:
            if self.asked.cpus is None:
                raise InputError(
                    f"{self.table.file}: {self._who()}: found the modes "
                    f"{one_line(', '.join(sorted(modes))):.80} and no label cpu, expected that, or "
                    "all modes, or --cpus N with the number of CPUs"
                )
            cpus = float(self.asked.cpus)
        if len(at_s) > 1 and all(float(np.ptp(one)) == 0.0 for one in values.values()):
            if whole or "idle" not in modes:
                expected = "some that grow: their exporter stands still"
                self._refuse(first, "counters of CPU seconds that never change", expected)
            self.told.still += 1
        counted = Counters(at_s, values, cpus).busy()
        self.told.odd += len(counted.odd)
        self.told.samples += len(at_s)
        self.told.restarts += counted.restarts
        what = "samples of counters that cannot be: they stand still, fall or outrun the time"
        expected = "counters of CPU seconds (--unit says what else)"
        self._check_odd(first, len(counted.odd), len(at_s), what, expected)
        formula = "growth of all but idle and iowait / growth of all" if whole else "1 - growth of "
        if not whole:
            formula += " and ".join(mode for mode in IDLE if mode in modes) + " a second"
        if set(modes) == {"busy"} or not ("idle" in modes or whole):
            formula = "growth a second" + (f" / {cpus:g}" if cpus and cpus != 1 else "")
        self.told.read(f"{words}; busy = {formula}", self.host, len(modes))
        return Track(
            np.array(counted.begin_s, np.float64),
            np.array(counted.end_s, np.float64),
            np.array(counted.value, np.float64),
        )

    def _spans(self, one: Series, busy: Floats) -> Track:
        """Return a track of values each of which is a mean over some time before it."""
        at_s = np.array(one.column.at_s)
        outside = ~((busy >= -_ROUNDING) & (busy <= 1.0 + _ROUNDING))
        self.told.outside += int(outside.sum())
        self.told.of += len(busy)
        if outside.any():
            at = int(np.flatnonzero(outside)[0])
            line = f" (first on line {one.column.lines[at]})" if one.column.lines[at] else ""
            such, share = float(busy[at]), "0 to 1"
            if one.column.values:  # else it is made of several columns
                such = one.column.values[at]
                share = "0 to 100 %" if one.unit == "percent" else share
                share = f"0 to {self._cpus(one, ''):g} cores" if one.unit == "cores" else share
            self._check_odd(one, int(outside.sum()), len(busy),
                            f"values outside {share}{line}, such as {such:g}",
                            "a busy share; --unit and --cpus say what else it is")  # fmt: skip
        range_s = self._range(one)
        gaps = np.diff(at_s)
        step = float(np.median(gaps)) if len(gaps) else 0.0
        if step == 0.0:
            return Track(np.zeros(0), np.zeros(0), np.zeros(0))
        at_s, busy = at_s[~outside], np.clip(busy[~outside], 0.0, 1.0)
        before = np.concatenate([[-np.inf], at_s[:-1]])
        if range_s == 0.0:
            near = at_s - before <= _MISSING * step
            return Track(np.where(near, before, at_s - step), at_s, busy)
        # What is read a little early or late leaves no gap.
        begin = np.maximum(before, at_s - range_s)
        begin = np.where(begin - before <= 0.1 * range_s, before, begin)
        begin[:1] = at_s[:1] - min(range_s, step)
        return Track(begin, at_s, busy, range_s=range_s)

    def _range(self, one: Series) -> float:
        meaning = one.name.meaning
        if meaning.instant and not self.asked.range_s:
            self._refuse(one, "irate, which is the mean between the last two scrapes alone",
                         "rate, or --range with the time between two scrapes")  # fmt: skip
        if meaning.instant:
            return self.asked.range_s
        found = meaning.range_s or self.asked.range_s
        if not found and self.table.kind == "kubectl":
            self.told.of_window = True
            return KUBECTL_RANGE_S
        self.told.without_range = self.told.without_range or not found
        return found

    def _cpus(self, one: Series, what: str) -> float:
        if self.cpu:
            return 1.0
        if self.asked.cpus is None:
            self._refuse(one, f"{what}, and not of how many", "--cpus N with the node's CPUs")
        return float(self.asked.cpus)

    def _told_unit(self, one: Series, tell: Callable[[], tuple[str, str]]) -> tuple[str, str]:
        try:
            return tell()
        except UnclearError as error:
            expected = f"--unit {error.unit} to say what it is (cores with --cpus N)"
            if not one.mode:
                expected += "; a load average is no CPU time and cannot be read"
            self._refuse(one, str(error), expected)

    def _check_odd(self, one: Series, odd: int, of: int, what: str, expected: str) -> None:
        if odd > _ODD_SHARE * of and (odd > _HANDFUL or 2 * odd >= of):
            self._refuse(one, f"{odd} of {of} {what}", expected)

    def _who(self) -> str:
        return f"{one_line(self.host)}, CPU {self.cpu}" if self.cpu else one_line(self.host)

    def _whose(self) -> str:
        return "single CPUs of {hosts}" if self.cpu else "{hosts}"

    def _refuse(self, one: Series, found: str, expected: str) -> NoReturn:
        raise InputError(
            f"{one_line(self.table.file)}, {one_line(one.column.place)}: found {found:.200}, "
            f"expected {expected}"
        )


def _common(modes: dict[str, Series]) -> tuple[Floats, dict[str, Floats]]:
    """Return the times that all modes have, and their values then."""
    at = sorted(set.intersection(*(set(one.column.at_s) for one in modes.values())))
    values = {}
    for mode, one in modes.items():
        by_time = dict(zip(one.column.at_s, one.column.values, strict=True))
        values[mode] = np.array([by_time[t] for t in at]) * one.name.meaning.factor
    return np.array(at), values


def _like(one: Series, at_s: Floats) -> Series:
    """Return a series at other times, for what is made of several."""
    line_of = dict(zip(one.column.at_s, one.column.lines, strict=True))
    times = [float(t) for t in at_s]
    column = replace(one.column, at_s=times, lines=[line_of[t] for t in times], values=[])
    return replace(one, column=column)


def _extend(table: Table, trace: Trace, whole: dict[str, Track]) -> None:
    """Give all tracks the whole time of the file, in which what they lack is unknown."""
    tracks = [*trace.cpus.values(), *whole.values()]
    begin_s = min((float(t.begin_s[0]) for t in tracks if len(t.value)), default=table.first_s)
    extent = (min(begin_s, table.first_s), table.last_s)
    for cpu, track in trace.cpus.items():
        trace.cpus[cpu] = replace(track, extent_s=extent)
    for host, track in whole.items():
        whole[host] = replace(track, extent_s=extent)


def _missing_cpus(trace: Trace, cpus: int | None) -> tuple[dict[str, int], list[str]]:
    """Return how many CPUs of each host are known to be missing, and what stands for all."""
    numbers: dict[str, list[str]] = defaultdict(list)
    for host, cpu in trace.cpus:
        numbers[host].append(cpu)
    absent: dict[str, int] = {}
    notes: list[str] = []
    for host, there in numbers.items():
        last = max((int(cpu) for cpu in there if cpu.isdecimal()), default=0)
        missing = (cpus or last + 1) - len(there)
        if missing <= 0:
            continue
        words = f"{missing} of {missing + len(there)} CPUs of a host are not in it"
        if cpus is None:
            stands = "the mean of those there stands for all (--cpus N says that they run)"
            notes.append(f"{words}: {stands}")
        else:
            absent[host] = missing
            notes.append(f"{words}: what they did is unknown")
    return absent, list(dict.fromkeys(notes))
