"""``workload.json``: what a folder's rows are, how they came about and which bytes they are."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lorabench.errors import InputError
from lorabench.workload.ceiling import Ceiling
from lorabench.workload.parts import JOURNAL, MANIFEST, Part
from lorabench.workload.spec import WorkloadSpec

Provenance = Literal["generated", "ingested"]
Format = Literal["arrow", "parquet", "criteo-tsv"]
SchemaId = Literal["lorabench.workload/2", "lorabench.workload/3"]
SCHEMA: SchemaId = "lorabench.workload/3"
"""Of what is written. In folders of ``/2``, which are still read, dense columns are int32."""

SUFFIXES: dict[Format, str] = {"arrow": "arrow", "parquet": "parquet", "criteo-tsv": "tsv"}


class Manifest(BaseModel):
    """What ``workload.json`` says.

    Parameters
    ----------
    schema_id : str
        Version of this document; its key in the file is ``schema``.
    kind : {"generated", "ingested"}
        How the rows came about.
    origin : str
        The same in words.
    format : {"arrow", "parquet", "criteo-tsv"}
        Of the parts.
    seed : int or None
        Seed of generated rows.
    rows : int
        Number of rows.
    skipped : int
        Bad lines that were left out.
    synthetic : bool
        Of ingested rows: what wrote them says that they were generated.
    labelled : bool
        Of ingested rows: they have labels; where not, those of the parts are all 0.
    notes : tuple of str
        Of rows that were taken in: what they were recognised as, what was left out, what was done
        to values, and how often.
    ceiling : Ceiling or None
        Of generated rows: what a model that knows the truth reaches.
    parts : tuple of Part
        The files, in order.
    spec : WorkloadSpec
        The spec.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_id: Annotated[
        SchemaId, Field(validation_alias="schema", serialization_alias="schema")
    ] = SCHEMA
    kind: Provenance
    origin: str
    format: Format
    seed: int | None
    rows: Annotated[int, Field(gt=0)]
    skipped: Annotated[int, Field(ge=0)] = 0
    synthetic: Annotated[bool, Field(exclude_if=lambda value: value is False)] = False
    labelled: Annotated[bool, Field(exclude_if=lambda value: value is True)] = True
    notes: Annotated[tuple[str, ...], Field(exclude_if=lambda value: not value)] = ()
    ceiling: Ceiling | None = None
    parts: Annotated[tuple[Part, ...], Field(min_length=1)]
    spec: WorkloadSpec

    @property
    def generated(self) -> bool:
        """Whether the rows were generated, and by whichever way they came here."""
        return self.kind == "generated" or self.synthetic

    def as_text(self) -> str:
        """Serialise, for the file."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"


def part_name(number: int, form: Format) -> str:
    """Name of a part file; parts are numbered from 0."""
    return f"part-{number:05d}.{SUFFIXES[form]}"


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a folder.

    Raises
    ------
    InputError
        There is none, or it does not validate.
    """
    path = folder / MANIFEST
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        found = "an unfinished workload" if (folder / JOURNAL).is_dir() else f"no {MANIFEST}"
        raise InputError(
            f"{folder}: found {found}, expected a folder written by lorabench generate or ingest"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected a workload's manifest") from error
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "document"
        raise InputError(
            f"{path}: {key}: {first['msg']}; expected a manifest of {SCHEMA}"
        ) from None


def is_workload(path: Path) -> bool:
    """Whether a path is a folder with a workload in it, finished or not."""
    return (path / MANIFEST).exists() or (path / JOURNAL).is_dir()


def manifest_beside(path: Path) -> Manifest | None:
    """Return the manifest of the workload that a file is a part of; None where it is of none."""
    try:
        manifest = read_manifest(path.parent)
        size = path.stat().st_size
    except (InputError, OSError):
        return None
    known = any((part.name, part.size_bytes) == (path.name, size) for part in manifest.parts)
    return manifest if known else None


def is_synthetic(path: Path) -> bool:
    """Whether the workload that a file is a part of was generated; of other files it is unknown."""
    manifest = manifest_beside(path)
    return manifest is not None and manifest.generated
