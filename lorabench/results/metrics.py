"""The table on which a run's values are collected; what metrics there are, says the registry."""

from dataclasses import dataclass, field

from lorabench.results import statistics
from lorabench.results.case import Case
from lorabench.results.registry import metric_spec
from lorabench.results.schema import Metric
from lorabench.results.statistics import Estimate


@dataclass
class MetricTable:
    """A run's values: one a block for each metric and case, None where a block gave none.

    Cases can be given as texts alone where they have no labels but ``condition``.
    """

    rows: dict[tuple[str, Case], list[float | None]] = field(default_factory=dict)
    _estimates: dict[tuple[str, Case], Estimate | None] = field(default_factory=dict)

    def copy(self) -> "MetricTable":
        """Return a table of the same values, to which others can be added."""
        return MetricTable(
            {key: list(values) for key, values in self.rows.items()}, dict(self._estimates)
        )

    def add(self, name: str, case: Case | str, *values: float | None) -> None:
        """Write down the values of one more round, or of several."""
        self.rows.setdefault((name, _case(case)), []).extend(values)

    def put(self, name: str, case: Case | str, estimate: Estimate | None) -> None:
        """Write down what is known of all rounds together and has no value a round."""
        self.rows[name, _case(case)] = []
        self._estimates[name, _case(case)] = estimate

    def values(self, name: str, case: Case | str) -> list[float | None]:
        """Return all rounds' values, empty where nothing was measured."""
        return self.rows.get((name, _case(case)), [])

    def named(self, name: str) -> dict[Case, list[float | None]]:
        """Return the values of a metric in every case that has it."""
        return {case: values for (found, case), values in self.rows.items() if found == name}

    def estimate(
        self, name: str, case: Case | str, level: float = statistics.LEVEL
    ) -> Estimate | None:
        """Return the mean over rounds with its interval, as the metric's own law has it.

        `level` is what the interval leaves out on either side.
        """
        key = name, _case(case)
        if key in self._estimates:
            return self._estimates[key]
        return statistics.summarise(self.values(name, case), metric_spec(name).mean, level)

    def metrics(self) -> list[Metric]:
        """Return all as a document has them, summarised over rounds."""
        found = []
        for (name, case), values in self.rows.items():
            known, estimate = metric_spec(name), self.estimate(name, case)
            found.append(
                Metric(
                    name=name,
                    condition=case.text,
                    labels=dict(case.labels),
                    unit=known.unit,
                    better=known.better,
                    values=values,
                    estimate=estimate.value if estimate else None,
                    ci95=estimate.interval if estimate else None,
                )
            )
        return found


def _case(case: Case | str) -> Case:
    return case if isinstance(case, Case) else Case(case)
