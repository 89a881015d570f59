"""Writing a generated workload to a folder, so that a killed run can go on."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import psutil

from lorabench.errors import InputError
from lorabench.workload.block import Block
from lorabench.workload.ceiling import CeilingCounts
from lorabench.workload.generator import CHUNK_ROWS, Generator
from lorabench.workload.manifest import Format, Manifest, part_name
from lorabench.workload.parts import Unfinished
from lorabench.workload.spec import WorkloadSpec
from lorabench.workload.store import check_format, row_bytes, write_rows

PART_ROWS = 16 * CHUNK_ROWS
"""Rows of a part: some 170 MB in Arrow, a few seconds' work to do again."""

# Of what a seed draws and how it is stored. A run that was left unfinished by another version is
# not gone on with.
_VERSION = 3


class Progress(Protocol):
    """Told how many rows are done."""

    def start_at(self, rows: int) -> None:
        """Tell that an earlier run made so many."""

    def done(self, rows: int) -> None:
        """Tell that so many rows are done, those of an earlier run included."""


@dataclass(frozen=True)
class Room:
    """What a workload takes, and what there is.

    Parameters
    ----------
    place : Path
        Whose disk it is written to.
    needed_bytes : int
        On disk, at most.
    free_bytes : int
        There, with what an unfinished run has already written.
    memory_bytes : int
        Of this machine.
    """

    place: Path
    needed_bytes: int
    free_bytes: int
    memory_bytes: int

    def check(self) -> None:
        """Refuse what the disk has no room for.

        Raises
        ------
        InputError
            Naming both numbers.
        """
        if self.needed_bytes > self.free_bytes:
            raise InputError(
                f"{self.place}: found {self.free_bytes:,} bytes free, expected at least "
                f"{self.needed_bytes:,} for the workload; fewer --rows or a smaller --scale would "
                "fit"
            )


def needed_room(folder: Path, spec: WorkloadSpec, form: Format) -> Room:
    """Return what a workload will take in a folder."""
    place = folder.absolute().parent
    written = sum(entry.stat().st_size for entry in folder.glob("part-*"))
    return Room(
        place,
        spec.rows * row_bytes(spec, form),
        shutil.disk_usage(place).free + written,
        psutil.virtual_memory().total,
    )


def usable_threads(jobs: int | None) -> int:
    """Return how many threads to use: `jobs`, or one for each CPU that this process may use."""
    return len(os.sched_getaffinity(0)) if jobs is None else jobs


def write_generated(
    folder: Path,
    spec: WorkloadSpec,
    seed: int,
    *,
    form: Format = "arrow",
    part_rows: int = PART_ROWS,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Manifest:
    """Generate a workload into a folder.

    Parameters
    ----------
    folder : Path
        Where to: new, empty, or what a killed run of the same call left, which is gone on with.
    spec : WorkloadSpec
        What to generate.
    seed : int
        At least 0.
    form : {"arrow", "parquet", "criteo-tsv"}
        Of the parts.
    part_rows : int
        Rows of each part but the last.
    jobs : int
        Threads that draw; no influence on the bytes.
    progress : Progress, optional
        Told how many rows are done.

    Raises
    ------
    InputError
        The folder is taken, cannot be written to or is full, or the format cannot hold the rows.
    """
    check_format(spec, form)
    run = {
        "command": "generate",
        "version": _VERSION,
        "spec": spec.model_dump(mode="json", exclude={"description"}),
        "seed": seed,
        "format": form,
        "part_rows": part_rows,
    }
    with Unfinished(folder, run) as unfinished:
        if progress is not None:
            progress.start_at(sum(done.part.rows for done in unfinished.done))
        rows = _GeneratedRows(Generator(spec, seed), part_rows, jobs, progress)
        counts = _write_parts(unfinished, rows, spec, form)
        manifest = Manifest(
            kind="generated",
            origin=f"generated from {spec.name}, seed {seed}",
            format=form,
            seed=seed,
            rows=spec.rows,
            ceiling=counts.ceiling(),
            parts=tuple(done.part for done in unfinished.done),
            spec=spec,
        )
        unfinished.finish(manifest.as_text())
    return manifest


def _write_parts(
    unfinished: Unfinished, rows: "_GeneratedRows", spec: WorkloadSpec, form: Format
) -> CeilingCounts:
    """Write all further parts, and count what the ceiling of all is made of."""
    total = CeilingCounts()
    for done in unfinished.done:
        total.merge(CeilingCounts.unpack(done.note))
    for number in range(len(unfinished.done), -(-spec.rows // rows.part_rows)):
        start = number * rows.part_rows
        part = _PartRows(rows, start, min(start + rows.part_rows, spec.rows))
        unfinished.part(
            part_name(number, form),
            partial(write_rows, blocks=part.blocks(), spec=spec, form=form),
            part.note,
        )
        total.merge(part.counts)
    return total


@dataclass(frozen=True)
class _GeneratedRows:
    """Where the rows of all parts come from."""

    generator: Generator
    part_rows: int
    jobs: int
    progress: Progress | None


@dataclass
class _PartRows:
    """The rows of a part, counted as they are drawn."""

    rows: _GeneratedRows
    start: int
    stop: int
    counts: CeilingCounts = field(default_factory=CeilingCounts)

    def blocks(self) -> Iterator[Block]:
        done = self.start
        for drawn in self.rows.generator.chunks(self.start, self.stop, self.rows.jobs):
            self.counts.add(drawn.logit, drawn.block.label)
            yield drawn.block
            done += len(drawn.block)
            if self.rows.progress is not None:
                self.rows.progress.done(done)

    def note(self, _side: Path) -> str:
        return self.counts.pack()
