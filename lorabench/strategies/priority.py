"""``priority``: of all rows that changed, those are sent that a magnitude puts first.

With a full update of what is outstanding now and then. Selection by magnitude with intermittent
full updates is what is public of QuickUpdate (Matam et al., NSDI 2024); its exact rule is not, and
none of these selectors claims to be it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.strategies.base import StrategySpec
from lorabench.strategies.deployment import Deployment
from lorabench.strategies.shipping import Deltas
from lorabench.updates.delta import Delta
from lorabench.updates.rows import top_rows

SELECTORS = ("delta-norm", "grad-energy", "freq-grad")
_PER_CENT = 5
_NAME = re.compile(rf"priority(?:-(?P<by>{'|'.join(SELECTORS)}))?(?:-(?P<per_cent>[0-9]+))?")

_Rows = NDArray[np.signedinteger[Any]]

_SENT = -1


@dataclass(frozen=True, eq=False)
class _Undo:
    """What was known of the rows of a table before a push took them."""

    rows: _Rows
    waiting: NDArray[np.int64]
    count_sent: NDArray[np.float32] | None = None
    energy_sent: NDArray[np.float32] | None = None


class Priority(Deltas):
    """At most a share of all rows each time; parameters as of `Strategy`.

    ``delta-norm`` ranks a row by how far it has moved from what is served, ``grad-energy`` by the
    sum of squared gradients since it was last sent, ``freq-grad`` by lookups times the root mean
    square gradient.

    What is served is as old as the row that has waited longest: a push's step is that up to which
    no change waits any more, as a stream's is (`lorabench.strategies.stream`).
    """

    forms: ClassVar[tuple[str, ...]] = (
        "priority",
        "priority-K",
        *(f"priority-{by}-K" for by in SELECTORS),
    )

    def __init__(self, spec: StrategySpec, deployment: Deployment) -> None:
        super().__init__(spec, deployment)
        self._by = spec.params["by"]
        self._most = self.numbers.share(spec.params["per_cent"] / 100)
        self._full_every = deployment.when.full_every
        # Changed and not sent: `_waiting` as the cluster has it, with the step up to which all that
        # a row learned has been sent, else `_SENT`; `_held` as the servers miss it.
        self._waiting = [np.full(rows, _SENT, np.int64) for rows in self.layout.rows]
        self._undo: list[_Undo] = []
        self._held = np.zeros(self.numbers.count, np.bool_)
        if self._by != "delta-norm":
            self.cluster.watch()
            self._count_sent = [one.copy() for one in self.cluster.counts]
            self._energy_sent = [one.copy() for one in self.cluster.energy]

    @classmethod
    def read(cls, name: str) -> Mapping[str, Any] | None:
        """Return selector and share; None where the name is another strategy's.

        Raises
        ------
        InputError
            A share that is none.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        per_cent = int(match["per_cent"] or _PER_CENT)
        if not 1 <= per_cent <= 100:
            raise InputError(
                f"--strategies: found {name}, expected 1 to 100 per cent of the rows behind it"
            )
        return {"by": match["by"] or SELECTORS[0], "per_cent": per_cent}

    def select(self, number: int, now_s: float) -> Delta:
        """Take the rows that changed most, or all that changed where a full update is due."""
        touched = self.cluster.touched_since(self._since)
        for waiting, rows in zip(self._waiting, touched, strict=True):
            waiting[rows[waiting[rows] == _SENT]] = self._since
        self._since = self.cluster.step
        chosen: list[_Rows] = [np.flatnonzero(one != _SENT) for one in self._waiting]
        if (number + 1) % self._full_every:
            chosen = self._first(chosen)
        self._undo = [self._take(f, rows) for f, rows in enumerate(chosen)]
        self._held = self._changed()
        delta = self.cluster.delta([rows.astype(np.int32) for rows in chosen], now_s)
        return replace(delta, step=self._complete())

    def _take(self, f: int, rows: _Rows) -> _Undo:
        """Note that rows of a table are sent."""
        undo = _Undo(rows, self._waiting[f][rows])
        if self._by != "delta-norm":
            undo = replace(
                undo,
                count_sent=self._count_sent[f][rows],
                energy_sent=self._energy_sent[f][rows],
            )
            self._count_sent[f][rows] = self.cluster.counts[f][rows]
            self._energy_sent[f][rows] = self.cluster.energy[f][rows]
        self._waiting[f][rows] = _SENT
        return undo

    def _complete(self) -> int:
        """Return the step up to which every label is in what has been sent."""
        left = (one[one != _SENT] for one in self._waiting)
        return min([self.cluster.step, *(int(one.min()) for one in left if len(one))])

    def _first(self, waiting: list[_Rows]) -> list[_Rows]:
        """Keep those of greatest score; those that are served as they are wait no longer."""
        scored = [self._score(f, rows) for f, rows in enumerate(waiting)]
        for f, (rows, score) in enumerate(zip(waiting, scored, strict=True)):
            still = rows[score == 0]
            # Never sent, as they score nothing, they would hold the step back for good.
            same = self.cluster.tables.arrays[f][still] == self.served.tables.arrays[f][still]
            self._waiting[f][still[same.all(axis=1)]] = _SENT
        scores = np.concatenate(scored)
        kept = np.zeros(len(scores), np.bool_)
        kept[top_rows(scores, self._most)] = True
        parts = np.split(kept, np.cumsum([len(rows) for rows in waiting])[:-1])
        return [rows[keep] for rows, keep in zip(waiting, parts, strict=True)]

    def refused(self, delta: Delta) -> None:  # noqa: ARG002 - one is under way at a time
        """Let its rows wait again, since when they did and with the score that they had."""
        for f, undo in enumerate(self._undo):
            self._waiting[f][undo.rows] = undo.waiting
            if undo.count_sent is not None and undo.energy_sent is not None:
                self._count_sent[f][undo.rows] = undo.count_sent
                self._energy_sent[f][undo.rows] = undo.energy_sent
        self._held = self._changed()

    def _changed(self) -> NDArray[np.bool_]:
        """Return of each row, all tables numbered through, whether a change of it waits."""
        return np.concatenate([one != _SENT for one in self._waiting])

    def _score(self, f: int, rows: _Rows) -> NDArray[np.float32]:
        if self._by == "delta-norm":
            moved = self.cluster.tables.arrays[f][rows] - self.served.tables.arrays[f][rows]
            return np.asarray(np.einsum("nd,nd->n", moved, moved), np.float32)
        energy = self.cluster.energy[f][rows] - self._energy_sent[f][rows]
        if self._by == "grad-energy":
            return energy
        count = self.cluster.counts[f][rows] - self._count_sent[f][rows]
        return np.sqrt(count * energy)

    def held_back(self, sparse: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return how many rows of each sample [B] had changed when the last push left them out."""
        found: NDArray[np.int64] = self._held[self.numbers.of_samples(sparse)].sum(axis=1)
        return found
