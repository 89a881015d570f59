"""What each column of a table is: kind, unit, host and CPU; from the file, else from options.

Nothing is guessed where it matters: what neither a name, a label, an option nor the values leave no
doubt about is refused, with what was found and the option that settles it.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

from lorabench.errors import InputError
from lorabench.experiments.headroom.recordings.naming import (
    HOSTS,
    MODES,
    PARTS,
    Name,
    cpu_of,
    mode_of,
    read_name,
)
from lorabench.experiments.headroom.recordings.table import Column, Table, one_line

# These may differ between the CPUs of a host.
_OF_CPUS = ("package", "core", "die", "socket", "physical_package_id", "node_id", "numa")


@dataclass(frozen=True)
class Asked:
    """What options say of a recording.

    Parameters
    ----------
    unit : str
        Of every column that does not say its own; empty where none is given.
    units : mapping of str to str
        Of single columns, by number.
    cpus : int or None
        How many CPUs cores in use are a share of.
    host_label, mode_label : str or None
        Labels that hold the host and the mode.
    range_s : float
        How long a value is the mean over, where its name does not say it; 0 where it is not given.
    """

    unit: str = ""
    units: Mapping[str, str] = field(default_factory=dict)
    cpus: int | None = None
    host_label: str | None = None
    mode_label: str | None = None
    range_s: float = 0.0


@dataclass(frozen=True)
class Series:
    """A column and what it is.

    Parameters
    ----------
    column : Column
        Its values.
    name : Name
        What its name says.
    host, cpu, mode : str
        Whose it is; empty where it is of the one host, of all CPUs, of no single mode.
    unit : str
        As names, values' signs and options say it; empty where none does.
    unknown : mapping of str to str
        Labels that are none of these.
    """

    column: Column
    name: Name
    host: str
    cpu: str
    mode: str
    unit: str
    unknown: Mapping[str, str]

    @property
    def counter(self) -> bool:
        """Whether it is CPU seconds that add up."""
        return self.unit == "seconds"


@dataclass(frozen=True)
class Interpretation:
    """The columns of a table that are CPU time, and what was left out."""

    series: list[Series]
    notes: list[str]


def interpret(table: Table, asked: Asked) -> Interpretation:
    """Say what each column is.

    Raises
    ------
    InputError
        It cannot be told whose a column is, or what: the file, the column, what was found and the
        option or the name that settles it.
    """
    names = _names(table)
    kept: list[tuple[Column, Name]] = []
    left_out: list[tuple[Column, Name]] = []
    for column, name in zip(table.columns, names, strict=True):
        (left_out if name.meaning.kind in ("load", "other") else kept).append((column, name))
    if not kept:
        what = "load averages, which count tasks that wait and are no CPU time"
        if any(name.meaning.kind == "other" for _, name in left_out):
            what = "no CPU time"
        _refuse(table, left_out[0][0], what, "CPU time: busy shares, shares of modes or counters")
    notes = list(table.notes)
    for kind, word in (("load", "load averages"), ("other", "no CPU time")):
        places = [column.place.split(" (")[0] for column, name in left_out
                  if name.meaning.kind == kind]  # fmt: skip
        if places:
            notes.append(f"left out, since they are {word}: {', '.join(places)}")
    _check_labels(table, asked, kept)
    series = [_series(table, asked, column, name) for column, name in kept]
    _check_one_each(table, series)
    return Interpretation(series, notes)


def _names(table: Table) -> list[Name]:
    """Read all names; a mode joined to a host's name is one where idle stands behind it too."""
    names = [read_name(column.name) for column in table.columns]
    settled = []
    for column, name in zip(table.columns, names, strict=True):
        modes = {one.meaning.mode for one in names if one.host == name.host and one.meaning.mode}
        if name.joined and modes == {"idle"} and not column.labels:
            _refuse(table, column, "a name that ends in idle, which may be a host's",
                    'idle, or {instance="...",mode="idle"}, or another name')  # fmt: skip
        if name.joined and "idle" not in modes:
            meaning = replace(name.meaning, kind="unknown", mode="")
            name = Name(meaning, host=column.name)  # noqa: PLW2901
        settled.append(name)
    return settled


def _series(table: Table, asked: Asked, column: Column, name: Name) -> Series:
    meaning = name.meaning
    labels = {**column.labels, **name.labels}
    lower = {label.lower(): value for label, value in labels.items()}
    mode_label = (asked.mode_label or "").lower()
    modes = [mode_label] if mode_label else [label for label in MODES if label in lower]
    mode = mode_of(next((lower[label] for label in modes if lower.get(label)), meaning.mode))
    parts = [label for label in PARTS if lower.get(label)]
    host_label = (asked.host_label or "").lower()
    hosts = [host_label] if host_label else [label for label in HOSTS if lower.get(label)]
    host = next((lower[label] for label in hosts if lower.get(label)), name.host)
    if parts and not host_label:
        host = "/".join(lower[label] for label in parts)
    if meaning.kind == "idle":
        mode = mode or "idle"
    mode = "" if mode == "busy" else mode
    if mode and meaning.kind == "unknown":
        meaning = replace(meaning, kind="idle" if mode == "idle" else "mode")
    unit = _unit(table, asked, column, meaning.unit)
    pod = name.pod and not hosts and unit in ("", "cores")
    if parts or meaning.part or pod:
        kind = "cores" if meaning.kind == "unknown" and "cores" in column.unit else meaning.kind
        meaning = replace(meaning, part=True, kind=kind)
    known = {*HOSTS, *PARTS, *modes, host_label, "cpu"}
    if cpu_of(lower):
        known |= set(_OF_CPUS)
    unknown = {label: value for label, value in lower.items() if label not in known}
    return Series(
        column,
        replace(name, meaning=meaning),
        host,
        cpu_of(lower),
        mode,
        unit,
        unknown,
    )


def _unit(table: Table, asked: Asked, column: Column, said: str) -> str:
    """Return the unit that a column says, or that an option says of it; empty where none does."""
    if len(column.unit) > 1 or (column.unit and column.bare):
        marks = "values with and without %" if "percent" in column.unit else "250m beside others"
        _refuse(table, column, marks, "one unit a column")
    signs = next(iter(column.unit), "")
    if signs and said and signs != said and not (signs == "cores" and said == "seconds"):
        _refuse(table, column, f"values in {signs} under a name in {said}", "one unit a column")
    number = re.search(r"\d+", column.place.split(" (")[0])
    single = asked.units.get(number[0], "") if number is not None else ""
    return single or signs or said or asked.unit


def _check_labels(table: Table, asked: Asked, columns: Sequence[tuple[Column, Name]]) -> None:
    for option, label in (("--host-label", asked.host_label), ("--mode-label", asked.mode_label)):
        if label is None:
            continue
        found = {
            word.lower() for column, name in columns for word in (*column.labels, *name.labels)
        }
        if label.lower() not in found:
            shown = ", ".join(sorted(found)) or "no labels"
            raise InputError(
                f"{option}: found no label {label!r} in {table.file}, expected one of its own: "
                f"{one_line(shown):.100}"
            )


def _check_one_each(table: Table, series: Sequence[Series]) -> None:
    """Refuse labels that tell series of one host apart and that nobody knows: hosts would merge.

    Raises
    ------
    InputError
        As `interpret`.
    """
    hosts: dict[str, list[Series]] = defaultdict(list)
    for one in series:
        hosts[one.host].append(one)
    for of_host in hosts.values():
        for label in dict.fromkeys(label for one in of_host for label in one.unknown):
            values = list(dict.fromkeys(one.unknown.get(label, "") for one in of_host))
            if len(values) > 1:
                shown = ", ".join(values)
                _refuse(table, of_host[0].column,
                        f"the label {label}, which differs between series ({shown})",
                        f"to know what it tells apart: --host-label {label} or --mode-label "
                        f"{label}, or an export without it")  # fmt: skip
        seen: dict[tuple[str, str, bool], Series] = {}
        for one in of_host:
            key = one.cpu, one.mode, bool(one.mode)
            if key in seen:
                _refuse(table, one.column,
                        f"the same host, CPU and mode as {seen[key].column.place}",
                        "labels that tell them apart (--host-label says which one is the host)",
                )  # fmt: skip
            seen[key] = one


def _refuse(table: Table, column: Column, found: str, expected: str) -> NoReturn:
    where = f"{one_line(table.file)}, {one_line(column.place)}"
    raise InputError(f"{where}: found {one_line(found):.160}, expected {expected}")
