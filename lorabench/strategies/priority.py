"""``priority``: of all rows that changed, those are sent that a magnitude puts first.

With a full update of what is outstanding now and then. Selection by magnitude with intermittent
full updates is what is public of QuickUpdate (Matam et al., NSDI 2024); its exact rule is not, and
none of these selectors claims to be it.
"""

import re
from collections.abc import Mapping
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


class Priority(Deltas):
    """At most a share of all rows each time; parameters as of `Strategy`.

    ``delta-norm`` ranks a row by how far it has moved from what is served, ``grad-energy`` by the
    sum of squared gradients since it was last sent, ``freq-grad`` by lookups times the root mean
    square gradient.
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
        # Changed and not sent: `_waiting` as the cluster has it, `_held` as the servers miss it.
        self._waiting = [np.zeros(rows, np.bool_) for rows in self.layout.rows]
        self._held = [np.zeros(rows, np.bool_) for rows in self.layout.rows]
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
        for waiting, rows in zip(
            self._waiting, self.cluster.touched_since(self._since), strict=True
        ):
            waiting[rows] = True
        self._since = self.cluster.step
        chosen: list[_Rows] = [np.flatnonzero(one) for one in self._waiting]
        if (number + 1) % self._full_every:
            chosen = self._first(chosen)
        for f, rows in enumerate(chosen):
            self._waiting[f][rows] = False
            if self._by != "delta-norm":
                self._count_sent[f][rows] = self.cluster.counts[f][rows]
                self._energy_sent[f][rows] = self.cluster.energy[f][rows]
        self._held = [one.copy() for one in self._waiting]
        return self.cluster.delta([rows.astype(np.int32) for rows in chosen], now_s)

    def _first(self, waiting: list[_Rows]) -> list[_Rows]:
        """Keep those of greatest score."""
        scores = np.concatenate([self._score(f, rows) for f, rows in enumerate(waiting)])
        kept = np.zeros(len(scores), np.bool_)
        kept[top_rows(scores, self._most)] = True
        parts = np.split(kept, np.cumsum([len(rows) for rows in waiting])[:-1])
        return [rows[keep] for rows, keep in zip(waiting, parts, strict=True)]

    def refused(self, delta: Delta) -> None:
        """Let its rows wait again."""
        for waiting, rows in zip(self._waiting, delta.rows, strict=True):
            waiting[rows] = True

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
        hotness = self.layout.hotness or (1,) * len(self.layout.rows)
        found = np.zeros(len(sparse), np.int64)
        column = 0
        for held, hot in zip(self._held, hotness, strict=True):
            found += held[sparse[:, column : column + hot]].sum(axis=1)
            column += hot
        return found
