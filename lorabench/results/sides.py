"""What one side of a comparison has measured: values by metric and case, and what it lacks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lorabench.errors import InputError
from lorabench.results.evidence import STUCK_SHARE, saturated_blocks
from lorabench.results.schema import Metric, Result, Round

OF_QUEUES = ("latency_", "spike_", "update_latency_")
"""How metrics begin of which a queue that only grew has none."""

Key = tuple[str, tuple[tuple[str, str], ...]]
"""Name and labels of a metric."""


@dataclass(frozen=True)
class Blocks:
    """What is known of the blocks of a run beside their values.

    Parameters
    ----------
    stuck : mapping of str to (int, int)
        Of each case: in how many blocks its queue only grew, and how many it had.
    processes : sequence of int
        On which set of processes each block ran.
    """

    stuck: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    processes: Sequence[int] = ()

    @classmethod
    def of(cls, rounds: Sequence[Round]) -> "Blocks":
        """Take in the blocks of a document."""
        known = [block.processes for block in rounds]
        processes = [one for one in known if one is not None]
        return cls(saturated_blocks(rounds), processes if len(processes) == len(known) else ())


@dataclass(frozen=True)
class Side:
    """What one side has measured.

    Parameters
    ----------
    runs : int
        How many repeated runs.
    metrics : mapping
        By name and labels, of each run by its number.
    blocks : sequence of Blocks
        Of each run.
    """

    runs: int
    metrics: Mapping[Key, Mapping[int, Metric]]
    blocks: Sequence[Blocks]

    @classmethod
    def of(cls, runs: Sequence[Result]) -> "Side":
        """Take in repeated runs.

        Raises
        ------
        InputError
            One has the same metric twice.
        """
        return cls.measured([run.metrics for run in runs], [Blocks.of(run.rounds) for run in runs])

    @classmethod
    def measured(cls, runs: Sequence[Sequence[Metric]], blocks: Sequence[Blocks] = ()) -> "Side":
        """Take in what repeated runs have measured, of which there need be no documents yet.

        Raises
        ------
        InputError
            One has the same metric twice.
        """
        metrics: dict[Key, dict[int, Metric]] = {}
        for number, run in enumerate(runs):
            for metric in run:
                mine = metrics.setdefault((metric.name, labels_of(metric)), {})
                if number in mine:
                    raise InputError(f"found {name_of(metric)} twice in a run, expected it once")
                mine[number] = metric
        return cls(len(runs), metrics, blocks or [Blocks()] * len(runs))

    def without(self, other: "Side") -> tuple[str, ...]:
        """Return what this side has and the other has not."""
        mine = (any_of(listed) for key, listed in self.metrics.items() if key not in other.metrics)
        return tuple(sorted({name_of(metric) for metric in mine}))

    def values(self, key: Key, *, by_run: bool) -> list[float | None]:
        """Return the blocks of the one run, or what each run came to; None where one has none."""
        listed = self.metrics[key]
        if by_run:
            return [listed[n].estimate if n in listed else None for n in range(self.runs)]
        only = listed[0]
        return list(only.values) if only.values else [only.estimate]

    def lost(self, key: Key, *, by_run: bool) -> tuple[int, int]:
        """Return how many blocks, or runs, gave no value, or one from a queue that only grew."""
        values = self.values(key, by_run=by_run)
        none = sum(value is None for value in values)
        if not any_of(self.metrics[key]).name.startswith(OF_QUEUES):
            return none, len(values)
        case = any_of(self.metrics[key]).condition
        stuck = [blocks.stuck.get(case, (0, 0)) for blocks in self.blocks]
        if by_run:
            grew = sum(count > STUCK_SHARE * ran for count, ran in stuck)
            return max(none, grew), len(values)
        return max(none, stuck[0][0]), max(len(values), stuck[0][1])

    def grew(self, key: Key) -> bool:
        """Return whether queues only grew in the case, and so often that it is saturated."""
        case = any_of(self.metrics[key]).condition
        stuck = (blocks.stuck.get(case, (0, 0)) for blocks in self.blocks)
        return any(count > STUCK_SHARE * ran for count, ran in stuck)

    def processes(self, key: Key) -> Sequence[int] | None:
        """Return which processes each value of the one run came from; None where nobody knows."""
        values, found = self.values(key, by_run=False), self.blocks[0].processes
        return found[: len(values)] if 1 < len(values) <= len(found) else None

    def centre(self, key: Key) -> float | None:
        """Return the estimate, or the mean of those of several runs."""
        known = [one.estimate for one in self.metrics[key].values() if one.estimate is not None]
        return sum(value / len(known) for value in known) if known else None


def any_of(listed: Mapping[int, Metric]) -> Metric:
    """Return the metric of the first run that has it."""
    return next(iter(listed.values()))


def labels_of(metric: Metric) -> tuple[tuple[str, str], ...]:
    """Return labels as texts, in order."""
    return tuple(sorted((name, str(value)) for name, value in metric.labels.items()))


def name_of(metric: Metric) -> str:
    """Return name and case, for people."""
    return f"{metric.name}[{metric.condition}]"
