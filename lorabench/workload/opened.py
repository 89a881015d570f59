"""What an opened source of rows is, whatever stands behind it, and what tells two apart."""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from lorabench.workload.block import Block
from lorabench.workload.planted import PlantedModel
from lorabench.workload.processed import ProcessedKind
from lorabench.workload.spec import WorkloadSpec

SourceKind = Literal["generated", "store", "criteo-tsv", "columns"] | ProcessedKind
Basis = Literal["measured-synthetic", "measured-real"]

HASHED_WHOLE_BYTES = 64 << 20
HASHED_HEAD_BYTES = 1 << 20


@dataclass(frozen=True)
class OpenedSource:
    """A `lorabench.workload.source.RowSource` whose rows come from a function of the start row."""

    spec: WorkloadSpec
    digest: str
    description: str
    kind: SourceKind
    basis: Basis
    read: Callable[[int], Iterator[Block]]
    known_rows: int | None = None
    truth: Callable[[], PlantedModel] | None = None
    labelled: bool = True
    notes: tuple[str, ...] = ()

    @property
    def counted(self) -> bool:
        """Whether the number of rows is known without reading them."""
        return self.known_rows is not None

    @cached_property
    def rows(self) -> int:
        """Number of rows."""
        if self.known_rows is not None:
            return self.known_rows
        return sum(len(block) for block in self.read(0))

    def blocks(self, start: int = 0) -> Iterator[Block]:
        """Blocks from row `start` on."""
        return self.read(start)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes; of a large file, of its size, mtime and first MiB.

    Hashing 11 GB before every run would cost more than the run. Above `HASHED_WHOLE_BYTES` a
    change that keeps size, modification time and head goes unseen.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if status.st_size <= HASHED_WHOLE_BYTES:
            return hashlib.file_digest(file, "sha256").hexdigest()
        head = hashlib.sha256(file.read(HASHED_HEAD_BYTES)).hexdigest()
    return digest_of(str(status.st_size), str(status.st_mtime_ns), head)


def digest_of(*parts: str) -> str:
    """SHA-256 of texts."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
