"""Which rows of a stream a model is pre-trained on, and where it begins to serve."""

from lorabench.errors import InputError
from lorabench.workload.block import Block
from lorabench.workload.source import MINIMUM_ROWS, RowSource


def split_pretrain(source: RowSource, rows: int | None = None) -> tuple[Block, int]:
    """Divide a stream into rows to pre-train on and rows to serve.

    Parameters
    ----------
    source : RowSource
        At most twice its ``spec.pretrain_rows`` rows are read, and whatever ends their block.
    rows : int, optional
        Pre-train on so many, however few are left to serve.

    Returns
    -------
    rows : Block
        By default the first min(spec.pretrain_rows, half of the available rows) rows.
    serving_start : int
        Row of the source at which serving starts.

    Raises
    ------
    InputError
        Fewer than `MINIMUM_ROWS` rows in all, or none left to serve.
    """
    wanted = source.spec.pretrain_rows if rows is None else rows
    enough = 2 * wanted if rows is None else wanted + 1
    head: list[Block] = []
    seen = 0
    for block in source.blocks():
        if seen < max(wanted, 1):
            head.append(block)
        seen += len(block)
        if seen >= max(enough, MINIMUM_ROWS):
            break
    if seen < MINIMUM_ROWS:
        raise InputError(
            f"{source.description}: found {seen} rows, expected at least {MINIMUM_ROWS}, "
            "some to pre-train on and some to serve"
        )
    if rows is not None and seen <= rows:
        raise InputError(
            f"{source.description}: found {seen} rows, expected more than the {rows} "
            "to pre-train on"
        )
    count = min(wanted, seen // 2) if rows is None else rows
    return Block.concat(head).slice(0, count).by_row(), count
