"""A source of numbered rows, which remembers how it was read."""

from collections.abc import Iterator

import numpy as np

from lorabench.workload.block import Block
from lorabench.workload.opened import Basis, SourceKind
from lorabench.workload.spec import WorkloadSpec, load_spec


class CountingSource:
    """`rows` numbered rows in blocks of `block_rows`; remembers how it was read."""

    digest = "0" * 64
    description = "numbered rows"
    kind: SourceKind = "generated"
    basis: Basis = "measured-synthetic"
    truth = None
    labelled = counted = True
    notes: tuple[str, ...] = ()

    def __init__(self, rows: int, block_rows: int, pretrain_rows: int = 100) -> None:
        self.spec: WorkloadSpec = load_spec("tiny").model_copy(
            update={"pretrain_rows": pretrain_rows}
        )
        self.starts: list[int] = []
        self.rows_read = 0
        self._rows = rows
        self._block_rows = block_rows

    def blocks(self, start: int = 0) -> Iterator[Block]:
        self.starts.append(start)
        for begin in range(start, self._rows, self._block_rows):
            number = np.arange(begin, min(begin + self._block_rows, self._rows))
            self.rows_read += len(number)
            column = number[:, None].astype(np.int32)
            dense = column.astype(np.float32)
            yield Block(np.zeros(len(number), np.int8), number * 10**6, dense, column)


def numbers(block: Block) -> list[int]:
    values: list[int] = block.dense[:, 0].tolist()
    return values
