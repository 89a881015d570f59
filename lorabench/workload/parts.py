"""Writing a workload part by part, so that a killed run goes on where it was.

A workload is a folder of part files; ``workload.json``, written last, makes them one. Until then
the folder holds ``.unfinished``, the journal: what is being made (``run.json``), and for each
finished part a note with its checksum and whatever its maker must know to go on behind it, in a
file beside the note where that is large. A part gets its name once it is whole, and its note after
that. Whoever runs the same command again takes up the parts whose checksums still hold, and those
of their notes and of what stands beside these, and makes the others; what makes the parts draws or
reads the same rows again, so the result is the same to the byte.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel, ConfigDict, Field

from lorabench.errors import InputError

MANIFEST = "workload.json"
JOURNAL = ".unfinished"
SORTED = "sorted-"
"""What the names of sorted runs begin with, in the journal (`lorabench.workload.sorting`)."""

_RUN = "run.json"


class Part(BaseModel):
    """One file of a workload.

    Parameters
    ----------
    name : str
        The file's, in the workload's folder.
    rows : int
        Rows in it.
    size_bytes : int
        Its size.
    sha256 : str
        Its SHA-256 (hex).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9-]+\.[a-z]+$")
    rows: int = Field(gt=0)
    size_bytes: int = Field(gt=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


@dataclass(frozen=True)
class Done:
    """A finished part, and what its maker noted."""

    part: Part
    note: Any


class Unfinished:
    """A workload that is being written; a context manager.

    On an error, finished parts stay for the next run, and so does what was sorted for them; if
    there is neither, nothing stays.

    Parameters
    ----------
    folder : Path
        Where to; it may not exist yet, be empty, or hold what a killed run left.
    run : dict
        What is being made, as JSON: a folder left by a run of something else is refused.

    Attributes
    ----------
    done : list of Done
        Parts that are finished, in order.

    Raises
    ------
    InputError
        The folder is taken, or cannot be written to.
    """

    def __init__(self, folder: Path, run: dict[str, Any]) -> None:
        check_target(folder)
        self._folder = folder
        self._journal = folder / JOURNAL
        self._run = run
        self._lock: IO[str] | None = None
        self._mine = self._made = False
        self.done: list[Done] = []

    def __enter__(self) -> "Unfinished":
        try:
            self._made = not self._folder.exists()
            self._folder.mkdir(exist_ok=True)
            self._journal.mkdir(exist_ok=True)
            self._lock = (self._journal / "lock").open("w")
            self._take()
            self._resume()
            self._mine = True
        except OSError as error:
            self._leave()
            raise self._unwritable(error) from error
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._leave()

    def part(self, name: str, write: Callable[[Path], int], note: Callable[[Path], Any]) -> None:
        """Make the next part.

        Parameters
        ----------
        name : str
            File name.
        write : callable
            Writes the file at a path and returns its rows.
        note : callable
            Asked after the rows are written: what is needed to go on behind them, as JSON. What is
            too large for it may be written to the file whose path it gets, and is found again at
            `side`.

        Raises
        ------
        InputError
            The disk is full, or cannot be written to.
        """
        number = len(self.done)
        half = self._journal / f"{name}.half"
        side = half_of(self.side(number))
        try:
            rows = write(half)
            part = Part(name=name, rows=rows, size_bytes=half.stat().st_size, sha256=checksum(half))
            settle(half, self._folder / name)
            done = Done(part, note(side))
            write_json(self._note(number), _sealed(done, self._keep_side(number)))
        except OSError as error:
            half.unlink(missing_ok=True)
            side.unlink(missing_ok=True)
            raise self._unwritable(error) from error
        self.done.append(done)

    @contextmanager
    def beside(self) -> Iterator[Path]:
        """Give the journal, for what is written on the way to the parts and goes with it.

        Raises
        ------
        InputError
            The disk is full, or cannot be written to.
        """
        try:
            yield self._journal
        except OSError as error:
            raise self._unwritable(error) from error

    def side(self, number: int) -> Path:
        """Path of what was written beside the note of a part."""
        return self._journal / f"{number:05d}.npz"

    def _note(self, number: int) -> Path:
        return self._journal / f"{number:05d}.json"

    def _keep_side(self, number: int) -> str | None:
        """Give what a part's maker wrote beside the note its name; return its checksum, if any."""
        half = half_of(self.side(number))
        if not half.exists():
            return None
        digest = checksum(half)
        settle(half, self.side(number))
        return digest

    def finish(self, manifest: str) -> None:
        """Write the manifest, with which the parts become a workload."""
        try:
            half = self._journal / MANIFEST
            half.write_text(manifest, encoding="utf-8")
            settle(half, self._folder / MANIFEST)
            shutil.rmtree(self._journal)
        except OSError as error:
            raise self._unwritable(error) from error

    def _take(self) -> None:
        assert self._lock is not None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"{self._folder}: found another run writing to it, expected none"
            ) from None

    def _resume(self) -> None:
        path = self._journal / _RUN
        if not path.exists():
            write_json(path, self._run)
            return
        try:
            before = json.loads(path.read_bytes())
        except ValueError:
            before = None
        wanted = json.loads(json.dumps(self._run))
        if before != wanted:
            differing = _difference(before, wanted)
            raise InputError(
                f"{self._folder}: found an unfinished workload made otherwise ({differing}), "
                "expected the same command again, or another folder"
            )
        # A crash of the machine may lose what was written last, and a disk what it has: where
        # anything does not hold, the part is made anew, and so are all behind it.
        while (done := self._taken_up(len(self.done))) is not None:
            self.done.append(done)
        for later in self._journal.glob("[0-9]*"):
            if int(later.name.split(".")[0]) >= len(self.done):
                later.unlink()

    def _taken_up(self, number: int) -> Done | None:
        """Return a part as it was finished; None where it was not, or is no longer so."""
        try:
            done, side = _unsealed(self._note(number).read_bytes())
            check_part(self._folder, done.part)
            if side is not None and checksum(self.side(number)) != side:
                return None
        except (ValueError, KeyError, FileNotFoundError, InputError):
            return None
        return done

    def _leave(self) -> None:
        if self._lock is None:
            return
        kept = self.done or any(self._journal.glob(f"{SORTED}*.json"))
        if self._mine and not kept and not self._others():
            shutil.rmtree(self._journal, ignore_errors=True)
            if self._made:
                self._folder.rmdir()
        self._lock.close()
        self._lock = None

    def _others(self) -> bool:
        """Whether there is anything in the folder but an empty journal."""
        return any(entry.name != JOURNAL for entry in self._folder.iterdir())

    def _unwritable(self, error: OSError) -> InputError:
        kept = f"; {len(self.done)} finished parts are kept: run it again to go on"
        return InputError(
            f"{self._folder}: {error.strerror or error}; expected a writable folder with room"
            f"{kept if self.done else ''}"
        )


def check_target(folder: Path) -> None:
    """Make sure that a workload can be written to `folder`, before any work is put into it.

    Raises
    ------
    InputError
        It holds anything but what a killed run left, or its parent is no folder.
    """
    try:
        if folder.is_dir():
            journal = folder / JOURNAL
            if journal.is_dir() and (folder / MANIFEST).exists():
                shutil.rmtree(journal)  # killed after its last step but one
            if (folder / MANIFEST).exists():
                raise InputError(
                    f"{folder}: found a finished workload, expected no such folder or an empty one"
                )
            if any(folder.iterdir()) and not journal.is_dir():
                raise InputError(f"{folder}: found a folder with content, expected none or empty")
        elif folder.exists() or folder.is_symlink():
            raise InputError(f"{folder}: found a file, expected no such path or an empty folder")
        elif not folder.absolute().parent.is_dir():
            raise InputError(f"{folder}: found no folder {folder.parent}, expected one to write to")
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; expected a writable folder") from error


def check_part(folder: Path, part: Part) -> None:
    """Hold a part's bytes against its checksum.

    Raises
    ------
    InputError
        The file is missing, has another size, or other bytes.
    """
    path = folder / part.name
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != part.size_bytes:
                raise InputError(
                    f"{path}: found {size} bytes, expected {part.size_bytes} by {MANIFEST}: "
                    "truncated or replaced"
                )
            if hashlib.file_digest(file, "sha256").hexdigest() != part.sha256:
                raise InputError(
                    f"{path}: found other bytes than those of its checksum in {MANIFEST}, "
                    "expected the part as it was written"
                )
    except FileNotFoundError:
        raise InputError(f"{path}: found no such part, expected it by {MANIFEST}") from None
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror or error}; expected a part of a workload"
        ) from error


def _difference(before: object, wanted: dict[str, Any]) -> str:
    if not isinstance(before, dict):
        return "its journal is damaged"
    keys = [key for key in {**before, **wanted} if before.get(key) != wanted.get(key)]
    return "another " + ", ".join(keys)


def _sealed(done: Done, side: str | None) -> dict[str, Any]:
    """Return a part's note as the journal keeps it.

    Parameters
    ----------
    done : Done
        The part.
    side : str, optional
        SHA-256 (hex) of what stands beside the note, if anything does.
    """
    content = {"part": done.part.model_dump(mode="json"), "note": done.note, "side": side}
    return {**content, "sha256": _text_checksum(content)}


def _unsealed(text: bytes) -> tuple[Done, str | None]:
    """Read what `_sealed` gave.

    Raises
    ------
    ValueError, KeyError
        It is not as it was written.
    """
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("found no object")
    if content.pop("sha256") != _text_checksum(content):
        raise ValueError("found another text than that of its checksum")
    return Done(Part.model_validate(content["part"]), content["note"]), content["side"]


def _text_checksum(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def checksum(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def half_of(path: Path) -> Path:
    """Return what a file of the journal is called while it is written."""
    return path.with_suffix(f"{path.suffix}.half")


def write_json(path: Path, content: object) -> None:
    """Write JSON to a file of the journal: all of it, or nothing."""
    half = half_of(path)
    half.write_text(json.dumps(content), encoding="utf-8")
    settle(half, path)


def settle(half: Path, whole: Path) -> None:
    """Give a file its name once it is on the disk and not only in memory."""
    with half.open("rb") as file:
        os.fsync(file.fileno())
    half.rename(whole)
