"""The workload spec: everything that a generated stream and its model's shape depend on, from TOML.

A spec describes; it draws nothing (that is `lorabench.workload.generator`) and opens no data. What
it says of a feature may be one number for all features or a list with one for each, so that a file
stays as short as the workload is simple. The presets are the TOML files of the top-level
``workloads/`` folder, which the wheel carries as ``lorabench/workload/presets``.
"""

import hashlib
import json
import tomllib
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import (
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from lorabench.errors import InputError
from lorabench.workload.features import DenseSpec, Magnitude, Part, Rate, SparseSpec

Count = Annotated[int, Field(strict=True, gt=0)]
# With at least a row in 1,000 s and at most a century in all, every time fits int64 ns.
RowRate = Annotated[float, Field(strict=True, ge=1e-3, le=1e9)]
LONGEST_S = 100 * 365 * 86_400
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
MOST_FACTORS = 63
PerHour = Annotated[float, Field(strict=True, ge=0, le=1000)]


class LabelSpec(Part):
    """The planted click model (see `lorabench.workload.generator`).

    Parameters
    ----------
    base_rate : float
        Share of clicks in (0, 1) that the intercept is calibrated to.
    strength : float
        Standard deviation of the planted logit, in [0, 100]; 0 makes labels coin flips. About
        1.35 gives the best possible classifier an AUC of 0.80.
    rank : int
        Factors R of the pairwise interactions between features; 0 plants none.
    shares : tuple of float, length 3
        Of the logit's variance: of preferences, of the interactions, of the dense features. They
        sum to 1.
    delay_s : float
        From a row to its label, in s of workload time, as the attribution window of a click is.
    """

    base_rate: Annotated[float, Field(strict=True, gt=0, lt=1)]
    strength: Magnitude
    rank: Annotated[int, Field(strict=True, ge=0, le=MOST_FACTORS)]
    shares: tuple[Share, Share, Share] = (0.5, 0.3, 0.2)
    delay_s: Annotated[float, Field(strict=True, ge=0, le=LONGEST_S)] = 0.5

    @field_validator("shares")
    @classmethod
    def _sum_to_one(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if abs(sum(value) - 1) > 1e-6:
            raise PydanticCustomError(
                "no_whole", "three that sum to 1", {"found": f"a sum of {sum(value):g}"}
            )
        return value


class PhaseSpec(Part):
    """How fast the planted model drifts from a time on, until the next phase.

    All speeds are means an hour of workload time. A speed of 0 stops a drift where it stands.

    Parameters
    ----------
    start_s : float
        When it begins, in s of workload time.
    trades : float
        How often a popularity rank swaps places with one about twice as low.
    newcomers : float
        How often the holder of a hot rank fades and an id from the colder half takes its place.
    row_taste : float
        How often a row's preference and factors are drawn anew, each row at times of its own.
    shared_taste : float
        Quarter turns of the first `rank` directions, in each of which all rows move at once: after
        one, nothing of where they stood is left.
    rank : int
        Directions that the shared drift turns: the preference is the first, then come the factors.
    """

    start_s: Annotated[float, Field(strict=True, ge=0, le=LONGEST_S)]
    trades: PerHour = 0.0
    newcomers: PerHour = 0.0
    row_taste: PerHour = 0.0
    shared_taste: PerHour = 0.0
    rank: Annotated[int, Field(strict=True, ge=0, le=MOST_FACTORS + 1)] = 0


class DriftSpec(Part):
    """What changes over time (see `lorabench.workload.generator`); by default nothing does.

    Parameters
    ----------
    phase : tuple of PhaseSpec
        The schedule, in order of time; the first begins at 0.
    day_s : float
        Length of a day in s of workload time.
    day_rate : float
        How far the rate of rows swings about its mean within a day, as a share of it.
    day_taste : float
        Standard deviation of the part of the logit that swings with the day, in units of the
        logit's own.
    """

    phase: tuple[PhaseSpec, ...] = ()
    day_s: Annotated[float, Field(strict=True, ge=1, le=LONGEST_S)] = 86_400.0
    day_rate: Rate = 0.0
    day_taste: Magnitude = 0.0

    @field_validator("phase")
    @classmethod
    def _in_order(cls, value: tuple[PhaseSpec, ...]) -> tuple[PhaseSpec, ...]:
        starts = [phase.start_s for phase in value]
        if starts and (starts[0] != 0 or sorted(set(starts)) != starts):
            raise PydanticCustomError(
                "out_of_order",
                "phases that start at 0 and rise",
                {"found": f"starts at {', '.join(f'{start:g}' for start in starts)} s"},
            )
        return value


class ModelSpec(Part):
    """The shape of the DLRM that the workload is served with.

    Parameters
    ----------
    dim : int
        Embedding dimension D.
    bottom, top : tuple of int
        Hidden widths; the bottom MLP then ends in D, the top one in 1.
    """

    dim: Count
    bottom: tuple[Count, ...]
    top: tuple[Count, ...]


class WorkloadSpec(Part):
    """A workload: its stream of rows, and the shape of the model that it is served with.

    Parameters
    ----------
    name : str
        What results call it.
    description : str
        For the reader; no part of the digest.
    rows : int
        Length of the generated stream.
    pretrain_rows : int
        Rows at the stream's head that the model is pre-trained on; fewer than `rows`.
    rows_per_s : float
        Mean rate of the timestamps, in workload time, in [0.001, 10^9]; `rows` must not take
        longer than a century.
    sparse, dense, labels, drift, model
        The parts.
    """

    name: Annotated[str, Field(strict=True, min_length=1)]
    description: Annotated[str, Field(strict=True)] = ""
    rows: Count
    pretrain_rows: Annotated[int, Field(strict=True, ge=0)]
    rows_per_s: RowRate
    sparse: SparseSpec
    dense: DenseSpec
    labels: LabelSpec
    drift: DriftSpec = DriftSpec()
    model: ModelSpec

    @field_validator("pretrain_rows")
    @classmethod
    def _leaves_rows_to_serve(cls, value: int, info: ValidationInfo) -> int:
        rows = info.data.get("rows")
        if rows is not None and value >= rows:
            raise PydanticCustomError(
                "no_rows_left", "fewer than rows = {rows}, so that some are served", {"rows": rows}
            )
        return value

    @field_validator("rows_per_s")
    @classmethod
    def _ends_within_a_century(cls, value: float, info: ValidationInfo) -> float:
        rows = info.data.get("rows")
        # Not rows / value: an integer may be too large to become a float.
        if rows is not None and rows > value * LONGEST_S:
            raise PydanticCustomError(
                "too_long",
                "at least {least}, so that rows = {rows} end within a century",
                {"least": f"{rows // LONGEST_S + 1}", "rows": rows},
            )
        return value

    @field_validator("drift")
    @classmethod
    def _has_so_many_directions(cls, value: DriftSpec, info: ValidationInfo) -> DriftSpec:
        labels = info.data.get("labels")
        for number, phase in enumerate(value.phase, 1):
            if labels is not None and phase.rank > labels.rank + 1:
                raise PydanticCustomError(
                    "no_direction",
                    "at most {most} (the preference and labels.rank factors)",
                    {"found": f"rank {phase.rank} in phase {number}", "most": labels.rank + 1},
                )
        return value

    @property
    def num_dense(self) -> int:
        """Number of dense features."""
        return self.dense.count

    @property
    def num_sparse(self) -> int:
        """Number of categorical features, F."""
        return len(self.sparse.cardinality)

    @property
    def num_columns(self) -> int:
        """Ids of a sample, all features together."""
        return sum(self.sparse.hotness)

    @property
    def table_rows(self) -> tuple[int, ...]:
        """Rows V of each table: the real ids and, as row 0, the missing value if there is one."""
        return tuple(c + self.sparse.missing_row for c in self.sparse.cardinality)

    @property
    def table_bytes(self) -> int:
        """Size of all tables in fp32, in bytes."""
        return sum(self.table_rows) * self.model.dim * 4

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of everything but the description, as canonical JSON."""
        content = self.model_dump(mode="json", exclude={"description"})
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def preset_names() -> tuple[str, ...]:
    """Names of the presets that ship with the package, sorted."""
    folder = files("lorabench.workload") / "presets"
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def load_spec(name_or_path: str) -> WorkloadSpec:
    """Read a workload spec.

    Parameters
    ----------
    name_or_path : str
        A preset's name, or a path to a file; whatever ends in ``.toml`` is a path.

    Raises
    ------
    InputError
        Unknown preset, unreadable file, bad TOML, or a spec that does not hold.

    Examples
    --------
    >>> load_spec("tiny").num_sparse
    26
    """
    if name_or_path.endswith(".toml"):
        try:
            content = Path(name_or_path).read_bytes()
        except OSError as error:
            raise InputError(
                f"{name_or_path}: {error.strerror}; expected a readable workload spec"
            ) from error
        return parse_spec(content, name_or_path)
    presets = preset_names()
    if name_or_path not in presets:
        raise InputError(
            f"unknown preset {name_or_path!r}; expected one of {', '.join(presets)}, "
            "or a path that ends in .toml"
        )
    resource = files("lorabench.workload") / "presets" / f"{name_or_path}.toml"
    return parse_spec(resource.read_bytes(), f"preset {name_or_path}")


def parse_spec(content: bytes, origin: str) -> WorkloadSpec:
    """Make a spec of a TOML file's bytes; `origin` is what errors call the file.

    Raises
    ------
    InputError
        Bad TOML, or a spec that does not hold; the first mistake is named.
    """
    try:
        document = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = str(error).replace("\n", " ")
        raise InputError(f"{origin}: {reason}; expected a workload spec in TOML") from error
    return validated(document, origin)


def with_rows(spec: WorkloadSpec, rows: int) -> WorkloadSpec:
    """Return a spec another length; pre-training keeps at most half of it.

    Raises
    ------
    InputError
        No rows, or more than the spec's rate gets done in a century.
    """
    content = spec.model_dump()
    content.update(rows=rows, pretrain_rows=max(0, min(spec.pretrain_rows, rows // 2)))
    return validated(content, f"{spec.name} of {rows} rows")


def with_scale(spec: WorkloadSpec, scale: float) -> WorkloadSpec:
    """Shrink every cardinality c to scale * c, but not below the lesser of c and 10.

    Parameters
    ----------
    spec : WorkloadSpec
        To shrink.
    scale : float
        In (0, 1].

    Raises
    ------
    InputError
        `scale` out of range.
    """
    if not 0 < scale <= 1:
        raise InputError(f"--scale: found {scale:g}, expected a number above 0, at most 1")
    content = spec.model_dump()
    cardinality = tuple(max(min(c, 10), round(c * scale)) for c in spec.sparse.cardinality)
    content["sparse"]["cardinality"] = cardinality
    content["sparse"]["head"] = tuple(
        head[: ids - 1] for head, ids in zip(spec.sparse.head, cardinality, strict=True)
    )
    if scale < 1:
        content["name"] = f"{spec.name} x {scale:g}"
    return validated(content, f"{spec.name} at scale {scale:g}")


def validated(document: dict[str, Any], origin: str) -> WorkloadSpec:
    """Make a spec of a document; the first mistake is named, and `origin` is what it is in.

    Raises
    ------
    InputError
        It does not hold.
    """
    try:
        return WorkloadSpec.model_validate(document)
    except ValidationError as error:
        # A misspelt key is both unknown and missing; that it is unknown says more.
        first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        raise InputError(f"{origin}: {_describe(first)}") from None


def _describe(error: ErrorDetails) -> str:
    """Key path, found and expected of one of pydantic's errors, in a line."""
    key = ""
    for part in error["loc"]:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else str(part)
    context = error.get("ctx", {})
    found = str(context.get("found", _brief(error["input"])))
    expected = error["msg"].removeprefix("Input should be ")
    if error["type"] == "missing":
        found, expected = "nothing", "a value"
    elif error["type"] == "extra_forbidden":
        known = _known_keys(error["loc"][:-1])
        found, expected = "an unknown key", f"one of {', '.join(known)}"
    elif error["type"] == "model_type":
        expected = "a table of keys"
    elif error["type"] == "tuple_type":
        expected = "a list"
    return f"{key}: found {found}, expected {expected}"


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _known_keys(path: tuple[int | str, ...]) -> list[str]:
    model: Any = WorkloadSpec
    for part in path:
        if isinstance(part, str):
            model = model.model_fields[part].annotation
        else:  # an item of a tuple
            (model, _) = get_args(model)
    return list(model.model_fields)
