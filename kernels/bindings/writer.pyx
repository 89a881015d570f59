# cython: boundscheck=False, wraparound=False, cdivision=True
"""The trainer's side of the adapter: it learns in the idle side, and publishes it.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from lorabench._kernels.adapter cimport (
    check_fit, lookup_side, misfit, pin_lines, plain_fits, ranks_of, rows_of,
)
from lorabench._kernels.arrays cimport (
    FLOAT32, FLOAT64, INT32, INT64, UINT32, Array, array_of, copy_of,
)
from lorabench._kernels.dispatch cimport in_use
from lorabench._kernels.headers.dispatch cimport lb_kernels
from lorabench._kernels.headers.lookup cimport (
    lb_bags, lb_index_clear, lb_index_find, lb_lora, lb_width,
)
from lorabench._kernels.headers.shared cimport (
    lb_adapter, lb_adapter_side, lb_flip, lb_pin, lb_side, lb_side_bytes, lb_side_format,
    lb_side_is_free, lb_side_lora, lb_sync_all, lb_sync_table,
)
from lorabench._kernels.headers.train cimport (
    lb_adagrad, lb_gradient, lb_rotation, lb_scratch, lb_slots, lb_slots_age, lb_slots_bytes,
    lb_slots_clean, lb_slots_clear, lb_slots_free, lb_slots_gram, lb_slots_move, lb_slots_new,
    lb_number_rows, lb_slots_put,
)
from lorabench._kernels.lookup cimport Batch, Tables
from lorabench._kernels.memory cimport Mapping
from lorabench._kernels.train cimport Scratch


cdef class AdapterWriter:
    cdef Mapping sides, lines
    cdef lb_adapter *adapter
    cdef lb_pin *pins
    cdef readonly Py_ssize_t servers
    cdef lb_slots *slots
    cdef Array rows
    cdef bint pruned
    cdef bint writing, differs
    cdef readonly int64_t epoch
    cdef readonly int64_t deferred
    cdef Scratch scratch

    def __cinit__(self, Mapping sides not None, Mapping pins not None, Py_ssize_t servers,
                  rows=None):
        cdef lb_side *side
        cdef Py_ssize_t t
        if not sides.writable or sides.length < <Py_ssize_t>sizeof(lb_adapter):
            raise ValueError(
                f"sides: found {sides.length} bytes, "
                f"expected at least {sizeof(lb_adapter)} writable ones"
            )
        if servers < 0:
            raise ValueError(f"servers: found {servers}, expected at least 0")
        self.sides = sides
        self.lines = pins
        self.adapter = <lb_adapter *>sides.address
        self.pins = pin_lines(pins, servers)
        self.servers = servers
        self.pruned = rows is not None
        if self.pruned:
            self.rows = rows_of(rows, self.adapter.tables)
        self.scratch = Scratch()
        self.slots = <lb_slots *>calloc(max(1, self.adapter.tables), sizeof(lb_slots))
        if self.slots == NULL:
            raise MemoryError
        side = self.active()
        for t in range(self.adapter.tables):
            self.new_slots(&self.slots[t], t, side.table[t].slots, <uint32_t>t)
        self.epoch = side.epoch
        self.differs = True

    def __dealloc__(self):
        cdef Py_ssize_t t
        if self.slots != NULL:
            for t in range(self.adapter.tables):
                lb_slots_free(&self.slots[t])
        free(self.slots)

    cdef int new_slots(self, lb_slots *slots, Py_ssize_t t, int64_t count,
                       uint32_t seed) except -1:
        """Give table t empty bookkeeping for `count` slots; it counts rows that have none."""
        pruned = self.pruned and count < (<const int64_t *>self.rows.view.buf)[t]
        if not lb_slots_new(slots, count, pruned, seed):
            raise MemoryError
        return 0

    cdef int check_table(self, Py_ssize_t t) except -1:
        if not 0 <= t < self.adapter.tables:
            raise IndexError(f"table: found {t}, expected 0 to {self.adapter.tables - 1}")
        return 0

    cdef lb_side *active(self) noexcept:
        return lb_adapter_side(self.adapter, self.adapter.active)

    cdef lb_side *idle(self) except NULL:
        if not self.writing:
            raise RuntimeError("the idle side is read and written only between begin and publish")
        return lb_adapter_side(self.adapter, 1 - self.adapter.active)

    def seed(self, seeds):
        cdef Array each = array_of(seeds, "seeds", UINT32, 1)
        cdef Py_ssize_t t
        if each.size() != self.adapter.tables:
            raise ValueError(f"seeds: found {each.size()}, expected {self.adapter.tables}")
        for t in range(self.adapter.tables):
            self.slots[t].random = (<const uint32_t *>each.view.buf)[t]

    @property
    def used(self):
        return [self.slots[t].used for t in range(self.adapter.tables)]

    @property
    def rank(self):
        side = self.active()
        return [side.table[t].rank for t in range(self.adapter.tables)]

    def begin(self):
        cdef int64_t active = self.adapter.active
        cdef Py_ssize_t t
        if self.writing:
            return True
        if not lb_side_is_free(self.pins, self.servers, 1 - active):
            self.deferred += 1
            return False
        with nogil:
            if self.differs:
                lb_sync_all(self.adapter, active, 1 - active)
                for t in range(self.adapter.tables):
                    lb_slots_clean(&self.slots[t])
            else:
                for t in range(self.adapter.tables):
                    lb_sync_table(lb_adapter_side(self.adapter, active),
                                  lb_adapter_side(self.adapter, 1 - active), t, &self.slots[t])
        self.differs = False
        self.writing = True
        return True

    def lookup(self, Tables tables not None, indices, out, offsets=None, *, weights=None,
               str mode="sum", base=None):
        cdef lb_side *side = self.idle()
        cdef Batch batch
        check_fit(tables, self.adapter)
        batch = tables.checked(indices, offsets, weights, mode, out, "out", True)
        tables.keep(batch, base, True)
        if not plain_fits(tables, side):
            misfit(tables)
        if batch.bags.bags:
            with nogil:
                lookup_side(tables, side, batch)

    def learn(self, Tables tables not None, indices, grad, *, float learning_rate, float epsilon,
              initial_accumulator, plain_rate=None, offsets=None, weights=None, str mode="sum",
              basis_grad=None):
        cdef lb_side *side = self.idle()
        cdef Batch batch
        cdef Array start = array_of(initial_accumulator, "initial_accumulator", FLOAT32, 1)
        cdef Array basis = None
        cdef lb_scratch scratch
        cdef lb_adagrad rule
        cdef int64_t refused
        check_fit(tables, self.adapter)
        if not plain_fits(tables, side):
            misfit(tables)
        batch = tables.checked(indices, offsets, weights, mode, grad, "grad", False)
        if start.size() != tables.count:
            raise ValueError(
                f"initial_accumulator: found {start.size()} entries, expected {tables.count}"
            )
        if basis_grad is not None:
            basis = array_of(basis_grad, "basis_grad", FLOAT32, 3, writable=True)
            if basis.shape != (tables.count, max(self.rank), tables.dim):
                raise ValueError(
                    f"basis_grad: found shape {basis.shape}, expected "
                    f"[{tables.count}, {max(self.rank)}, {tables.dim}]"
                )
        if batch.positions == 0:
            return 0
        scratch = self.scratch.fit(batch.positions, max(1, max(self._widths(side))))
        rule.learning_rate = learning_rate
        rule.plain_rate = learning_rate if plain_rate is None else plain_rate
        rule.epsilon = epsilon
        with nogil:
            refused = self.learn_side(side, tables, batch, &rule, <const float *>start.view.buf,
                                      basis, &scratch)
        return refused

    cdef list _widths(self, lb_side *side):
        """Floats of a row of each table's A."""
        cdef lb_lora lora
        cdef Py_ssize_t t
        found = []
        for t in range(self.adapter.tables):
            lora = lb_side_lora(side, t)
            found.append(lb_width(&lora, self.adapter.dim))
        return found

    cdef int64_t learn_side(self, lb_side *side, Tables tables, Batch batch, lb_adagrad *rule,
                            const float *start, Array basis, lb_scratch *scratch) noexcept nogil:
        cdef const lb_kernels *kernels = in_use
        cdef lb_gradient by
        cdef lb_lora lora
        cdef lb_bags bags
        cdef Py_ssize_t t
        cdef int64_t refused = 0
        by.stride = tables.count * tables.dim
        by.basis_grad = NULL
        for t in range(tables.count):
            rule.initial_accumulator = start[t]
            by.grad = batch.vectors + t * tables.dim
            if basis is not None:
                by.basis_grad = (<float *>basis.view.buf
                                 + t * basis.view.shape[1] * basis.view.shape[2])
            bags = tables.bags(t, batch)
            lora = lb_side_lora(side, t)
            refused += kernels.lora_backward(&lora, &self.slots[t], tables.dim, &bags, &by, rule,
                                             scratch)
            side.table[t].used = self.slots[t].used
        return refused

    def set_basis(self, basis):
        cdef lb_side *side = self.idle()
        cdef Array bases = array_of(basis, "basis", FLOAT32, 3)
        cdef int64_t dim = self.adapter.dim
        cdef Py_ssize_t t
        cdef lb_lora lora
        if bases.size() != self.adapter.tables or bases.size(2) != dim:
            raise ValueError(
                f"basis: found shape {bases.shape}, expected [{self.adapter.tables}, R, {dim}]"
            )
        for t in range(self.adapter.tables):
            if side.table[t].rank > bases.size(1):
                raise ValueError(
                    f"basis: found {bases.size(1)} directions, expected {side.table[t].rank}"
                )
        for t in range(self.adapter.tables):
            lora = lb_side_lora(side, t)
            if lora.rank:
                memcpy(lora.B, <const float *>bases.view.buf + t * bases.size(1) * dim,
                       <size_t>(lora.rank * dim) * sizeof(float))
        self._clear(side)

    def clear(self):
        self._clear(self.idle())

    cdef _clear(self, lb_side *side):
        """Forget every row: the adapter serves the base tables again."""
        cdef Py_ssize_t t
        cdef lb_lora lora
        for t in range(self.adapter.tables):
            if self.slots[t].slots == 0:
                continue
            lora = lb_side_lora(side, t)
            if not lora.plain:
                lb_index_clear(&lora.index)
            side.table[t].used = 0
            lb_slots_clear(&self.slots[t])
        self.differs = True

    def relayout(self, slots, ranks, list keep not None, basis, turn):
        cdef lb_side *target = self.idle()
        cdef Array sizes = array_of(slots, "slots", INT64, 1)
        cdef Array rank
        cdef Array bases = array_of(basis, "basis", FLOAT32, 3)
        cdef Array turns = array_of(turn, "turn", FLOAT32, 3)
        cdef const int64_t *slot = <const int64_t *>sizes.view.buf
        cdef const int64_t *each
        cdef Py_ssize_t tables = self.adapter.tables, t
        cdef int64_t dim = self.adapter.dim, need
        if sizes.size() != tables or len(keep) != tables:
            raise ValueError(
                f"slots and keep: found {sizes.size()} and {len(keep)}, expected {tables}"
            )
        rank = ranks_of(ranks, sizes, dim)
        each = <const int64_t *>rank.view.buf
        need = lb_side_bytes(tables, dim, each, slot)
        if need > self.adapter.side_bytes:
            raise ValueError(
                f"slots: found a layout of {need} bytes a side, "
                f"expected at most {self.adapter.side_bytes}"
            )
        self._check_rotation(bases, turns, max([each[t] for t in range(tables)]))
        for t in range(tables):
            self._check_plain(t, each[t], slot[t])
        chosen = [self._kept_slots(keep[t], t, slot[t]) for t in range(tables)]
        epoch = target.epoch
        lb_side_format(target, tables, dim, each, slot)
        target.epoch = epoch
        for t in range(tables):
            self._move(target, t, chosen[t], bases, turns)
        self.differs = True

    cdef _check_rotation(self, Array basis, Array turn, int64_t most):
        cdef Py_ssize_t tables = self.adapter.tables
        cdef int64_t old = max(self.rank)
        if basis.size() != tables or basis.size(1) < most or basis.size(2) != self.adapter.dim:
            raise ValueError(
                f"basis: found shape {basis.shape}, expected [{tables}, {most}, {self.adapter.dim}]"
            )
        if turn.size() != tables or turn.size(1) < old or turn.size(2) < most:
            raise ValueError(
                f"turn: found shape {turn.shape}, expected [{tables}, {old}, {most}]"
            )

    cdef _check_plain(self, Py_ssize_t t, int64_t rank, int64_t slots):
        """A plain delta stays one, with as many rows: a server looks for none of them."""
        cdef const lb_side *side = self.active()
        before = (side.table[t].slots, side.table[t].rank)
        is_plain = [rank == 0 and slots > 0, before[1] == 0 and before[0] > 0]
        if any(is_plain) and (slots, rank) != before:
            raise ValueError(
                f"slots and rank of table {t}: found {slots} and {rank} after {before[0]} and "
                f"{before[1]}, expected a plain delta (rank 0) to stay as it is"
            )

    cdef Array _kept_slots(self, keep, Py_ssize_t t, int64_t slots):
        """Table t's slots whose rows stay: in use, and each once."""
        cdef Array kept = array_of(keep, f"keep[{t}]", INT32, 1)
        cdef const int32_t *slot = <const int32_t *>kept.view.buf
        cdef int64_t n = kept.size(), i, used = self.active().table[t].used
        if n > slots:
            raise ValueError(f"keep[{t}]: found {n} slots, expected at most {slots}")
        plain = self.active().table[t].rank == 0
        if n and plain and [slot[i] for i in range(n)] != list(range(used)):
            raise ValueError(f"keep[{t}]: found some slots of a plain delta, expected all or none")
        seen = {slot[i] for i in range(n)}
        if len(seen) != n or (seen and not 0 <= min(seen) <= max(seen) < used):
            raise ValueError(
                f"keep[{t}]: found slots that repeat or are not in use, expected some of {used}"
            )
        return kept

    cdef _move(self, lb_side *target, Py_ssize_t t, Array kept, Array basis, Array turn):
        """Take table t's kept slots over into the new layout."""
        cdef lb_lora old = lb_side_lora(self.active(), t), new = lb_side_lora(target, t)
        cdef lb_slots fresh
        cdef lb_rotation by
        by.basis = <const float *>basis.view.buf + t * basis.size(1) * basis.size(2)
        by.turn = <const float *>turn.view.buf + t * turn.size(1) * turn.size(2)
        by.stride = turn.size(2)
        self.new_slots(&fresh, t, target.table[t].slots, self.slots[t].random)
        lb_slots_move(&self.slots[t], &old, <const int32_t *>kept.view.buf, kept.size(), &by,
                      &fresh, &new, self.adapter.dim)
        target.table[t].used = fresh.used
        lb_slots_free(&self.slots[t])
        self.slots[t] = fresh

    def put(self, Py_ssize_t t, rows, A, accumulator=None):
        cdef lb_side *side = self.idle()
        cdef Array keys = array_of(rows, "rows", INT32, 1)
        cdef Array values = array_of(A, "A", FLOAT32, 2)
        cdef Array sums = (None if accumulator is None
                           else array_of(accumulator, "accumulator", FLOAT32, 1))
        cdef const int32_t *row = <const int32_t *>keys.view.buf
        cdef lb_slots *slots
        cdef lb_lora lora
        cdef int64_t n = keys.size(), i
        self.check_table(t)
        slots = &self.slots[t]
        lora = lb_side_lora(side, t)
        if lora.plain:
            raise ValueError(f"table {t}: found a plain delta, expected rows with slots")
        if values.shape != (n, lora.rank):
            raise ValueError(f"A: found shape {values.shape}, expected [{n}, {lora.rank}]")
        if sums is not None and sums.size() != n:
            raise ValueError(f"accumulator: found {sums.size()} entries, expected {n}, one a row")
        if n > slots.slots - slots.used:
            raise ValueError(
                f"rows: found {n}, expected at most {slots.slots - slots.used}, "
                "as many as there are free slots"
            )
        for i in range(n):
            if row[i] < 0 or lb_index_find(&lora.index, row[i]) >= 0:
                raise ValueError(f"rows: found {row[i]}, expected rows from 0, each once")
            lb_slots_put(slots, &lora, row[i], <const float *>values.view.buf + i * lora.rank,
                         0 if sums is None else (<const float *>sums.view.buf)[i])
            side.table[t].used = slots.used
        self.differs = True

    def put_plain(self, Py_ssize_t t, delta, accumulator):
        cdef lb_side *side = self.idle()
        cdef Array values = array_of(delta, "delta", FLOAT32, 2)
        cdef Array sums = array_of(accumulator, "accumulator", FLOAT32, 1)
        cdef lb_slots *slots
        cdef lb_lora lora
        self.check_table(t)
        slots = &self.slots[t]
        lora = lb_side_lora(side, t)
        if not lora.plain or values.shape != (slots.slots, self.adapter.dim):
            raise ValueError(
                f"delta: found shape {values.shape}, expected "
                f"[{slots.slots if lora.plain else 0}, {self.adapter.dim}]"
            )
        if sums.size() != slots.slots:
            raise ValueError(
                f"accumulator: found {sums.size()} entries, expected {slots.slots}, one a row"
            )
        memcpy(lora.A, values.view.buf, <size_t>values.view.len)
        memcpy(slots.accumulator, sums.view.buf, <size_t>sums.view.len)
        lb_number_rows(slots)
        side.table[t].used = slots.used
        self.differs = True

    def rewrite(self, Py_ssize_t t, A):
        cdef lb_side *side = self.idle()
        cdef Array values = array_of(A, "A", FLOAT32, 2)
        cdef lb_lora lora
        self.check_table(t)
        lora = lb_side_lora(side, t)
        shape = (self.slots[t].used, lb_width(&lora, self.adapter.dim))
        if values.shape != shape:
            raise ValueError(f"A: found shape {values.shape}, expected [{shape[0]}, {shape[1]}]")
        memcpy(lora.A, values.view.buf, <size_t>values.view.len)
        self.differs = True

    def decay(self, float accumulators=1.0):
        if not 0 < accumulators <= 1:
            raise ValueError(f"accumulators: found {accumulators}, expected above 0 and at most 1")
        cdef Py_ssize_t t
        cdef lb_side *side = self.active()
        cdef lb_lora lora
        with nogil:
            for t in range(self.adapter.tables):
                lora = lb_side_lora(side, t)
                lb_slots_age(&self.slots[t], &lora, side.table[t].used, accumulators)

    def slot_state(self, Py_ssize_t t):
        cdef lb_slots *slots
        self.check_table(t)
        slots = &self.slots[t]
        shape = (slots.used,)
        return (
            copy_of(slots.accumulator, shape, "float32"),
            copy_of(slots.slot_row, shape, "int32"),
            copy_of(slots.lookup_counts, shape, "uint16"),
        )

    @property
    def state_bytes(self):
        cdef int64_t found = self.adapter.tables * sizeof(lb_slots)
        cdef Py_ssize_t t
        for t in range(self.adapter.tables):
            found += lb_slots_bytes(self.slots[t].slots, self.slots[t].sketch.counters != NULL)
        return found, <int64_t>sizeof(lb_adapter) + 2 * self.active().bytes

    def gram(self, Py_ssize_t t):
        import numpy as np

        cdef lb_side *side = self.active()
        cdef lb_lora lora
        cdef Array sums
        self.check_table(t)
        lora = lb_side_lora(side, t)
        total = np.zeros((lora.rank, lora.rank))
        sums = array_of(total, "total", FLOAT64, 2)
        with nogil:
            lb_slots_gram(&lora, side.table[t].used, <double *>sums.view.buf)
        return total

    def basis(self, Py_ssize_t t):
        cdef lb_lora lora
        self.check_table(t)
        lora = lb_side_lora(self.active(), t)
        return copy_of(lora.B, (lora.rank, self.adapter.dim), "float32")

    def publish(self):
        cdef lb_side *side = self.idle()
        self.epoch += 1
        side.epoch = self.epoch
        lb_flip(&self.adapter.active, 1 - self.adapter.active)
        self.writing = False
        return self.epoch

    def arrays(self, Py_ssize_t t):
        cdef lb_side *side = self.active()
        cdef lb_lora lora
        cdef int32_t used
        self.check_table(t)
        lora = lb_side_lora(side, t)
        used = side.table[t].used
        return (
            copy_of(lora.A, (used, lb_width(&lora, self.adapter.dim)), "float32"),
            self.basis(t),
            copy_of(self.slots[t].slot_row, (used,), "int32"),
        )
