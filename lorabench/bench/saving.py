"""Where a result goes, and where else when its disk is full by the time that the run ends.

A run may take hours, and its result is small. Room is looked for before it begins; if it is gone at
the end, the document is written without what goes beside it, and whole to the user's own state
folder (XDG Base Directory Specification). What was done instead is said, and is no success.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lorabench.bench.command import Command
from lorabench.bench.experiment import Findings
from lorabench.errors import InputError
from lorabench.report.pyperf import write_suite
from lorabench.results import files, schema

DOCUMENT_BYTES = 32 << 10
"""What the smallest document takes, of which most describes the machine."""


@dataclass(frozen=True)
class Saved:
    """A result as it was kept.

    Parameters
    ----------
    result : schema.Result
        As it was written, or was to be.
    where : Path or None
        The document that has the most of it; None where nothing could be written, or was to be.
    lost : str
        What could not be written and what was done instead, a line; empty where all is well.
    """

    result: schema.Result
    where: Path | None
    lost: str = ""


def beside(command: Command, path: Path) -> Iterator[Path]:
    """Return the files that lie beside a command's document."""
    if command.beside:
        yield path.with_suffix(command.beside)


def state_folder() -> Path:
    """Return where results go that cannot be written where they were to: ``$XDG_STATE_HOME``.

    Raises
    ------
    InputError
        Nobody knows where this user's home is.
    """
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    try:
        # One that is not absolute is to be ignored.
        state = base if base.is_absolute() else Path.home() / ".local" / "state"
        return state / "lorabench"
    except RuntimeError:
        raise InputError(
            "XDG_STATE_HOME: found neither it nor a home, expected a folder to write to"
        ) from None


def save(command: Command, result: schema.Result, found: Findings, path: Path | None) -> Saved:
    """Write a result whole, or as much of it as can be, or elsewhere.

    Parameters
    ----------
    command : Command
        Whose it is.
    result : schema.Result
        The document.
    found : Findings
        What goes beside it.
    path : Path or None
        Where to; None for nowhere.
    """
    if path is None:
        return Saved(result, None)
    try:
        return Saved(_written(command, result, found, path), path)
    except InputError as error:
        return _rescued(command, result, found, path, str(error))


def _written(command: Command, result: schema.Result, found: Findings, path: Path) -> schema.Result:
    """Write what lies beside, then the document that may name it; return that document."""
    made = []
    folder = path.with_suffix(command.logs)
    try:
        for other in beside(command, path):
            if command.beside == ".npz":
                raw = schema.RawFile(name=other.name, sha256=files.write_raw(other, found.raw))
                result = result.model_copy(update={"raw": raw})
            else:
                write_suite(result, other)
            made.append(other)
        if found.logs:
            logs = schema.LogFolder(name=folder.name, sha256=files.write_folder(folder, found.logs))
            result = result.model_copy(update={"logs": logs})
        elif command.logs:
            files.remove_logs(folder)  # they would be those of another result
        files.write_result(result, path)
    except InputError:
        # No document names them, and they take the room that it needs.
        for other in made:
            other.unlink(missing_ok=True)
        raise
    return result


def _rescued(
    command: Command, result: schema.Result, found: Findings, path: Path, why: str
) -> Saved:
    """Keep what can be kept of a result, and say what.

    The document stays where it was asked for, if only its raw samples are too large for that.
    """
    names = _beside_names(command, found)
    said, where = [why], None
    spare = _spare(command, result)
    if spare is not None and (whole := _tried(command, result, found, spare)) is not None:
        result, where = whole, spare
        said.append(f"all of it is in {spare}")
    bare = _without(result, names, why)
    for place in (path, spare):
        if place is None or (place == spare and where is not None) or not names:
            continue
        if _tried(None, bare, found, place) is None:
            continue
        said.append(f"{place} has it without {names}")
        if where is None:
            result, where = bare, place
        break
    if where is None:
        said.append("what was printed is all there is of it")
    return Saved(result, where, "; ".join(said))


def _spare(command: Command, result: schema.Result) -> Path | None:
    try:
        return state_folder() / f"{command.name}-{result.id}.json"
    except InputError:
        return None


def _tried(
    command: Command | None, result: schema.Result, found: Findings, path: Path
) -> schema.Result | None:
    """Write a result, without a command the document alone; None where that cannot be."""
    try:
        if command is not None:
            return _written(command, result, found, path)
        files.write_result(result, path)
    except InputError:
        return None
    return result


def _beside_names(command: Command, found: Findings) -> str:
    """Say what goes beside a command's document; nothing where it stands alone."""
    samples = "its raw samples" if command.beside == ".npz" else "its pyperf suite"
    named = [samples] * bool(command.beside) + ["its logs"] * bool(found.logs)
    return " and ".join(named)


def _without(result: schema.Result, names: str, why: str) -> schema.Result:
    """Return a document alone, which says so."""
    lack = schema.Unavailable(
        what=names, why=why, enable="write to a disk that has room for them (-o)"
    )
    told = [*result.unavailable, lack]
    return result.model_copy(update={"raw": None, "logs": None, "unavailable": told})
