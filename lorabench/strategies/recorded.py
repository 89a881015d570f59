"""``deltas``: pushes that were recorded as files, by this program or by another, sent again.

Each is put on the link once the stream has come to the time at which its rows were taken, and the
push before it has landed. One that claims to have learned labels that have not come by then is
refused: no cluster can have. What a training cluster did meanwhile is in the files: here nothing is
trained.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.model.tables import TableLayout
from lorabench.strategies.base import StrategySpec
from lorabench.strategies.deployment import Deployment
from lorabench.strategies.pushed import Pushed
from lorabench.updates.apply import Reason
from lorabench.updates.delta import Delta
from lorabench.updates.delta_files import PushFile, push_files, read_delta
from lorabench.updates.delta_header import NamedTables
from lorabench.updates.payload import KEY_BYTES, SCALE_AND_OFFSET_BYTES


class Recorded(Pushed):
    """A folder of pushes; parameters as of `Strategy`.

    The folder, a Path, is ``folder`` of the spec's params; without one nothing is pushed.
    """

    forms: ClassVar[tuple[str, ...]] = ("deltas",)

    def __init__(self, spec: StrategySpec, deployment: Deployment) -> None:
        super().__init__(spec, deployment)
        self._tables = NamedTables(self.layout)
        self._of_fp32 = self._pushes
        self._of_int8 = replace(self._pushes, sync=self._pushes.sync.of_int8)
        folder = spec.params.get("folder")
        files = [] if folder is None else push_files(folder, self._tables)
        self._files: Iterator[PushFile] = iter(files)
        self._next = next(self._files, None)
        self._size = 0
        self._given = self._batch = 0

    @classmethod
    def check(
        cls,
        spec: StrategySpec,
        layout: TableLayout,
        memory_budget: float,  # noqa: ARG003 - it adds nothing
        saved: Any = None,  # noqa: ARG003
    ) -> None:
        """Refuse a folder of which any push cannot be read, or is of other tables.

        All are read, so that a bad row is not met in the midst of a replay.
        """
        folder: Path | None = spec.params.get("folder")
        if folder is None:
            raise InputError("--strategies: found deltas without --deltas, expected their folder")
        tables = NamedTables(layout)
        for one in push_files(folder, tables):
            read_delta(one.path, tables)

    def advance(self, now_s: float) -> None:
        """Let pushes land, and begin those whose time has come as soon as the link is free."""
        self._land(now_s)
        while self._next is not None and not self._flights and self._next.version.time_s <= now_s:
            ahead = self._next.version.step - self._given
            if ahead > self._batch:
                self.served.counts.refused[Reason.STALE] += 1
                self._next = next(self._files, None)
                continue
            if ahead > 0:
                # Labels of a part of a batch may have come: once they all have, it can begin.
                break
            delta = read_delta(self._next.path, self._tables)
            self._size = self._next.size(delta)
            is_int8 = self._next.row_bytes == KEY_BYTES + SCALE_AND_OFFSET_BYTES + self.layout.dim
            self._pushes = self._of_int8 if is_int8 else self._of_fp32
            self._next = next(self._files, None)
            self.send(delta, now_s)
            self._land(now_s)

    def size(self, delta: Delta) -> int:  # noqa: ARG002 - the one that was read last
        """Return the bytes of its rows as they are encoded in the file."""
        return self._size

    def refused(self, delta: Delta) -> None:
        """Go on with the next: who recorded it did not know."""

    def learn(
        self, dense: NDArray[np.float32], sparse: NDArray[np.int32], labels: NDArray[np.int8]
    ) -> None:
        """Keep the batch for a canary; all its labels have come."""
        super().learn(dense, sparse, labels)
        self._given += len(labels)
        self._batch = max(self._batch, len(labels))

    @property
    def step(self) -> int | None:
        """Samples of the replay that went into what is served, as far as their labels are known."""
        return min(self.served.version.step, self._given)
