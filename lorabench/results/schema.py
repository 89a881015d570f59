"""The result document: what every subcommand writes, validated on writing and on reading.

One JSON object that says what was run, on what, what came out and how sure that is, so that a
number can be believed by somebody who was not there. SI base units; ratios are plain numbers. No
NaN or infinity gets in: what was not measured is null.
"""

import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    model_validator,
)

from lorabench.results.case import Case, Label

SCHEMA: Literal["lorabench.result/2"] = "lorabench.result/2"

Finite = Annotated[float, Field(allow_inf_nan=False)]

_T = TypeVar("_T")
# The first item that is wrong is told of, and not 100,000.
Many = Annotated[list[_T], FailFast()]


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """Bring a free-form part to the form that it is read back in; NaN and infinity are an error."""
    found: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False))
    return found


Json = Annotated[dict[str, Any], AfterValidator(_plain)]
Better = Literal["lower", "higher"]
Interval = tuple[Finite, Finite]
Verdict = Literal["met", "missed", "inconclusive", "unavailable"]
Basis = Literal["measured-real", "measured-synthetic", "derived"]


class Part(BaseModel):
    """Base of all parts: unknown keys are an error, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Program(Part):
    """The program that measured."""

    version: str
    git: str | None = None


class _Labelled(Part):
    """Something that is of one case.

    Attributes
    ----------
    condition : str
        The case's name for people.
    labels : dict of str to str, int or float
        What tells it from other cases; the name as ``condition`` where nothing else does.
    """

    name: str
    condition: str
    labels: dict[str, str | int | Finite] = {}

    @model_validator(mode="before")
    @classmethod
    def _label(cls, value: Any) -> Any:
        if isinstance(value, dict) and "labels" not in value and "condition" in value:
            return {**value, "labels": {"condition": value["condition"]}}
        return value

    @property
    def case(self) -> Case:
        """The case that it is of."""
        return Case(self.condition, self.labels)

    def has(self, **labels: Label) -> bool:
        """Whether it bears all of these labels."""
        return all(self.labels.get(name) == value for name, value in labels.items())


class Metric(_Labelled):
    """One quantity in one case, round by round and summarised."""

    unit: str
    better: Better
    values: Many[Finite | None]
    estimate: Finite | None
    ci95: Interval | None


class Claim(Part):
    """A statement that was tested, and how that went.

    Parameters
    ----------
    reason : str
        What was found, in words.
    why : list of str
        What stands behind that, or in the way of a verdict, a sentence each.
    """

    id: str
    statement: str
    target: Finite
    measured: Finite | None
    ci95: Interval | None
    verdict: Verdict
    basis: Basis
    reason: str
    why: list[str] = []


class Unavailable(Part):
    """Something that this machine or this version cannot give."""

    what: str
    why: str
    enable: str


class Series(_Labelled):
    """What a plot draws."""

    x: Many[Finite]
    y: Many[Finite]
    x_unit: str
    y_unit: str

    @classmethod
    def of(
        cls,
        name: str,
        case: Case,
        x: Iterable[float],
        y: Iterable[float],
        *,
        units: tuple[str, str],
    ) -> Self:
        """Return points of a case, with the units of x and of y."""
        return cls(
            name=name,
            condition=case.text,
            labels=dict(case.labels),
            x=list(map(float, x)),
            y=list(map(float, y)),
            x_unit=units[0],
            y_unit=units[1],
        )

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        if len(self.x) != len(self.y):
            raise ValueError(f"found {len(self.x)} x and {len(self.y)} y, expected as many")
        return self


class Queries(Part):
    """How many queries a condition was offered and how many it answered."""

    offered: int
    served: int


class Round(Part):
    """One block: what ran in which order, and what shows that it was fair.

    Parameters
    ----------
    index : int
        From 0.
    processes : int or None
        Which set of fresh processes it ran on, from 0; None: one of its own.
    order : list of str
        Conditions, in the order in which they ran, slice by slice.
    schedule_sha256 : dict of str to str
        Of the arrivals of each condition: the same in all.
    queries : dict of str to Queries
        Of each condition.
    saturated : list of str
        Conditions whose queue only grew: they get no ratio.
    wraps : int
        How often the rows had been gone through before.
    steal_s : dict of str to float
        CPU time that the hypervisor took, of each condition.
    involuntary_switches : dict of str to int
        Of all threads of servers and trainer, of each condition.
    notes : list of str
        What else a reader should know, a sentence each.
    """

    index: int
    processes: int | None = None
    order: list[str]
    schedule_sha256: dict[str, str]
    queries: dict[str, Queries]
    saturated: list[str]
    wraps: int
    steal_s: dict[str, Finite]
    involuntary_switches: dict[str, int]
    notes: list[str] = []


class Sequential(Part):
    """When a run looked at its verdicts, so that they can be reached again from its values.

    Parameters
    ----------
    boundary : str
        Law of the looks (`lorabench.results.sequential`).
    alpha : float
        How often any look may miss the truth on a given side.
    looks : list of int
        Numbers of blocks after which it was to look.
    level : float
        Nominal one-sided level of the intervals at each look.
    ended : str
        What ended it: the verdicts are known or out of reach, all blocks are measured, the time is
        up, or it was interrupted.
    """

    boundary: Literal["pocock"]
    alpha: Finite
    looks: list[int]
    level: Finite
    ended: Literal["known", "blocks", "time", "interrupted"]


class RawFile(Part):
    """The file of raw samples beside the document."""

    name: str
    sha256: str


class LogFolder(Part):
    """The folder of logs that others wrote, beside the document: names in it, and their sha256."""

    name: str
    sha256: dict[str, str]


class Result(Part):
    """A result document.

    Attributes
    ----------
    notes : list of str
        What a reader has to know before the figures, a sentence each: what of the input was left
        out, folded or assumed, and what about it looks wrong.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True
    )

    schema_: Literal["lorabench.result/2"] = Field(default=SCHEMA, alias="schema")
    command: str
    id: str
    created: AwareDatetime
    lorabench: Program
    config: Json
    config_hash: str
    environment: Json
    partial: bool = False
    sequential: Sequential | None = None
    rounds: Many[Round]
    metrics: Many[Metric]
    claims: Many[Claim]
    unavailable: Many[Unavailable]
    notes: Many[str] = []
    series: Many[Series]
    raw: RawFile | None = None
    logs: LogFolder | None = None

    def metric(self, name: str, condition: str | None = None, **labels: Label) -> Metric | None:
        """Return a metric by its case's text or labels; None where it was not measured."""
        found: Iterable[Metric] = self._named(name, condition)
        return next((metric for metric in found if metric.has(**labels)), None)

    def select(self, name: str, **labels: Label) -> Iterator[Metric]:
        """Return a metric in all cases that bear these labels."""
        return (metric for metric in self._named(name) if metric.has(**labels))

    def _named(self, name: str, condition: str | None = None) -> list[Metric]:
        # A copy has the index of what it was copied from, and a list may have grown.
        if self.indexed.of is not self.metrics or self.indexed.size != len(self.metrics):
            del self.__dict__["indexed"]
        return self.indexed.found.get((name, condition), [])

    @cached_property
    def indexed(self) -> "Index":
        """The metrics by name: views look every case of every metric up."""
        found: dict[tuple[str, str | None], list[Metric]] = {}
        for metric in self.metrics:
            for key in ((metric.name, None), (metric.name, metric.condition)):
                found.setdefault(key, []).append(metric)
        return Index(self.metrics, len(self.metrics), found)


class Index(NamedTuple):
    """Metrics by their name, in all cases (None) and by the case's text."""

    of: list[Metric]
    size: int
    found: dict[tuple[str, str | None], list[Metric]]


def config_hash(config: dict[str, Any]) -> str:
    """Hash a resolved configuration: the same for the same run on any machine."""
    text = json.dumps(config, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def new_id(now: datetime | None = None) -> str:
    """Make an id that sorts by time and does not repeat."""
    now = now or datetime.now(UTC)
    return f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
