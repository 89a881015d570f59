# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The seam between Python and the C headers beside this file.

Types, argument checks and the release of the GIL are here; the algorithms are in the headers.
The documentation for callers is in ``lorabench/_hotpath.pyi``.
"""

from cpython.buffer cimport PyBUF_WRITABLE
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from posix.mman cimport munmap

import os


cdef extern from "pages.h" nogil:
    size_t LB_HUGE_PAGE
    int MADV_HUGEPAGE, MADV_COLLAPSE, MADV_POPULATE_READ
    void *lb_map(int fd, size_t length, int writable)
    void lb_sleep_until(int64_t deadline_ns)
    int lb_set_timer_slack(unsigned long ns)
    int madvise(void *address, size_t length, int advice)

cdef extern from "<errno.h>" nogil:
    int errno

cdef extern from "adapter.h" nogil:
    int LB_MAX_RANK
    int LB_PIN_BYTES

    ctypedef struct lb_entry:
        pass

    ctypedef struct lb_index:
        lb_entry *entries
        int64_t capacity

    ctypedef struct lb_bags:
        const int32_t *indices
        int64_t index_stride
        const int64_t *offsets
        int64_t bags

    ctypedef struct lb_lora:
        float *A
        float *B
        lb_index index
        int32_t rank

    ctypedef struct lb_slots:
        float *accumulator
        int32_t *slot_row
        uint8_t *dirty
        int32_t slots
        int32_t used

    ctypedef struct lb_scratch:
        float *sums
        int32_t *touched
        lb_index seen

    ctypedef struct lb_adagrad:
        float learning_rate
        float epsilon
        float initial_accumulator

    ctypedef struct lb_pin:
        int64_t side

    ctypedef struct lb_side_table:
        int64_t capacity
        int32_t rank
        int32_t slots
        int32_t used

    ctypedef struct lb_side:
        int64_t epoch
        lb_side_table *table

    ctypedef struct lb_adapter:
        int64_t active
        int64_t side_bytes
        int64_t tables
        int64_t dim

    int64_t lb_bad_index(const lb_bags *bags, int64_t rows)
    void lb_lookup(const float *weights, int64_t dim, const lb_bags *bags, float *out,
                   int64_t out_stride)
    void lb_lookup_lora(const float *weights, int64_t dim, const lb_lora *lora,
                        const lb_bags *bags, float *out, int64_t out_stride)
    int64_t lb_lora_backward(lb_lora *lora, lb_slots *slots, int64_t dim, const lb_bags *bags,
                             const float *grad, int64_t grad_stride, const lb_adagrad *rule,
                             lb_scratch *scratch)
    void lb_index_clear(const lb_index *index)
    int64_t lb_index_capacity(int64_t slots)
    int64_t lb_reader_enter(const int64_t *active, lb_pin *pin)
    void lb_reader_leave(lb_pin *pin)
    int lb_side_is_free(const lb_pin *pins, int64_t readers, int64_t side)
    void lb_flip(int64_t *active, int64_t side)
    int64_t lb_adapter_bytes(int64_t tables, int64_t dim, int64_t rank, const int64_t *slots)
    void lb_adapter_format(lb_adapter *adapter, int64_t tables, int64_t dim, int64_t rank,
                           const int64_t *slots)
    lb_side *lb_adapter_side(lb_adapter *adapter, int64_t side)
    lb_lora lb_side_lora(lb_side *side, int64_t t)
    lb_lora lb_side_view(lb_side *side, int64_t t)
    void lb_sync_table(lb_side *source, lb_side *target, int64_t t, lb_slots *slots)
    void lb_sync_all(lb_adapter *adapter, int64_t source, int64_t target)

cdef extern from "ring.h" nogil:
    ctypedef struct lb_ring_state:
        uint64_t head
        uint64_t dropped
        uint64_t tail

    ctypedef struct lb_ring_key:
        int64_t sample
        int64_t served_ns

    ctypedef struct lb_ring:
        lb_ring_state *state
        char *records
        int64_t capacity
        int64_t dense
        int64_t sparse

    int64_t lb_ring_record_bytes(int64_t dense, int64_t sparse)
    int lb_ring_append(const lb_ring *ring, int64_t first, int64_t n, int64_t served_ns,
                       const float *dense, const int32_t *sparse)
    int64_t lb_ring_take(const lb_ring *ring, int64_t before_ns, int64_t most, lb_ring_key *keys,
                         float *dense, int32_t *sparse)
    int64_t lb_ring_due(const lb_ring *ring, int64_t before_ns)
    void lb_ring_skip(const lb_ring *ring, int64_t n)


HUGE_PAGE_BYTES = LB_HUGE_PAGE
PIN_BYTES = LB_PIN_BYTES
MAX_RANK = LB_MAX_RANK


def sleep_until(int64_t deadline_ns):
    with nogil:
        lb_sleep_until(deadline_ns)


def set_timer_slack(unsigned long slack_ns):
    if lb_set_timer_slack(slack_ns) != 0:
        raise OSError(errno, os.strerror(errno))


cdef class Mapping:
    cdef void *address
    cdef readonly Py_ssize_t length
    cdef readonly bint writable
    cdef Py_ssize_t shape[1]

    def __cinit__(self, int fd, Py_ssize_t length, *, bint writable=False):
        if length <= 0:
            raise ValueError(f"length: found {length}, expected a positive number of bytes")
        self.address = lb_map(fd, <size_t>length, writable)
        if self.address == NULL:
            raise OSError(errno, os.strerror(errno))
        self.length = length
        self.writable = writable
        self.shape[0] = length

    def __dealloc__(self):
        if self.address != NULL:
            munmap(self.address, <size_t>self.length)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        if (flags & PyBUF_WRITABLE) and not self.writable:
            raise BufferError("the mapping is read-only")
        buffer.buf = self.address
        buffer.obj = self
        buffer.len = self.length
        buffer.readonly = not self.writable
        buffer.itemsize = 1
        buffer.format = b"B"
        buffer.ndim = 1
        buffer.shape = self.shape
        buffer.strides = &buffer.itemsize
        buffer.suboffsets = NULL
        buffer.internal = NULL

    @property
    def start(self):
        return <size_t>self.address

    def _advise(self, int advice):
        cdef int failed
        with nogil:
            failed = madvise(self.address, <size_t>self.length, advice)
        if failed:
            raise OSError(errno, os.strerror(errno))

    def advise_huge(self):
        self._advise(MADV_HUGEPAGE)

    def collapse(self):
        self._advise(MADV_COLLAPSE)

    def populate(self):
        self._advise(MADV_POPULATE_READ)


cdef class Tables:
    cdef readonly tuple arrays
    cdef readonly int64_t dim
    cdef readonly Py_ssize_t count
    cdef const float **weights
    cdef int64_t *rows

    def __cinit__(self, arrays):
        cdef const float[:, ::1] table
        self.arrays = tuple(arrays)
        self.count = len(self.arrays)
        if self.count == 0:
            raise ValueError("arrays: found no table, expected at least one")
        self.dim = self.arrays[0].shape[1]
        self.weights = <const float **>calloc(self.count, sizeof(float *))
        self.rows = <int64_t *>calloc(self.count, sizeof(int64_t))
        if self.weights == NULL or self.rows == NULL:
            raise MemoryError
        for t, array in enumerate(self.arrays):
            if array.ndim != 2 or array.shape[0] == 0 or array.shape[1] != self.dim:
                raise ValueError(
                    f"arrays[{t}]: found shape {array.shape}, expected [V, {self.dim}] with V > 0"
                )
            table = array
            self.weights[t] = &table[0, 0]
            self.rows[t] = table.shape[0]

    def __dealloc__(self):
        free(self.weights)
        free(self.rows)

    cdef lb_bags bags(self, Py_ssize_t t, const int32_t *indices, const int64_t *offsets,
                      int64_t batch) noexcept nogil:
        """Table t's bags: column t of [B, F], or segment t of the flat layout."""
        cdef lb_bags found
        found.bags = batch
        if offsets == NULL:
            found.indices = indices + t
            found.index_stride = self.count
            found.offsets = NULL
        else:
            found.indices = indices
            found.index_stride = 1
            found.offsets = offsets + t * batch
        return found

    cdef _Batch checked(self, indices, offsets, vectors, str name, bint writable):
        """Check a batch against these tables before anything is read or written through it."""
        cdef _Batch batch = _Batch()
        cdef lb_bags bags
        cdef int64_t bad
        cdef Py_ssize_t t, i
        if vectors.ndim != 3 or vectors.shape[1] != self.count or vectors.shape[2] != self.dim:
            raise ValueError(
                f"{name}: found shape {vectors.shape}, expected [B, {self.count}, {self.dim}]"
            )
        batch.size = vectors.shape[0]
        if writable:
            batch.out = vectors
        else:
            batch.vectors = vectors
        if offsets is None:
            if indices.ndim != 2 or tuple(indices.shape) != (batch.size, self.count):
                raise ValueError(
                    f"indices: found shape {indices.shape}, expected "
                    f"[{batch.size}, {self.count}] as {name} has"
                )
            batch.matrix = indices
            if batch.size:
                batch.indices = &batch.matrix[0, 0]
            batch.positions = batch.size
        else:
            if indices.ndim != 1:
                raise ValueError(f"indices: found {indices.ndim} axes, expected 1 with offsets")
            if offsets.ndim != 1 or offsets.shape[0] != batch.size * self.count + 1:
                raise ValueError(
                    f"offsets: found shape {offsets.shape}, expected "
                    f"[F * B + 1] = [{batch.size * self.count + 1}]"
                )
            batch.flat = indices
            batch.bounds = offsets
            if batch.bounds[0] != 0:
                raise ValueError(f"offsets[0]: found {batch.bounds[0]}, expected 0")
            for i in range(1, batch.bounds.shape[0]):
                if batch.bounds[i] < batch.bounds[i - 1]:
                    raise ValueError(
                        f"offsets[{i}]: found {batch.bounds[i]} after {batch.bounds[i - 1]}, "
                        "expected offsets that do not decrease"
                    )
            if batch.bounds[batch.bounds.shape[0] - 1] != indices.shape[0]:
                raise ValueError(
                    f"offsets[-1]: found {batch.bounds[batch.bounds.shape[0] - 1]}, "
                    f"expected the number of indices, {indices.shape[0]}"
                )
            if indices.shape[0]:
                batch.indices = &batch.flat[0]
            batch.offsets = &batch.bounds[0]
            for t in range(self.count):
                batch.positions = max(
                    batch.positions,
                    batch.bounds[(t + 1) * batch.size] - batch.bounds[t * batch.size],
                )
        for t in range(self.count):
            bags = self.bags(t, batch.indices, batch.offsets, batch.size)
            with nogil:
                bad = lb_bad_index(&bags, self.rows[t])
            if bad >= 0:
                raise IndexError(
                    f"indices of table {t}: found {bags.indices[bad * bags.index_stride]} at "
                    f"position {bad}, expected 0 to {self.rows[t] - 1}"
                )
        return batch

    def lookup(self, indices, out, offsets=None):
        cdef _Batch batch = self.checked(indices, offsets, out, "out", True)
        cdef Py_ssize_t t
        cdef lb_bags bags
        cdef float *to
        if batch.size == 0:
            return
        to = &batch.out[0, 0, 0]
        with nogil:
            for t in range(self.count):
                bags = self.bags(t, batch.indices, batch.offsets, batch.size)
                lb_lookup(self.weights[t], self.dim, &bags, to + t * self.dim,
                          self.count * self.dim)

    cdef void lookup_side(self, lb_side *side, _Batch batch) noexcept nogil:
        cdef Py_ssize_t t
        cdef lb_bags bags
        cdef lb_lora lora
        cdef float *to = &batch.out[0, 0, 0]
        for t in range(self.count):
            bags = self.bags(t, batch.indices, batch.offsets, batch.size)
            lora = lb_side_view(side, t)
            lb_lookup_lora(self.weights[t], self.dim, &lora, &bags, to + t * self.dim,
                           self.count * self.dim)


cdef class _Batch:
    """A checked batch: the views keep the memory alive, the pointers are what kernels use."""

    cdef const int32_t[:, ::1] matrix
    cdef const int32_t[::1] flat
    cdef const int64_t[::1] bounds
    cdef float[:, :, ::1] out
    cdef const float[:, :, ::1] vectors
    cdef const int32_t *indices
    cdef const int64_t *offsets
    cdef int64_t size
    cdef int64_t positions


def adapter_bytes(const int64_t[::1] slots, int64_t rank, int64_t dim):
    if not 1 <= rank <= LB_MAX_RANK:
        raise ValueError(f"rank: found {rank}, expected 1 to {LB_MAX_RANK}")
    return lb_adapter_bytes(slots.shape[0], dim, rank, &slots[0])


def format_adapter(Mapping sides, const int64_t[::1] slots, int64_t rank, int64_t dim):
    if adapter_bytes(slots, rank, dim) > sides.length:
        raise ValueError(
            f"sides: found {sides.length} bytes, expected {adapter_bytes(slots, rank, dim)}"
        )
    if not sides.writable:
        raise ValueError("sides: found a read-only mapping, expected a writable one")
    memset(sides.address, 0, <size_t>sides.length)
    lb_adapter_format(<lb_adapter *>sides.address, slots.shape[0], dim, rank, &slots[0])


cdef lb_pin *_pins(Mapping pins, Py_ssize_t servers) except NULL:
    if not pins.writable or pins.length < servers * LB_PIN_BYTES:
        raise ValueError(
            f"pins: found {pins.length} bytes, expected {servers * LB_PIN_BYTES} writable ones"
        )
    return <lb_pin *>pins.address


def clear_pin(Mapping pins, Py_ssize_t server):
    lb_reader_leave(_pins(pins, server + 1) + server)


cdef class AdapterReader:
    cdef Mapping sides, lines
    cdef lb_adapter *adapter
    cdef lb_pin *pin

    def __cinit__(self, Mapping sides, Mapping pins, Py_ssize_t server):
        self.sides = sides
        self.lines = pins
        self.adapter = <lb_adapter *>sides.address
        self.pin = _pins(pins, server + 1) + server

    def lookup(self, Tables tables, indices, out, offsets=None):
        cdef _Batch batch = tables.checked(indices, offsets, out, "out", True)
        cdef lb_side *side
        cdef int64_t epoch
        if self.adapter.tables != tables.count or self.adapter.dim != tables.dim:
            raise ValueError(
                f"tables: found {tables.count} of dim {tables.dim}, expected the adapter's "
                f"{self.adapter.tables} of dim {self.adapter.dim}"
            )
        with nogil:
            side = lb_adapter_side(
                self.adapter, lb_reader_enter(&self.adapter.active, self.pin)
            )
            epoch = side.epoch
            if batch.size:
                tables.lookup_side(side, batch)
            lb_reader_leave(self.pin)
        return epoch


cdef class AdapterWriter:
    cdef Mapping sides, lines
    cdef lb_adapter *adapter
    cdef lb_pin *pins
    cdef readonly Py_ssize_t servers
    cdef lb_slots *slots
    cdef bint writing, differs
    cdef readonly int64_t epoch
    cdef readonly int64_t deferred
    cdef float[::1] accumulators
    cdef int32_t[::1] slot_rows
    cdef uint8_t[::1] dirty
    cdef float[::1] sums
    cdef int32_t[::1] touched
    cdef int32_t[:, ::1] seen
    cdef int64_t reserved

    def __cinit__(self, Mapping sides, Mapping pins, Py_ssize_t servers, accumulators,
                  slot_rows, dirty):
        cdef lb_side *side
        cdef Py_ssize_t t
        cdef int64_t at = 0
        if not sides.writable:
            raise ValueError("sides: found a read-only mapping, expected a writable one")
        self.sides = sides
        self.lines = pins
        self.adapter = <lb_adapter *>sides.address
        self.pins = _pins(pins, servers)
        self.servers = servers
        self.accumulators = accumulators
        self.slot_rows = slot_rows
        self.dirty = dirty
        side = lb_adapter_side(self.adapter, 0)
        for t in range(self.adapter.tables):
            at += side.table[t].slots
        for name, array in (
            ("accumulators", accumulators), ("slot_rows", slot_rows), ("dirty", dirty)
        ):
            if array.shape[0] != max(at, 1):
                raise ValueError(f"{name}: found {array.shape[0]} entries, expected {max(at, 1)}")
        self.slots = <lb_slots *>calloc(self.adapter.tables, sizeof(lb_slots))
        if self.slots == NULL:
            raise MemoryError
        at = 0
        for t in range(self.adapter.tables):
            self.slots[t].slots = side.table[t].slots
            self.slots[t].used = side.table[t].used
            self.slots[t].accumulator = &self.accumulators[0] + at
            self.slots[t].slot_row = &self.slot_rows[0] + at
            self.slots[t].dirty = &self.dirty[0] + at
            at += side.table[t].slots
        self.epoch = lb_adapter_side(self.adapter, self.adapter.active).epoch
        self.differs = True

    def __dealloc__(self):
        free(self.slots)

    cdef lb_side *idle(self) except NULL:
        if not self.writing:
            raise RuntimeError("the idle side is read and written only between begin and publish")
        return lb_adapter_side(self.adapter, 1 - self.adapter.active)

    @property
    def used(self):
        return [self.slots[t].used for t in range(self.adapter.tables)]

    @property
    def rank(self):
        side = lb_adapter_side(self.adapter, self.adapter.active)
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
                for t in range(self.dirty.shape[0]):
                    self.dirty[t] = 0
            else:
                for t in range(self.adapter.tables):
                    lb_sync_table(lb_adapter_side(self.adapter, active),
                                  lb_adapter_side(self.adapter, 1 - active), t, &self.slots[t])
        self.differs = False
        self.writing = True
        return True

    def lookup(self, Tables tables, indices, out, offsets=None):
        cdef lb_side *side = self.idle()
        cdef _Batch batch = tables.checked(indices, offsets, out, "out", True)
        if batch.size:
            with nogil:
                tables.lookup_side(side, batch)

    def learn(self, Tables tables, indices, grad, *, float learning_rate, float epsilon,
              const float[::1] initial_accumulator, offsets=None):
        cdef lb_side *side = self.idle()
        cdef _Batch batch = tables.checked(indices, offsets, grad, "grad", False)
        cdef lb_scratch scratch
        cdef lb_adagrad rule
        cdef lb_lora lora
        cdef lb_bags bags
        cdef Py_ssize_t t
        cdef int64_t refused = 0
        cdef const float *source
        if initial_accumulator.shape[0] != tables.count:
            raise ValueError(
                f"initial_accumulator: found {initial_accumulator.shape[0]} entries, "
                f"expected {tables.count}"
            )
        if batch.positions == 0:
            return 0
        self._reserve(batch.positions)
        scratch.sums = &self.sums[0]
        scratch.touched = &self.touched[0]
        scratch.seen.entries = <lb_entry *>&self.seen[0, 0]
        rule.learning_rate = learning_rate
        rule.epsilon = epsilon
        source = &batch.vectors[0, 0, 0]
        with nogil:
            # Sized for this batch, not for the largest one so far: it is cleared table by table.
            scratch.seen.capacity = lb_index_capacity(batch.positions)
            for t in range(tables.count):
                rule.initial_accumulator = initial_accumulator[t]
                bags = tables.bags(t, batch.indices, batch.offsets, batch.size)
                lora = lb_side_lora(side, t)
                refused += lb_lora_backward(&lora, &self.slots[t], tables.dim, &bags,
                                            source + t * tables.dim, tables.count * tables.dim,
                                            &rule, &scratch)
                side.table[t].used = self.slots[t].used
        return refused

    cdef _reserve(self, int64_t positions):
        """Grow the working memory to a batch of `positions` lookups a table."""
        import numpy as np

        if self.reserved < positions:
            largest = max(self.rank)
            self.sums = np.empty(max(1, positions * largest), dtype=np.float32)
            self.touched = np.empty(positions, dtype=np.int32)
            self.seen = np.zeros((lb_index_capacity(positions), 2), dtype=np.int32)
            self.reserved = positions

    def set_basis(self, const float[:, :, ::1] basis):
        cdef lb_side *side = self.idle()
        cdef Py_ssize_t t
        cdef int64_t j, d
        cdef lb_lora lora
        if basis.shape[0] != self.adapter.tables or basis.shape[2] != self.adapter.dim:
            raise ValueError(
                f"basis: found shape [{basis.shape[0]}, {basis.shape[1]}, {basis.shape[2]}], "
                f"expected [{self.adapter.tables}, R, {self.adapter.dim}]"
            )
        for t in range(self.adapter.tables):
            lora = lb_side_lora(side, t)
            if lora.rank > basis.shape[1]:
                raise ValueError(
                    f"basis: found {basis.shape[1]} directions, expected {lora.rank}"
                )
        for t in range(self.adapter.tables):
            lora = lb_side_lora(side, t)
            for j in range(lora.rank):
                for d in range(self.adapter.dim):
                    lora.B[j * self.adapter.dim + d] = basis[t, j, d]
        self._clear(side)

    def clear(self):
        self._clear(self.idle())

    cdef _clear(self, lb_side *side):
        """Forget every row: the adapter serves the base tables again."""
        cdef Py_ssize_t t
        cdef lb_lora lora
        for t in range(self.adapter.tables):
            lora = lb_side_lora(side, t)
            lb_index_clear(&lora.index)
            side.table[t].used = 0
            self.slots[t].used = 0
        for t in range(self.dirty.shape[0]):
            self.dirty[t] = 0
        self.differs = True

    def publish(self):
        cdef lb_side *side = self.idle()
        self.epoch += 1
        side.epoch = self.epoch
        lb_flip(&self.adapter.active, 1 - self.adapter.active)
        self.writing = False
        return self.epoch

    def arrays(self, Py_ssize_t t):
        """Copies of table t's A [used, R], B [R, D] and rows [used] in the active side."""
        import numpy as np

        cdef lb_side *side = lb_adapter_side(self.adapter, self.adapter.active)
        cdef lb_lora lora
        cdef int32_t used
        if not 0 <= t < self.adapter.tables:
            raise IndexError(f"table: found {t}, expected 0 to {self.adapter.tables - 1}")
        lora = lb_side_lora(side, t)
        used = side.table[t].used
        rows = np.array([self.slots[t].slot_row[s] for s in range(used)], dtype=np.int32)
        if lora.rank == 0:
            empty = np.zeros((0, 0), dtype=np.float32)
            return empty, np.zeros((0, self.adapter.dim), dtype=np.float32), rows
        A = np.zeros((used, lora.rank), dtype=np.float32)
        if used:
            A[:] = np.asarray(<float[:used, :lora.rank]>lora.A)
        return A, np.array(<float[:lora.rank, :self.adapter.dim]>lora.B), rows


cdef class ReplayRing:
    cdef Mapping mapping
    cdef lb_ring ring

    def __cinit__(self, Mapping mapping, int64_t num_dense, int64_t num_sparse):
        cdef int64_t record = lb_ring_record_bytes(num_dense, num_sparse)
        if not mapping.writable:
            raise ValueError("mapping: found a read-only one, expected a writable one")
        self.mapping = mapping
        self.ring.state = <lb_ring_state *>mapping.address
        self.ring.records = <char *>mapping.address + sizeof(lb_ring_state)
        self.ring.capacity = (mapping.length - <int64_t>sizeof(lb_ring_state)) // record
        self.ring.dense = num_dense
        self.ring.sparse = num_sparse
        if self.ring.capacity < 1:
            raise ValueError(
                f"mapping: found {mapping.length} bytes, expected at least "
                f"{sizeof(lb_ring_state) + record}, the size of one record"
            )

    @property
    def capacity(self):
        return self.ring.capacity

    @property
    def appended(self):
        return self.ring.state.head

    @property
    def dropped(self):
        return self.ring.state.dropped

    def reset(self):
        memset(self.ring.state, 0, sizeof(lb_ring_state))

    def append(self, int64_t first, int64_t served_ns, const float[:, ::1] dense,
               const int32_t[:, ::1] sparse):
        cdef int kept
        cdef int64_t n = sparse.shape[0]
        if (sparse.shape[1] != self.ring.sparse or dense.shape[1] != self.ring.dense
                or dense.shape[0] != n):
            raise ValueError(
                f"dense, sparse: found shapes [{dense.shape[0]}, {dense.shape[1]}] and "
                f"[{n}, {sparse.shape[1]}], expected [n, {self.ring.dense}] and "
                f"[n, {self.ring.sparse}]"
            )
        if n == 0:
            return True
        with nogil:
            kept = lb_ring_append(&self.ring, first, n, served_ns,
                                  &dense[0, 0] if self.ring.dense else NULL,
                                  &sparse[0, 0] if self.ring.sparse else NULL)
        return kept != 0

    def take(self, int64_t before_ns, int64_t[:, ::1] keys, float[:, ::1] dense,
             int32_t[:, ::1] sparse):
        cdef int64_t n
        cdef int64_t most = keys.shape[0]
        if (keys.shape[1] != 2 or dense.shape[0] != most or sparse.shape[0] != most
                or dense.shape[1] != self.ring.dense or sparse.shape[1] != self.ring.sparse):
            raise ValueError(
                f"keys, dense, sparse: found shapes [{most}, {keys.shape[1]}], "
                f"[{dense.shape[0]}, {dense.shape[1]}] and "
                f"[{sparse.shape[0]}, {sparse.shape[1]}], expected [n, 2], "
                f"[n, {self.ring.dense}] and [n, {self.ring.sparse}]"
            )
        if most == 0:
            return 0
        with nogil:
            n = lb_ring_take(&self.ring, before_ns, most, <lb_ring_key *>&keys[0, 0],
                             &dense[0, 0] if self.ring.dense else NULL,
                             &sparse[0, 0] if self.ring.sparse else NULL)
        return n

    def due(self, int64_t before_ns):
        return lb_ring_due(&self.ring, before_ns)

    def skip(self, int64_t n):
        if not 0 <= n <= <int64_t>(self.ring.state.head - self.ring.state.tail):
            raise ValueError(f"n: found {n}, expected 0 to what the ring holds")
        lb_ring_skip(&self.ring, n)
