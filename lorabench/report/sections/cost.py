"""The section on what pushes cost, of ``freshness --cost-only``."""

from collections.abc import Iterator

from lorabench.report.content import Section, Table
from lorabench.report.numbers import Scale
from lorabench.report.sections.reader import Reader

_COLUMNS = {
    "sync_bytes": ("a push", Scale(1e12, "TB")),
    "sync_s": ("takes", Scale(60.0, "min")),
    "sync_bytes_per_s": ("to send", Scale(1e9, "GB/s")),
    "link_load": ("over what the link carries", Scale(1.0, "")),
    "sync_period_s": ("settles at a push every", Scale(60.0, "min")),
    "sync_settled_s": ("which takes", Scale(60.0, "min")),
}


def cost(reader: Reader) -> Iterator[Section]:
    """Lay out what each strategy sends of some tables over some links, and what that comes to."""
    cases = [one.condition for one in reader.metrics("link_load")]
    if not cases:
        return
    rows = []
    for case in cases:
        found = {name: reader.metric(name, case) for name in _COLUMNS}
        cells = (
            _COLUMNS[name][1].write(one.estimate if one else None) for name, one in found.items()
        )
        rows.append((case, *cells))
    head = ("strategy, tables, links", *(scale.named(what) for what, scale in _COLUMNS.values()))
    yield Section("What pushes cost", tables=(Table.of("Computed, not measured", head, rows),))
