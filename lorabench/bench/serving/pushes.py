"""What the appliers of a round are given: a delta for all of it, and of a stream the next slice."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from lorabench.bench.serving.cases import ServingCase
from lorabench.bench.serving.options import ApplyTerms
from lorabench.bench.serving.slices import Slice
from lorabench.host.memory import require_memory
from lorabench.model.tables import TableLayout
from lorabench.targets.load import Schedule
from lorabench.targets.node.push import Push, delta_push, stream_push
from lorabench.workload.block import Block


def staged_bytes(terms: ApplyTerms, layout: TableLayout, cases: Sequence[ServingCase]) -> int:
    """Return what deltas take in memory, in all processes that apply them in these cases."""
    processes = len({case.has("numa") for case in cases if case.applies == "delta"})
    return int(processes * terms.share * sum(layout.rows) * 4 * (layout.dim + 1))


@dataclass(frozen=True)
class Pushes:
    """Hands out pushes of a round.

    Parameters
    ----------
    rows : Block
        What the round serves.
    schedule : Schedule
        When.
    layout : TableLayout
        Of the tables.
    terms : ApplyTerms
        How they are applied.
    batch : int
        Samples that training takes at once.
    delay_s : float
        From a query to its labels.
    seed : int
        Of what is drawn.
    """

    rows: Block
    schedule: Schedule
    layout: TableLayout
    terms: ApplyTerms
    batch: int
    delay_s: float
    seed: int
    _delta: dict[bool, Push] = field(default_factory=dict)

    def of(self, case: ServingCase, part: Slice) -> Push | None:
        """Return what is new to the process in which a case applies; None for nothing.

        Raises
        ------
        InputError
            It does not fit into memory.
        """
        if case.applies == "stream":
            return self._stream(part)
        if case.applies != "delta" or case.has("numa") in self._delta:
            return None
        other = next(iter(self._delta.values()), None)
        found = other or delta_push(self.rows.sparse, self.layout, self.terms.share, self.seed)
        self._delta[case.has("numa")] = found
        return found

    def _stream(self, part: Slice) -> Push:
        served = self.schedule.between(part.begin_s - self.delay_s, part.end_s - self.delay_s)
        found = stream_push(
            self.rows.sparse, served, self.layout, batch=self.batch, delay_s=self.delay_s
        )
        require_memory(
            f"a slice's stream of {len(found.rows):,} rows",
            4 * len(found.rows) * self.layout.dim,
            advice="use shorter slices (--slice) or less load (--load)",
        )
        return found
