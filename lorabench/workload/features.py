"""The features of a workload, as its spec describes them: categorical and dense ones.

What is said of a feature may be one value for all, or a list with one for each.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

# Strict items: TOML has types, so "3" or true in a number's place is a mistake, not a spelling.
# One more row for the missing value, and the number of rows itself must fit int32.
Cardinality = Annotated[int, Field(strict=True, gt=0, lt=2**31 - 1)]
Rate = Annotated[float, Field(strict=True, ge=0, lt=1)]
# Beyond any use, and still far from where float32 arithmetic on them overflows.
Logarithm = Annotated[float, Field(strict=True, ge=-100, le=100)]
Magnitude = Annotated[float, Field(strict=True, ge=0, le=100)]
# A scalar is written out once a feature; a slip of the finger must not fill the memory.
MOST_DENSE = 4096
MOST_HEAD = 256
MOST_QUANTILES = 1025
Hotness = Annotated[int, Field(strict=True, ge=1, le=1024)]
Real = Annotated[float, Field(strict=True, ge=-4e38, le=4e38)]
Deviation = Annotated[float, Field(strict=True, gt=0, le=4e38)]
Value = Annotated[int, Field(strict=True, gt=-(2**31), lt=2**31)]

Transform = Literal["log1p", "identity", "standardise"]
"""How a dense value becomes an input of the model (`lorabench.workload.block.dense_features`)."""


def _per_feature(
    length_of: Callable[[ValidationInfo], int | None],
    of: type | tuple[type, ...] = (int, float),
    *,
    optional: bool = False,
) -> BeforeValidator:
    """Broadcast a scalar to all features; hold a list to their number, or to nothing."""
    what = "word" if of is str else "number"

    def broadcast(value: Any, info: ValidationInfo) -> Any:
        length = length_of(info)
        if length is None:  # what gives the length is itself wrong, and is reported
            return ()
        if isinstance(value, (list, tuple)):
            if optional and not value:
                return ()
            if len(value) != length:
                raise PydanticCustomError(
                    "wrong_length",
                    "one value, or a list of {expected} (one a feature)",
                    {"expected": length, "found": f"a list of {len(value)}"},
                )
            return value
        if isinstance(value, of):
            return (value,) * length
        raise PydanticCustomError(
            f"not_a_{what}",
            f"a {what}, or a list of {{expected}} {what}s",
            {"expected": length},
        )

    return BeforeValidator(broadcast)


def _sparse_length(info: ValidationInfo) -> int | None:
    cardinality = info.data.get("cardinality")
    return None if cardinality is None else len(cardinality)


def _dense_length(info: ValidationInfo) -> int | None:
    count: int | None = info.data.get("count")
    return count


def _some_or_none(length_of: Callable[[ValidationInfo], int | None], what: str) -> BeforeValidator:
    """Hold a list of lists to the number of features; no list at all is an empty one for each."""

    def check(value: Any, info: ValidationInfo) -> Any:
        length = length_of(info)
        if length is None:  # reported already
            return ()
        if not isinstance(value, (list, tuple)):
            raise PydanticCustomError("not_a_list", what)
        if not value:
            return ((),) * length
        if len(value) != length:
            raise PydanticCustomError(
                "wrong_length",
                "{expected} lists (one a feature, empty for none)",
                {"expected": length, "found": f"a list of {len(value)}"},
            )
        return value

    return BeforeValidator(check)


_PerSparse = _per_feature(_sparse_length)
_PerDense = _per_feature(_dense_length)
_PerDenseOrNone = _per_feature(_dense_length, optional=True)


def _is_empty(value: tuple[float, ...]) -> bool:
    return not value


def _are_counts(value: tuple[Transform, ...]) -> bool:
    return set(value) <= {"log1p"}


class Part(BaseModel):
    """A part of a spec: unknown keys are an error, values do not change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SparseSpec(Part):
    """The categorical features, F of them.

    Parameters
    ----------
    cardinality : tuple of int, length F
        Distinct real ids of each feature; its table has one row more, row 0, for "missing".
    missing_row : bool
        False: tables have no such row, an id is its row, from 0 on, and `cardinality` is the number
        of rows. So data are numbered that others have made ready; none are generated that way.
    zipf : tuple of float, length F
        Exponent s in [0, 100] of each feature's popularity, P(rank k) ~ k^-s; 0 is uniform.
    missing : tuple of float, length F
        Probability in [0, 1) that the value is missing.
    hotness : tuple of int, length F
        Ids of a sample; more than 1 makes a feature multi-hot. They are drawn independently.
    head : tuple of tuple of float, length F
        Probabilities of the most popular ids, for data whose head is no power law; what is left
        is spread over the other ids by the Zipf law. Empty: all by the Zipf law.
    """

    cardinality: Annotated[tuple[Cardinality, ...], Field(min_length=1)]
    # Left out where it says nothing, so that other specs keep their text and their digest.
    missing_row: Annotated[bool, Field(strict=True, exclude_if=lambda value: value is True)] = True
    zipf: Annotated[tuple[Magnitude, ...], _PerSparse]
    missing: Annotated[tuple[Rate, ...], _PerSparse]
    hotness: Annotated[tuple[Hotness, ...], _PerSparse, Field(default=1, validate_default=True)]
    head: Annotated[
        tuple[Annotated[tuple[Rate, ...], Field(max_length=MOST_HEAD)], ...],
        _some_or_none(_sparse_length, "a list of lists of probabilities"),
        Field(default=(), validate_default=True),
    ]

    @field_validator("head")
    @classmethod
    def _leaves_a_tail(
        cls, value: tuple[tuple[float, ...], ...], info: ValidationInfo
    ) -> tuple[tuple[float, ...], ...]:
        for f, (head, ids) in enumerate(
            zip(value, info.data.get("cardinality", ()), strict=False), 1
        ):
            if head and (len(head) >= ids or sum(head) >= 1):
                raise PydanticCustomError(
                    "whole_head",
                    "fewer probabilities than ids, that sum to less than 1",
                    {"found": f"{len(head)} that sum to {sum(head):g} for {ids} ids (c{f})"},
                )
        return value


class DenseSpec(Part):
    """The dense features: how they are generated, and how a model takes them in.

    Generated ones are counts, floor(exp(location + scale * normal)), skewed as counts are.

    Parameters
    ----------
    count : int
        How many features, 0 to 4,096.
    missing : tuple of float, length count
        Probability in [0, 1) that the value is missing.
    location, scale : tuple of float, length count
        Mean, in [-100, 100], and standard deviation, in [0, 100], of the logarithm.
    quantiles : tuple of tuple of int, length count
        Evenly spaced quantiles, from the least value to the largest, for data that is no
        log-normal; values are drawn by the inverse of the linear interpolation. The logarithm's
        location and scale still say how a value enters the label. Empty: log-normal.
    mean, deviation : tuple of float, length count, or empty
        For ``standardise``; other columns do not look at them. `lorabench.workload.ingest` takes
        them from the rows.
    transform : tuple of {"log1p", "identity", "standardise"}, length count
        How a value becomes an input of the model: log(1 + max(x, 0)), which suits counts; as it
        is; or (x - mean) / deviation. A missing value becomes 0.
    """

    count: Annotated[int, Field(strict=True, ge=0, le=MOST_DENSE)]
    missing: Annotated[tuple[Rate, ...], _PerDense]
    location: Annotated[tuple[Logarithm, ...], _PerDense]
    scale: Annotated[tuple[Magnitude, ...], _PerDense]
    quantiles: Annotated[
        tuple[Annotated[tuple[Value, ...], Field(max_length=MOST_QUANTILES)], ...],
        _some_or_none(_dense_length, "a list of lists of integers"),
        Field(default=(), validate_default=True),
    ]
    # Left out where they say nothing, so that specs of counts keep their text and their digest.
    mean: Annotated[tuple[Real, ...], _PerDenseOrNone, Field(exclude_if=_is_empty)] = ()
    deviation: Annotated[tuple[Deviation, ...], _PerDenseOrNone, Field(exclude_if=_is_empty)] = ()
    transform: Annotated[
        tuple[Transform, ...],
        _per_feature(_dense_length, of=str),
        Field(default="log1p", validate_default=True, exclude_if=_are_counts),
    ]

    @property
    def counts(self) -> bool:
        """Whether all become inputs as counts do, by ``log1p``."""
        return _are_counts(self.transform)

    @field_validator("quantiles")
    @classmethod
    def _rise(cls, value: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
        for d, points in enumerate(value, 1):
            if len(points) == 1 or list(points) != sorted(points):
                raise PydanticCustomError(
                    "falling",
                    "at least two quantiles that never fall, or none",
                    {"found": f"{len(points)} (i{d})" if len(points) == 1 else f"a fall (i{d})"},
                )
        return value

    @field_validator("transform")
    @classmethod
    def _has_what_it_takes(
        cls, value: tuple[Transform, ...], info: ValidationInfo
    ) -> tuple[Transform, ...]:
        known = info.data.get("mean") and info.data.get("deviation")
        if "standardise" in value and not known:
            raise PydanticCustomError(
                "no_moments",
                "dense.mean and dense.deviation beside it",
                {"found": f"'standardise' (i{1 + value.index('standardise')}) alone"},
            )
        return value


def plain_dense(count: int) -> DenseSpec:
    """Return the spec of counts of which nothing is known but how many there are."""
    content = {"count": count, "missing": 0.0, "location": 0.0, "scale": 1.0}
    return DenseSpec.model_validate(content)
