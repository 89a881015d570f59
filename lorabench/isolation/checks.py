"""A machine as ``lorabench doctor`` looks at it, and the conditions of ``colocate`` that it runs.

The evidence is put together as for a run (`lorabench.isolation.machine`), and the mechanisms decide
(`lorabench.isolation.mechanism`); the rows of the table are in `lorabench.host.checks`. A condition
that cannot be given is reported with the true reason and never simulated.
"""

from collections.abc import Iterable
from pathlib import Path

from lorabench.errors import InputError, MachineError
from lorabench.host.checks import Capability, Host, State
from lorabench.host.checks.probes import Probes
from lorabench.host.files import Files
from lorabench.host.missing import Missing
from lorabench.host.topology import read_topology
from lorabench.isolation.conditions import BUNDLES, Condition, parse_condition, resolve
from lorabench.isolation.machine import look_at, try_out
from lorabench.isolation.mechanism import MECHANISMS, PLACES
from lorabench.isolation.places import survey

# The area of what `conditions` returns.
CONDITIONS = "conditions"

_WHERE = {
    "naive": "wherever the OS puts the trainer",
    "pinned": "on cores of its own",
    "shared": "on the servers' cores",
}


def look(sysroot: Path = Path("/")) -> Host:
    """Take in a machine: its files, its topology and, where it is this one, what it lets us do.

    Parameters
    ----------
    sysroot : Path
        Where ``proc`` and ``sys`` lie; the root of a recorded tree, or of this machine.

    Raises
    ------
    InputError
        There is no machine under `sysroot`.
    """
    try:
        found = sorted(entry.name for entry in sysroot.iterdir())
    except OSError as error:
        raise InputError(
            f"{sysroot}: {error.strerror}; expected a folder with a machine's proc and sys"
        ) from None
    if not {"proc", "sys"} & set(found):
        raise InputError(f"{sysroot}: found no machine, expected the folders proc and sys in it")
    # So that the root can be taken out of what others say of paths below it.
    files = Files(sysroot.absolute())
    topology, why = None, ""
    try:
        topology = read_topology(files.root)
    except InputError as error:
        why = str(error)
    except OSError as error:
        why = f"it cannot be read ({error.strerror})"
    return Host(
        files,
        topology,
        why,
        probes=Probes.attempt() if files.here else None,
        tried=try_out() if files.here else None,
        groups=groups(files),
    )


def groups(files: Files) -> dict[str, str | Missing]:
    """Return where control groups can be made with each controller that is used, or why not."""
    offer = survey(files)
    return {
        controller: place
        if isinstance(place, Missing)
        else f"{files.as_named(str(place.folder))} (version {place.version})"
        for controller, place in (("cpuset", offer.cpuset), ("cpu", offer.cpu))
    }


def conditions(host: Host, table: Iterable[Capability]) -> tuple[Capability, ...]:
    """Return which conditions of ``lorabench colocate`` a machine can run, and why not.

    Parameters
    ----------
    host : Host
        The machine.
    table : iterable of Capability
        Its rows, from `lorabench.host.checks.run_checks`.

    Returns
    -------
    tuple of Capability
        A row each place and bundle; the evidence names the rows of `table` that it rests on.
        ``isolated`` takes what there is, so a machine that lacks mechanisms gives it restricted and
        says what is missing.
    """
    rows = {capability.name: capability for capability in table}
    cores = rows["cores"]
    if host.topology is None or cores.state == "unavailable":
        return tuple(_none(name, cores, cores.detail) for name in (*PLACES, *BUNDLES))
    try:
        missing = look_at(host.files, host.topology, host.tried or {}).missing
    except (InputError, MachineError) as error:
        why = host.files.as_named(str(error))
        return tuple(_none(name, cores, why) for name in (*PLACES, *BUNDLES))
    alone = rows["l3 domains"].state == "available"
    pinned = _WHERE["pinned"] + (", in an L3 domain of its own" if alone else ", sharing L3")
    return (
        _row("naive", "available", _WHERE["naive"], "cores"),
        _row("pinned", "available", pinned, "cores, l3 domains"),
        _shared(missing.get("idle")),
        *(_bundle(host, rows, parse_condition(name), dict(missing)) for name in BUNDLES),
    )


def missing(rows: Iterable[Capability]) -> tuple[Missing, ...]:
    """Pick what is unavailable, in the form of a result document's list."""
    return tuple(
        Missing(row.name, f"{row.detail} ({row.evidence})", row.enable)
        for row in rows
        if row.state == "unavailable"
    )


def _shared(idle: Missing | None) -> Capability:
    if idle is None:
        return _row("shared", "available", _WHERE["shared"], "cores, sched_idle")
    detail = f"{_WHERE['shared']}, but not as shared+idle: {idle.why}"
    return _row("shared", "restricted", detail, "sched_idle", idle.enable)


def _bundle(
    host: Host, rows: dict[str, Capability], wanted: Condition, missing: dict[str, Missing]
) -> Capability:
    fitted = resolve(wanted, missing)
    if not isinstance(fitted, Condition):
        (reason,) = fitted
        why, enable = host.files.as_named(reason.why), host.files.as_named(reason.enable)
        return _row(wanted.name, "unavailable", why, _evidence(rows, wanted.name), enable)
    lacking = [name for name in wanted.mechanisms if name not in fitted.mechanisms]
    if wanted.name == "isolated":
        if not lacking:
            return _row("isolated", "available", "with every mechanism", "cores")
        shown = ", ".join(lacking)
        evidence = ", ".join(filter(None, (_evidence(rows, name) for name in lacking)))
        detail = f"pinned and throttled, without {shown}"
        return _row("isolated", "restricted", detail, evidence, "make these available")
    names = _evidence(rows, wanted.name)
    return _row(
        wanted.name, "available", "; ".join(rows[name].detail for name in names.split(", ")), names
    )


def _evidence(rows: dict[str, Capability], mechanism: str) -> str:
    """Return the rows that a mechanism rests on: of those that can be had, else all."""
    (names,) = (known.rows for known in MECHANISMS if known.name == mechanism)
    return ", ".join([n for n in names if rows[n].state == "available"] or names)


def _none(name: str, cores: Capability, why: str) -> Capability:
    return _row(name, "unavailable", why, cores.name, cores.enable)


def _row(name: str, state: State, detail: str, evidence: str, enable: str = "") -> Capability:
    return Capability(
        name=name, state=state, evidence=evidence, enable=enable, detail=detail, area=CONDITIONS
    )
