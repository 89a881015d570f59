"""Options of ``lorabench headroom``, which observes, reads a recording or measures."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lorabench.bench.options import (
    INPUT,
    RARE,
    RUN,
    Workload,
    again,
    check,
    flags,
    option,
    options_of,
    shares,
)
from lorabench.bench.serving.options import ServingOptions, conditions
from lorabench.errors import InputError

if TYPE_CHECKING:
    from lorabench.experiments.headroom.recordings.interpretation import Asked
    from lorabench.isolation.conditions import Condition
    from lorabench.results.headroom import Slo

LEAST_DUTIES = 6

# Which options say something in one way of working alone.
_OBSERVING = ("pid", "cgroup")
_MEASURING = (
    *("checkpoint", "load", "qps", "slo_s", "slo_ratio", "duties", "conditions", "rounds"),
    *("warmup_s", "label_delay_s", "servers", "rank"),
)


DEFAULT_CONDITIONS = "pinned,shared"

_READING = ("unit", "cpus", "host_label", "mode_label", "range_s")

_SLO = "p99 to keep, in ms."

UNITS = ("share", "percent", "cores", "seconds")


def units(text: str) -> tuple[str, ...]:
    """Read units that are separated by commas, each of all columns or of one, by its number.

    Raises
    ------
    ValueError
        One is none.
    """
    found = tuple(word.strip() for word in text.split(","))
    for word in found:
        column, _, unit = word.rpartition("=")
        if unit not in UNITS or (column and not column.isdecimal()) or word.startswith("="):
            raise ValueError(f"one of {', '.join(UNITS)}, or COLUMN=UNIT with a column's number")
    return found


def duration(text: str) -> float:
    """Read a duration as Prometheus writes it: 5m, 90s, 1h30m; a number is of seconds.

    Raises
    ------
    ValueError
        It is none.
    """
    from lorabench.experiments.headroom.recordings.promql import parse_duration

    found = parse_duration(text.strip())
    if found is None:
        raise ValueError("a duration such as 5m, 90s or 1h30m")
    return found


@dataclass(frozen=True)
class DutySweepOptions(ServingOptions):
    """What a sweep is asked for."""

    otherwise = DEFAULT_CONDITIONS

    conditions: "tuple[Condition, ...] | None" = option(
        None,
        "Where the trainer runs: pinned, on cores that do not serve; shared, on those that do; "
        "with + more, as of colocate.",
        metavar="C[,C]...",
        parse=conditions,
        shown=DEFAULT_CONDITIONS,
    )
    duties: tuple[float, ...] = option(
        (0.0, 0.1, 0.25, 0.5, 0.75, 1.0),
        "Shares of the time that the trainer may work, six or more.",
        metavar="D,D,...",
        parse=shares,
    )
    slo_ratio: float | None = option(
        None,
        "p99 to keep, over p99 without training.",
        above=1,
        most=1000,
        shown="1.10",
    )

    def check(self) -> None:
        """Refuse what cannot be run.

        Raises
        ------
        InputError
            Naming the option, what was found and what was expected.
        """
        super().check()
        for condition in self.asked:
            if condition.applies is not None:
                raise InputError(
                    f"--conditions: found {condition.name!r}, expected conditions in which a "
                    "trainer learns: headroom is what is left for training"
                )
        found = ",".join(f"{duty:g}" for duty in self.duties)
        if any(not 0 <= duty <= 1 for duty in self.duties):
            raise InputError(f"--duties: found {found}, expected shares of the time, 0 to 1")
        if len(set(self.duties)) < LEAST_DUTIES or 0 not in self.duties:
            raise InputError(
                f"--duties: found {found}, expected {LEAST_DUTIES} or more different ones, 0 among "
                "them"
            )
        if self.slo_s is not None and self.slo_ratio is not None:
            raise InputError("--slo-ms: found --slo-ratio beside it, expected one or the other")

    @property
    def slo(self) -> "Slo":
        """What p99 must keep."""
        from lorabench.results.evidence import ISOLATED
        from lorabench.results.headroom import Slo

        if self.slo_s is not None:
            return Slo(limit_s=self.slo_s)
        return Slo(ratio=self.slo_ratio or ISOLATED.limit)

    @property
    def worked(self) -> tuple[float, ...]:
        """Duties at which the trainer works at all, rising."""
        return tuple(sorted({duty for duty in self.duties if duty > 0}))


@dataclass(frozen=True)
class HeadroomOptions(Workload):
    """What to observe, to read or to measure.

    None stands for what was not given: which default that is depends on the way of working.
    """

    pid: int | None = option(
        None, "Observe this process, by its stat and schedstat alone.", least=1, panel=INPUT
    )
    cgroup: str | None = option(
        None,
        "Observe this control group: a path below /sys/fs/cgroup.",
        metavar="PATH",
        panel=INPUT,
    )
    trace: Path | None = option(
        None,
        "Judge a recording: of sysstat (sadf, sar, mpstat), Prometheus (CSV, JSON), kubectl top.",
        metavar="FILE",
        panel=INPUT,
    )
    duration_s: float | None = option(
        None,
        "Seconds to observe, or measured seconds of each condition.",
        unit="s",
        above=0,
        most=7 * 86_400,
        shown="60, or 5",
    )
    load: float | None = again(DutySweepOptions, "load")
    qps: float | None = again(DutySweepOptions, "qps")
    slo_s: float | None = again(DutySweepOptions, "slo_s", help=_SLO, shown=None, panel=RUN)
    slo_ratio: float | None = again(DutySweepOptions, "slo_ratio")
    duties: tuple[float, ...] | None = again(DutySweepOptions, "duties")
    conditions: "tuple[Condition, ...] | None" = again(DutySweepOptions, "conditions")
    rounds: int | None = again(DutySweepOptions, "rounds")
    checkpoint: Path | None = again(DutySweepOptions, "checkpoint")
    warmup_s: float | None = again(DutySweepOptions, "warmup_s")
    label_delay_s: float | None = again(DutySweepOptions, "label_delay_s")
    servers: int | None = again(DutySweepOptions, "servers")
    rank: int | None = again(DutySweepOptions, "rank", panel=RARE)
    unit: tuple[str, ...] | None = option(
        None,
        "What the values of a recording are where it does not say so itself: share, percent, "
        "cores, seconds (of counters); of one column: 3=percent.",
        metavar="UNIT[,N=UNIT]...",
        parse=units,
        panel=RARE,
    )
    cpus: int | None = option(
        None,
        "CPUs of the node that cores in use in a recording are a share of.",
        least=1,
        most=1_000_000,
        panel=RARE,
    )
    host_label: str | None = option(
        None, "Label that tells a recording's hosts apart.", metavar="LABEL", panel=RARE
    )
    mode_label: str | None = option(
        None, "Label that holds the modes of CPU time in a recording.", metavar="LABEL", panel=RARE
    )
    range_s: float | None = option(
        None,
        "How long each value of a recording is the mean over: 5m for rate(...[5m]).",
        unit="s",
        above=0,
        most=366 * 86_400,
        metavar="5m",
        parse=duration,
        write=lambda value: f"{value:g}s",
        panel=RARE,
    )
    seed: int = option(0, "Of rows, arrivals, orders, weights, resampling.", least=0, panel=RARE)

    @property
    def asked(self) -> "Asked":
        """What is said of the recording."""
        from lorabench.experiments.headroom.recordings.interpretation import Asked

        given = [word.rpartition("=") for word in self.unit or ()]
        return Asked(
            unit=next((unit for column, _, unit in given if not column), ""),
            units={column: unit for column, _, unit in given if column},
            cpus=self.cpus,
            host_label=self.host_label,
            mode_label=self.mode_label,
            range_s=self.range_s or 0.0,
        )

    @property
    def read_as(self) -> dict[str, Any]:
        """What is said of the recording, as a document's configuration has it."""
        given = {name: getattr(self, name) for name in _READING}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in given.items()
            if value is not None
        }

    @property
    def mode(self) -> Literal["passive", "trace", "active"]:
        """Which of the three ways of working is asked for, as a document names it."""
        if self.trace is not None:
            return "trace"
        return "passive" if self.preset is None and self.data is None else "active"

    def check(self) -> None:
        """Refuse options that say nothing in this way of working, or that cannot be measured.

        Raises
        ------
        InputError
            Naming the option, what was found and what was expected.
        """
        if self.mode == "trace":
            serving = ("duration_s", "preset", "data", "columns", "wrap_ids")
            self._refuse((*_OBSERVING, *serving, *_MEASURING), "with --trace", "--trace alone")
            return
        self._refuse(_READING, "without --trace", "it beside a recording")
        if self.mode == "active":
            self._refuse(_OBSERVING, "with --preset or --data", "one or the other")
            check(self.sweep())
        else:
            where, expected = "without --preset or --data", "one of these, to have a load to serve"
            self._refuse((*_MEASURING, "columns", "wrap_ids"), where, expected)
            if self.pid is not None and self.cgroup is not None:
                raise InputError("--pid: found --cgroup beside it, expected one or the other")

    def _refuse(self, fields: tuple[str, ...], where: str, expected: str) -> None:
        for one, known in options_of(type(self)):
            value = getattr(self, one.name)
            if one.name in fields and value is not None and value is not False:
                name = flags(one, known)[0]
                raise InputError(f"{name}: found it {where}, expected {expected}")

    def sweep(self) -> DutySweepOptions:
        """Return what the sweep is asked for; what was not given is its default."""
        known = DutySweepOptions.__dataclass_fields__
        given = {name: value for name, value in vars(self).items() if name in known}
        return DutySweepOptions(**{k: v for k, v in given.items() if v is not None})
