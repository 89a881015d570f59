# cython: boundscheck=False, wraparound=False, cdivision=True
"""Training steps of whole tables, and what a trainer finds out about gradients.
"""

from libc.math cimport sqrt
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from lorabench._kernels.arrays cimport FLOAT32, INT32, INT64, Array, array_of
from lorabench._kernels.dispatch cimport in_use
from lorabench._kernels.headers.dispatch cimport lb_kernels
from lorabench._kernels.headers.lookup cimport lb_bags, lb_bucket, lb_index_capacity
from lorabench._kernels.headers.train cimport lb_adagrad, lb_scratch, lb_trained
from lorabench._kernels.lookup cimport Batch, Tables


cdef extern from "<stdlib.h>" nogil:
    void *aligned_alloc(size_t alignment, size_t size)


cdef class Scratch:
    """Working memory of a training step: room for `positions` lookups, sums of `width` floats."""

    def __dealloc__(self):
        self.release()

    cdef void release(self) noexcept:
        free(self.room.sums)
        free(self.room.touched)
        free(self.room.seen.buckets)
        self.room.sums = NULL
        self.room.touched = NULL
        self.room.seen.buckets = NULL
        self.positions = 0
        self.width = 0

    cdef lb_scratch fit(self, int64_t positions, int64_t width) except *:
        """Grow to what a batch needs."""
        cdef lb_scratch fitted
        if self.positions < positions or self.width < width:
            positions = max(positions, self.positions)
            width = max(width, self.width)
            self.release()
            self.room.sums = <float *>calloc(positions * width, sizeof(float))
            self.room.touched = <int32_t *>calloc(positions, sizeof(int32_t))
            self.room.seen.buckets = <lb_bucket *>aligned_alloc(
                64, lb_index_capacity(positions) * sizeof(lb_bucket)
            )
            if (self.room.sums == NULL or self.room.touched == NULL
                    or self.room.seen.buckets == NULL):
                self.release()
                raise MemoryError
            self.positions = positions
            self.width = width
        fitted = self.room
        # Sized for this batch, not for the largest one so far: it is cleared table by table.
        fitted.seen.capacity = lb_index_capacity(positions)
        return fitted


cdef class TableOptimizer:
    cdef readonly Tables tables
    cdef readonly tuple accumulators
    cdef Scratch scratch
    cdef lb_trained *trained

    def __cinit__(self, arrays, accumulators=None, hotness=None):
        cdef Array array, sums
        cdef Py_ssize_t t
        self.tables = Tables(arrays, hotness)
        self.tables.check_narrow("arrays")
        self.accumulators = () if accumulators is None else tuple(accumulators)
        self.scratch = Scratch()
        self.trained = <lb_trained *>calloc(self.tables.count, sizeof(lb_trained))
        if self.trained == NULL:
            raise MemoryError
        if accumulators is not None and len(self.accumulators) != self.tables.count:
            raise ValueError(
                f"accumulators: found {len(self.accumulators)}, expected {self.tables.count}"
            )
        for t in range(self.tables.count):
            array = array_of(self.tables.arrays[t], f"arrays[{t}]", FLOAT32, 2, writable=True)
            self.tables.views[t] = array
            self.trained[t].weights = <float *>array.view.buf
            self.trained[t].dim = self.tables.dim
            if accumulators is not None:
                sums = array_of(self.accumulators[t], f"accumulators[{t}]", FLOAT32, 1,
                                writable=True)
                if sums.size() != array.size():
                    raise ValueError(
                        f"accumulators[{t}]: found {sums.size()} entries, "
                        f"expected {array.size()}, one a row"
                    )
                self.tables.views.append(sums)
                self.trained[t].accumulator = <float *>sums.view.buf

    def __dealloc__(self):
        free(self.trained)

    def step(self, indices, grad, *, float learning_rate, float epsilon=1e-8, offsets=None,
             weights=None, str mode="sum"):
        cdef const lb_kernels *kernels = in_use
        cdef Tables tables = self.tables
        cdef Batch batch = tables.checked(indices, offsets, weights, mode, grad, "grad", False)
        cdef lb_scratch scratch
        cdef lb_adagrad rule
        cdef lb_bags bags
        cdef Py_ssize_t t
        if batch.positions == 0:
            return
        scratch = self.scratch.fit(batch.positions, tables.dim)
        rule.learning_rate = learning_rate
        rule.epsilon = epsilon
        with nogil:
            for t in range(tables.count):
                bags = tables.bags(t, batch)
                kernels.table_step(&self.trained[t], &bags, batch.vectors + t * tables.dim,
                                   tables.count * tables.dim, &rule, &scratch)


cdef class RowWriter:
    cdef readonly Tables tables

    def __cinit__(self, arrays):
        cdef Py_ssize_t t
        self.tables = Tables(arrays)
        self.tables.check_narrow("arrays")
        for t in range(self.tables.count):
            self.tables.views[t] = array_of(self.tables.arrays[t], f"arrays[{t}]", FLOAT32, 2,
                                            writable=True)

    def write(self, rows, values, offsets):
        cdef Array ids = array_of(rows, "rows", INT32, 1)
        cdef Array vectors = array_of(values, "values", FLOAT32, 2)
        cdef Array ends = array_of(offsets, "offsets", INT64, 1)
        cdef const int64_t *end = <const int64_t *>ends.view.buf
        cdef const int32_t *row = <const int32_t *>ids.view.buf
        cdef const float *value = <const float *>vectors.view.buf
        cdef const lb_kernels *kernels = in_use
        cdef Tables tables = self.tables
        cdef int64_t dim = tables.dim, bad
        cdef lb_bags bags
        cdef Py_ssize_t t
        if vectors.size() != ids.size() or vectors.size(1) != dim:
            raise ValueError(
                f"values: found shape {vectors.shape}, expected [{ids.size()}, {dim}]"
            )
        if ends.size() != tables.count + 1:
            raise ValueError(f"offsets: found {ends.size()}, expected {tables.count + 1}")
        for t in range(tables.count + 1):
            if not (end[t - 1] if t else 0) <= end[t] <= ids.size():
                raise ValueError(
                    f"offsets[{t}]: found {end[t]}, expected offsets from 0 to {ids.size()} that "
                    "do not decrease"
                )
        # All of it is looked at before any of it is written.
        memset(&bags, 0, sizeof(lb_bags))
        bags.index_stride = 1
        for t in range(tables.count):
            bags.indices = row + end[t]
            bags.bags = end[t + 1] - end[t]
            bad = kernels.bad_index(&bags, tables.tables[t].rows)
            if bad >= 0:
                raise IndexError(
                    f"rows of table {t}: found {row[end[t] + bad]} at position {end[t] + bad}, "
                    f"expected 0 to {tables.tables[t].rows - 1}"
                )
        with nogil:
            for t in range(tables.count):
                kernels.put_rows(<float *>tables.tables[t].weights, row + end[t],
                                 value + end[t] * dim, end[t + 1] - end[t], dim)
        return end[tables.count] - end[0]


def top_rows(x, rows, norms):
    cdef Array values = array_of(x, "x", FLOAT32, 2)
    cdef Array places = array_of(rows, "rows", INT64, 1, writable=True)
    cdef Array lengths = array_of(norms, "norms", FLOAT32, 1, writable=True)
    cdef int64_t k = places.size(), i
    cdef float *norm = <float *>lengths.view.buf
    cdef const lb_kernels *kernels = in_use
    if lengths.size() != k:
        raise ValueError(f"norms: found {lengths.size()}, expected {k} as many as rows")
    if k > values.size():
        raise ValueError(f"rows: found room for {k}, expected at most the {values.size()} of x")
    with nogil:
        kernels.top_rows(<const float *>values.view.buf, values.view.shape[0],
                         values.view.shape[1], k, <int64_t *>places.view.buf, norm)
        for i in range(k):
            norm[i] = sqrt(norm[i]) if norm[i] >= 0 else norm[i]


def add_gram(x, tables, packed):
    cdef Array samples = array_of(x, "x", FLOAT32, 3)
    cdef Array which = array_of(tables, "tables", INT64, 1)
    cdef Array sums = array_of(packed, "packed", FLOAT32, 2, writable=True)
    cdef int64_t count = samples.size(1), dim = samples.size(2), t
    cdef const int64_t *table = <const int64_t *>which.view.buf
    cdef const lb_kernels *kernels = in_use
    if sums.size() != which.size() or sums.size(1) != dim * (dim + 1) // 2:
        raise ValueError(
            f"packed: found shape {sums.shape}, expected [{which.size()}, {dim * (dim + 1) // 2}]"
        )
    for t in range(which.size()):
        if not 0 <= table[t] < count:
            raise IndexError(f"tables[{t}]: found {table[t]}, expected 0 to {count - 1}")
    with nogil:
        for t in range(which.view.shape[0]):
            kernels.gram(<const float *>samples.view.buf + table[t] * dim, count * dim,
                         samples.view.shape[0], dim,
                         <float *>sums.view.buf + t * sums.view.shape[1])
