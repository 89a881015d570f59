"""What a serving node is given: rows, and maybe a checkpoint of the user's own.

Both are opened together, since the tables say how ids become rows. ``--dry-run`` opens them too and
goes no further.
"""

from lorabench.bench.serving.options import ServingOptions
from lorabench.host.formats import format_bytes
from lorabench.model.checkpoint import Checkpoint, load_checkpoint
from lorabench.model.prepare import check_fits
from lorabench.workload.source import RowSource, open_asked

# Larger tables take longer to look through than somebody waits for a plan.
_LOOKED_THROUGH_BYTES = 4 << 30


def open_inputs(options: ServingOptions) -> tuple[Checkpoint | None, RowSource]:
    """Open what the options name.

    Raises
    ------
    InputError
        It is missing, or not what it should be.
    """
    path = options.checkpoint
    weights = None if path is None else load_checkpoint(path)
    rows = None if weights is None else weights.layout.rows
    return weights, open_asked(options, options.seed, rows)


def look_at_checkpoint(options: ServingOptions) -> list[str]:
    """Say what a checkpoint is, and refuse it for whatever a run would refuse it for.

    Its values are looked at where that takes seconds; whether it fits the rows, where rows are
    named.

    Raises
    ------
    InputError
        It cannot be served.
    """
    if options.checkpoint is None:
        return []
    if options.preset is None and options.data is None:
        weights = load_checkpoint(options.checkpoint)
    else:
        found, source = open_inputs(options)
        assert found is not None
        check_fits(found, source)
        weights = found
    lines = weights.describe()
    size = weights.layout.table_bytes
    if size > _LOOKED_THROUGH_BYTES:
        return [*lines, f"checkpoint: its {format_bytes(size)} of values are looked at by a run"]
    weights.check_values()
    return [*lines, "checkpoint: all values are finite"]
