"""What a file of rows says of itself, and the tables that it is held against.

On disk tables have names, as companies and TorchRec's checkpoints call them, since numbers mean
nothing to whoever did not write the file. The header is JSON in the Parquet file's own metadata, so
that a quiet interval, without a row, still says when it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lorabench.errors import InputError
from lorabench.model.tables import TableLayout
from lorabench.updates.delta import Version

FORMAT: Final = "lorabench.delta/1"
KEY = "lorabench.delta"
"""Key of the header among a Parquet file's metadata."""


def feature_names(tables: int) -> tuple[str, ...]:
    """Return C1, C2, ...: what a workload's tables are called after their features."""
    return tuple(f"C{number}" for number in range(1, tables + 1))


@dataclass(frozen=True)
class NamedTables:
    """Tables, and what they are called on disk.

    Parameters
    ----------
    layout : TableLayout
        Of the F tables.
    names : tuple of str, length F
        Each once; by default those of the workload's features.

    Raises
    ------
    InputError
        There are more or fewer names than tables, or one name is there twice.
    """

    layout: TableLayout
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.layout.rows)
        object.__setattr__(self, "names", self.names or feature_names(count))
        if len(self.names) != count:
            raise InputError(f"found {len(self.names)} names of tables, expected {count}")
        if (twice := _twice(self.names)) is not None:
            raise InputError(f"found the table name {twice!r:.60} twice, expected each once")

    @property
    def numbers(self) -> Mapping[str, int]:
        """Each table's number by its name."""
        return {name: number for number, name in enumerate(self.names)}


class TableHeader(BaseModel):
    """A table that rows of a file may be of.

    Parameters
    ----------
    name : str
    rows : int
        V, above 0.
    dim : int
        D, above 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    rows: Annotated[int, Field(gt=0)]
    dim: Annotated[int, Field(gt=0)]


class Header(BaseModel):
    """What a file says of itself.

    Parameters
    ----------
    format : str
        Of the file.
    step : int
        Samples that had been learned from.
    time_s : float
        When the rows were taken, in the stream's own time.
    tables : tuple of TableHeader
        Those that its rows are of; others may exist.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["lorabench.delta/1"]
    step: Annotated[int, Field(ge=0, lt=2**63)]
    time_s: Annotated[float, Field(allow_inf_nan=False)]
    tables: tuple[TableHeader, ...]

    @property
    def version(self) -> Version:
        """Which state of training its rows are of."""
        return Version(self.step, self.time_s)

    @classmethod
    def of(cls, tables: NamedTables, step: int, time_s: float) -> "Header":
        """Return the header of a file that may have rows of all tables."""
        layout = tables.layout
        headers = (
            TableHeader(name=name, rows=rows, dim=layout.dim)
            for name, rows in zip(tables.names, layout.rows, strict=True)
        )
        return cls(format=FORMAT, step=step, time_s=time_s, tables=tuple(headers))


def parse_header(path: Path, metadata: Mapping[bytes, bytes] | None, tables: NamedTables) -> Header:
    """Read a file's header and hold it against the tables that are served.

    Parameters
    ----------
    path : Path
        Of the file, for messages.
    metadata : mapping of bytes to bytes, or None
        The Parquet file's.
    tables : NamedTables
        Those that are served.

    Raises
    ------
    InputError
        There is none, it does not validate, or a table is unknown, of another shape or there twice.
    """
    text = (metadata or {}).get(KEY.encode())
    if text is None:
        raise InputError(
            f"{path}: found no {KEY} in its metadata, expected a delta of {FORMAT} "
            "(docs/freshness.md)"
        )
    try:
        header = Header.model_validate_json(text)
    except ValidationError as error:
        raise InputError(f"{path}: {KEY}: {_first(error.errors(include_url=False))}") from None
    if (twice := _twice([table.name for table in header.tables])) is not None:
        raise InputError(
            f"{path}: {KEY}: found the table name {twice!r:.60} twice, expected each once"
        )
    for table in header.tables:
        _check_table(path, table, tables)
    return header


def _check_table(path: Path, found: TableHeader, tables: NamedTables) -> None:
    number = tables.numbers.get(found.name)
    if number is None:
        known = ", ".join(tables.names)
        raise InputError(
            f"{path}: {KEY}: found the table {found.name!r:.60}, expected one of {known:.200}"
        )
    rows, dim = tables.layout.rows[number], tables.layout.dim
    if (found.rows, found.dim) != (rows, dim):
        raise InputError(
            f"{path}: {KEY}: table {found.name}: found {found.rows} rows of dim {found.dim}, "
            f"expected {rows} of dim {dim}, as served"
        )


def _twice(names: Sequence[str]) -> str | None:
    """Return the first name that has been there before."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _first(errors: Sequence[Any]) -> str:
    """Put the first thing that is wrong into words."""
    first = errors[0]
    place = ".".join(map(str, first["loc"])) or "document"
    if first["type"] in ("missing", "json_invalid"):
        return f"{place}: {first['msg']}; expected a header of {FORMAT}"
    return f"{place}: found {first['input']!r:.60}: {first['msg']}"
