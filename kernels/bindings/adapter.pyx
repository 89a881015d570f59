# cython: boundscheck=False, wraparound=False, cdivision=True
"""The adapter in shared memory, and a server's lookups with it.
"""

from libc.stdint cimport INT32_MAX, int64_t

from lorabench._kernels.arrays cimport INT64, Array, array_of
from lorabench._kernels.dispatch cimport in_use
from lorabench._kernels.headers.dispatch cimport lb_kernels
from lorabench._kernels.headers.lookup cimport LB_MAX_RANK, lb_bags, lb_lora, lb_parts
from lorabench._kernels.headers.shared cimport (
    LB_PIN_BYTES, lb_adapter, lb_adapter_bytes, lb_adapter_format, lb_adapter_side, lb_pin,
    lb_reader_enter, lb_reader_leave, lb_side, lb_side_view,
)
from lorabench._kernels.headers.train cimport lb_slots, lb_slots_bytes
from lorabench._kernels.lookup cimport Batch, Tables
from lorabench._kernels.memory cimport Mapping


PIN_BYTES = LB_PIN_BYTES
MAX_RANK = LB_MAX_RANK


cdef Array ranks_of(rank, Array slots, int64_t dim):
    """Ranks int64 [F] of one rank for all tables, or of one a table; checked, as slots are."""
    import numpy as np

    cdef const int64_t *slot = <const int64_t *>slots.view.buf
    cdef const int64_t *value
    cdef Array ranks
    cdef int64_t t
    if slots.size() == 0:
        raise ValueError("slots: found none, expected one number a table")
    if not 1 <= dim < 2 ** 20:
        raise ValueError(f"dim: found {dim}, expected 1 to 2^20 - 1")
    each = np.array(np.broadcast_to(np.asarray(rank, dtype=np.int64), (slots.size(),)))
    ranks = array_of(each, "rank", INT64, 1)
    value = <const int64_t *>ranks.view.buf
    for t in range(slots.size()):
        if not 0 <= slot[t] < 2 ** 31:
            raise ValueError(f"slots: found {slot[t]} for table {t}, expected 0 to 2^31 - 1")
        if not 0 <= value[t] <= LB_MAX_RANK:
            raise ValueError(f"rank: found {value[t]}, expected 0 to {LB_MAX_RANK}")
    return ranks


def adapter_bytes(slots, rank, int64_t dim):
    cdef Array sizes = array_of(slots, "slots", INT64, 1)
    cdef Array ranks = ranks_of(rank, sizes, dim)
    return lb_adapter_bytes(sizes.size(), dim, <const int64_t *>ranks.view.buf,
                            <const int64_t *>sizes.view.buf)


cdef Array rows_of(rows, Py_ssize_t tables):
    """Rows of each table, int64 [F]; checked: slots name them as int32."""
    cdef Array array = array_of(rows, "rows", INT64, 1)
    cdef const int64_t *row = <const int64_t *>array.view.buf
    cdef Py_ssize_t t
    if array.size() != tables:
        raise ValueError(f"rows: found {array.size()}, expected {tables}, one number a table")
    for t in range(tables):
        if not 0 < row[t] <= INT32_MAX:
            raise ValueError(f"rows: found {row[t]} of table {t}, expected 1 to {INT32_MAX}")
    return array


def slot_state_bytes(slots, rows=None):
    cdef Array sizes = array_of(slots, "slots", INT64, 1)
    cdef Array all_rows = None if rows is None else rows_of(rows, sizes.size())
    cdef const int64_t *slot = <const int64_t *>sizes.view.buf
    cdef int64_t found = sizes.size() * sizeof(lb_slots)
    cdef Py_ssize_t t
    for t in range(sizes.size()):
        found += lb_slots_bytes(
            slot[t],
            all_rows is not None and slot[t] < (<const int64_t *>all_rows.view.buf)[t],
        )
    return found


def format_adapter(Mapping sides not None, slots, rank, int64_t dim):
    cdef Array sizes = array_of(slots, "slots", INT64, 1)
    cdef Array ranks = ranks_of(rank, sizes, dim)
    need = adapter_bytes(slots, rank, dim)
    if need > sides.length:
        raise ValueError(f"sides: found {sides.length} bytes, expected {need}")
    if not sides.writable:
        raise ValueError("sides: found a read-only mapping, expected a writable one")
    lb_adapter_format(<lb_adapter *>sides.address, sides.length, sizes.size(), dim,
                      <const int64_t *>ranks.view.buf, <const int64_t *>sizes.view.buf)


cdef lb_pin *pin_lines(Mapping pins, Py_ssize_t servers) except NULL:
    if not pins.writable or pins.length < servers * LB_PIN_BYTES:
        raise ValueError(
            f"pins: found {pins.length} bytes, expected {servers * LB_PIN_BYTES} writable ones"
        )
    return <lb_pin *>pins.address


def clear_pin(Mapping pins not None, Py_ssize_t server):
    if server < 0:
        raise ValueError(f"server: found {server}, expected at least 0")
    lb_reader_leave(pin_lines(pins, server + 1) + server)


cdef int check_fit(Tables tables, const lb_adapter *adapter) except -1:
    if adapter.tables != tables.count or adapter.dim != tables.dim:
        raise ValueError(
            f"tables: found {tables.count} of dim {tables.dim}, expected the adapter's "
            f"{adapter.tables} of dim {adapter.dim}"
        )
    return tables.check_narrow("tables")


cdef bint plain_fits(Tables tables, const lb_side *side) noexcept nogil:
    """Whether each plain delta has a slot for every row of its table: a row is not looked for."""
    cdef Py_ssize_t t
    for t in range(tables.count):
        if side.table[t].slots and not side.table[t].rank:
            if side.table[t].slots != tables.tables[t].rows:
                return False
    return True


cdef int misfit(Tables tables) except -1:
    raise ValueError(
        f"tables: found {tables.count} of which one has not the rows of its plain delta, "
        "expected those that the adapter was laid out for"
    )


cdef void _ask_ahead(Tables tables, lb_side *side, Py_ssize_t t, Batch batch,
                     const lb_kernels *kernels) noexcept nogil:
    """As `Tables.ask_ahead`, and where the slots of the next table are looked for as well."""
    cdef lb_bags bags
    cdef lb_lora lora
    if t < tables.count and not (batch.given and tables.features[t].reusable >= 0):
        bags = tables.bags(t, batch)
        lora = lb_side_view(side, t)
        kernels.ahead_lora(&tables.tables[t], &lora, &bags)


cdef void lookup_side(Tables tables, lb_side *side, Batch batch) noexcept nogil:
    """All tables, with the LoRA term of one side."""
    cdef const lb_kernels *kernels = in_use
    cdef Py_ssize_t t
    cdef lb_bags bags
    cdef lb_lora lora
    cdef lb_parts parts
    _ask_ahead(tables, side, 0, batch, kernels)
    for t in range(tables.count):
        _ask_ahead(tables, side, t + 1, batch, kernels)
        bags = tables.bags(t, batch)
        lora = lb_side_view(side, t)
        parts = tables.parts(t, batch)
        if parts.given:
            tables.put_given(t, batch)
        kernels.lookup_lora(&tables.tables[t], &lora, &bags, &parts,
                            batch.vectors + t * tables.dim, tables.count * tables.dim)


cdef class AdapterReader:
    cdef Mapping sides, lines
    cdef lb_adapter *adapter
    cdef lb_pin *pin

    def __cinit__(self, Mapping sides not None, Mapping pins not None, Py_ssize_t server):
        if server < 0:
            raise ValueError(f"server: found {server}, expected at least 0")
        if sides.length < <Py_ssize_t>sizeof(lb_adapter):
            raise ValueError(
                f"sides: found {sides.length} bytes, expected at least {sizeof(lb_adapter)}"
            )
        self.sides = sides
        self.lines = pins
        self.adapter = <lb_adapter *>sides.address
        self.pin = pin_lines(pins, server + 1) + server

    def lookup(self, Tables tables not None, indices, out, offsets=None, *, weights=None,
               str mode="sum", base=None):
        cdef Batch batch
        cdef lb_side *side
        cdef int64_t epoch
        cdef bint fits
        check_fit(tables, self.adapter)
        batch = tables.checked(indices, offsets, weights, mode, out, "out", True)
        tables.keep(batch, base, False)
        with nogil:
            side = lb_adapter_side(
                self.adapter, lb_reader_enter(&self.adapter.active, self.pin)
            )
            epoch = side.epoch
            fits = plain_fits(tables, side)
            if fits and batch.bags.bags:
                lookup_side(tables, side, batch)
            lb_reader_leave(self.pin)
        if not fits:
            misfit(tables)
        return epoch
