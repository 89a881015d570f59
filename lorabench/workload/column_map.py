"""The column map: which columns of a table of rows are what, from TOML.

It says all that a table's own names and types do not: which column is the label and which of its
values are clicks, what a time's numbers mean, which texts stand for a missing value. Rows are read
by it in `lorabench.workload.columns`; a first one is written by `lorabench.workload.suggest`.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from lorabench.errors import InputError
from lorabench.workload.features import Transform
from lorabench.workload.labels import label_rule

TimeUnit = Literal["s", "ms", "us", "ns"]

MISSING_MARKS = (
    *("NaN", "nan", "-NaN", "-nan", "NULL", "null", "None", r"\N", "<NA>", "NA", "N/A", "n/a"),
    *("#N/A", "#N/A N/A", "#NA", "NaT", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
)
r"""Texts that stand for a missing value: those of pandas (``read_csv``'s ``na_values``) and Hive.

Hive writes ``\N``, pandas ``NaN`` or nothing, Spark ``null``, databases ``NULL``.
"""

Name = Annotated[str, Field(strict=True, min_length=1)]
Values = tuple[Annotated[str | int | float | bool, Field(union_mode="left_to_right")], ...]


class ColumnMap(BaseModel):
    r"""Which columns are what.

    Parameters
    ----------
    label : str, optional
        0 and 1, or false and true; any other with `positive`. Only rows that have none do without.
    labelled : bool
        The rows have labels; where not, they can be served, and nothing learned or judged.
    positive : str or tuple, optional
        Which labels are clicks: ``">= 4"``, ``"== 'yes'"`` or a list of values.
    time : str, optional
        Timestamps, ISO 8601 texts, texts of `time_format`, or numbers of `time_unit`. Without it
        rows are spaced evenly.
    time_unit : {"s", "ms", "us", "ns"}, optional
        Of times that are numbers; s by default.
    time_format : str, optional
        As of ``strptime``: ``"%y%m%d%H"`` reads 14102100 as 2014-10-21 00:00. UTC, unless a zone
        is part of it.
    time_origin : {"epoch", "start"}
        What numbers count from: 1970, or anything else, the recording's start as a rule. Only then
        may times lie outside 1990 to 2100.
    dense : tuple of str
        Numbers.
    transform : {"log1p", "identity", "standardise"} or dict of str to one, optional
        How numbers become inputs of the model: of all, or column by column. By default log1p,
        which suits counts: log(1 + x), 0 below 0.
    sparse : tuple of str
        Ids of any kind.
    ids : {"text", "hex"}
        How ids are told apart: by their text, or as raw Criteo lines have them, by the number that
        1 to 8 hexadecimal digits are.
    missing : tuple of str
        Texts that stand for a missing value; nothing and NaN always do.
    delimiter : str, optional
        Of CSV files; recognised by default.
    decimal : {".", ","}
        What stands before the decimals of dense numbers that are texts.
    header : tuple of str, optional
        Names of the columns of a CSV file whose first line is a row.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: Name | None = None
    labelled: bool = True
    positive: str | Values | None = None
    time: Name | None = None
    time_unit: TimeUnit | None = None
    time_format: Annotated[str, Field(strict=True, min_length=1)] | None = None
    time_origin: Literal["epoch", "start"] = "epoch"
    dense: tuple[Name, ...] = ()
    transform: Transform | dict[Name, Transform] | None = None
    sparse: Annotated[tuple[Name, ...], Field(min_length=1)]
    ids: Literal["text", "hex"] = "text"
    missing: tuple[str, ...] = MISSING_MARKS
    delimiter: Annotated[str, Field(strict=True, min_length=1, max_length=1)] | None = None
    decimal: Literal[".", ","] = "."
    header: Annotated[tuple[str, ...], Field(min_length=2)] | None = None

    @field_validator("positive")
    @classmethod
    def _is_a_rule(cls, value: str | Values | None) -> str | Values | None:
        try:
            label_rule(value)
        except ValueError as error:
            raise PydanticCustomError("no_rule", "{expected}", {"expected": str(error)}) from None
        return value

    @model_validator(mode="after")
    def _agrees(self) -> "ColumnMap":
        if self.labelled and self.label is None:
            raise _problem(
                "label: found none, expected the column of clicks; of rows that have no labels, "
                "labelled = false"
            )
        if not self.labelled and (self.label is not None or self.positive is not None):
            raise _problem("labelled: found false beside a label, expected one of them")
        for kind, names in (("dense", self.dense), ("sparse", self.sparse)):
            if self.label in names:
                raise _problem(
                    f"{kind}: found the label {self.label!r}, expected features that are known "
                    "before it"
                )
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise _problem(f"{kind}: found {twice!r} twice, expected each column once")
        if (
            self.time is None
            and {"time_unit", "time_format", "time_origin"} & self.model_fields_set
        ):
            raise _problem("time: found none, expected the column that its unit or format is of")
        if isinstance(self.transform, dict) and not set(self.transform) <= set(self.dense):
            other = next(name for name in self.transform if name not in self.dense)
            raise _problem(f"transform: found {other!r}, expected columns of dense")
        if self.time_format is not None and self.time_unit is not None:
            raise _problem("time_unit, time_format: found both, expected one of them")
        return self

    @property
    def names(self) -> list[str]:
        """All columns, each once."""
        others = (name for name in (self.label, self.time) if name is not None)
        return list(dict.fromkeys((*others, *self.dense, *self.sparse)))

    @property
    def transforms(self) -> tuple[Transform, ...] | None:
        """How each dense column becomes an input of the model; None where nothing was said."""
        if self.transform is None:
            return None
        if isinstance(self.transform, str):
            return (self.transform,) * len(self.dense)
        return tuple(self.transform.get(name, "log1p") for name in self.dense)

    def said_transform(self, name: str) -> Transform | None:
        """Return the transform that was asked for of a dense column."""
        return self.transform.get(name) if isinstance(self.transform, dict) else self.transform


def _problem(text: str) -> PydanticCustomError:
    return PydanticCustomError("disagrees", "{text}", {"text": text})


def load_columns(path: Path) -> ColumnMap:
    """Read a column map from a TOML file.

    Raises
    ------
    InputError
        An unreadable file, bad TOML, an unknown key or an impossible value.
    """
    try:
        document = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected a column map in TOML") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: {_line(error)}; expected a column map in TOML") from error
    try:
        return ColumnMap.model_validate(document)
    except ValidationError as error:
        raise InputError(f"{path}: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    """Put the first problem into words."""
    first: Any = error.errors()[0]
    if first["type"] == "disagrees":
        return str(first["msg"])
    key = ".".join(str(part) for part in first["loc"][:1])
    if first["type"] == "missing":
        return f"{key}: found nothing, expected the name of a column"
    known = ", ".join(ColumnMap.model_fields)
    expected = f"one of {known}" if first["type"] == "extra_forbidden" else first["msg"]
    return f"{key}: found {str(first['input'])[:60]!r}, expected {expected}"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
