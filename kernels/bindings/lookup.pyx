# cython: boundscheck=False, wraparound=False, cdivision=True
"""Lookups in base tables: the tables of a set, and batches that were checked against them.
"""

from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from lorabench._kernels.arrays cimport FLOAT32, INDEX, INT64, UINT16, WEIGHTS, Array, array_of
from lorabench._kernels.dispatch cimport in_use
from lorabench._kernels.headers.dispatch cimport lb_kernels
from lorabench._kernels.headers.lookup cimport (
    LB_WALL_AHEAD, lb_bag_end, lb_bag_row, lb_bags, lb_parts, lb_table, lb_take_bags,
)
from lorabench._kernels.headers.shared cimport lb_version, lb_version_advance


# Base vectors are kept for the trainer where a bag's rows take more bytes than its sum does twice
# over: once written, once read.
cdef int _REUSABLE_ABOVE = 2


cdef class Tables:
    def __cinit__(self, arrays, hotness=None, version=None):
        cdef Array array
        cdef Py_ssize_t t
        self.arrays = tuple(arrays)
        self.count = len(self.arrays)
        if self.count == 0:
            raise ValueError("arrays: found no table, expected at least one")
        self.tables = <lb_table *>calloc(self.count, sizeof(lb_table))
        self.features = <lb_feature *>calloc(self.count, sizeof(lb_feature))
        if self.tables == NULL or self.features == NULL:
            raise MemoryError
        self.views = []
        for t in range(self.count):
            array = array_of(self.arrays[t], f"arrays[{t}]", WEIGHTS, 2)
            if t == 0:
                self.dim = array.size(1)
            if array.size(0) == 0 or array.size(1) == 0 or array.size(1) != self.dim:
                raise ValueError(
                    f"arrays[{t}]: found shape {array.shape}, expected [V, "
                    f"{self.dim or 'D'}] with V > 0{'' if self.dim else ' and D > 0'}"
                )
            self.views.append(array)
            self.tables[t].weights = array.view.buf
            self.tables[t].rows = array.size(0)
            self.tables[t].dim = self.dim
            self.tables[t].bf16 = array.dtype == UINT16
            self.most_rows = max(self.most_rows, array.size(0))
        self._shape((1,) * self.count if hotness is None else tuple(hotness))
        if version is not None:
            self.version_array = array_of(version, "version", INT64, 1)
            if self.version_array.size() != 1:
                raise ValueError(f"version: found {self.version_array.size()} numbers, expected 1")

    cdef _shape(self, tuple hotness):
        """Where each feature's ids are in a sample, and whose base vectors are worth keeping."""
        cdef Py_ssize_t t
        cdef lb_feature *feature
        if len(hotness) != self.count:
            raise ValueError(f"hotness: found {len(hotness)}, expected {self.count}, one a table")
        self.hotness = hotness
        self.reusable_features = tuple(
            t for t in range(self.count) if hotness[t] > _REUSABLE_ABOVE
        )
        for t in range(self.count):
            if not 1 <= hotness[t] < 2 ** 20:
                raise ValueError(f"hotness[{t}]: found {hotness[t]}, expected 1 to 2^20 - 1")
            feature = &self.features[t]
            feature.hotness = hotness[t]
            feature.column = self.columns
            feature.taken = self.taken_ids
            feature.number = self.taken_features
            feature.reusable = self.reusable_count if t in self.reusable_features else -1
            self.columns += feature.hotness
            self.most_hot = max(self.most_hot, feature.hotness)
            if feature.hotness > 1:
                self.taken_ids += feature.hotness
                self.taken_features += 1
            if feature.reusable >= 0:
                self.reusable_rows += feature.hotness
                self.reusable_count += 1

    @property
    def version(self):
        if self.version_array is None:
            return 0
        return lb_version(<const int64_t *>self.version_array.view.buf)

    def __dealloc__(self):
        free(self.tables)
        free(self.features)

    cdef lb_bags bags(self, Py_ssize_t t, Batch batch) noexcept nogil:
        """Table t's bags: column t of [B, F], its columns of [B, C], or segment t of the flat
        layout."""
        cdef lb_bags found = batch.bags
        cdef int64_t size = 8 if found.wide_indices else 4
        cdef const lb_feature *feature = &self.features[t]
        if batch.taken != NULL and feature.hotness > 1:
            found.indices = <const char *>batch.taken + feature.taken * found.bags * size
            found.offsets = batch.taken_offsets + feature.number * (found.bags + 1)
        elif batch.taken != NULL:
            found.indices = <const char *>found.indices + feature.column * size
            found.index_stride = self.columns
        elif found.offsets == NULL:
            found.indices = <const char *>found.indices + t * size
            found.index_stride = self.count
            if found.weights != NULL:
                found.weights += t
        else:
            found.offsets = (<const char *>found.offsets
                             + t * found.bags * (8 if found.wide_offsets else 4))
        return found

    cdef int check_narrow(self, str name) except -1:
        """Refuse tables with rows that int32 cannot name, for kernels that keep row numbers so."""
        if self.most_rows > INT32_MAX:
            raise ValueError(
                f"{name}: found a table of {self.most_rows} rows, expected at most {INT32_MAX}"
            )
        return 0

    cdef Batch checked(self, indices, offsets, weights, str mode, vectors, str name,
                       bint writable):
        """Check a batch against these tables before anything is read or written through it."""
        cdef Batch batch = Batch()
        if mode not in ("sum", "mean"):
            raise ValueError(f"mode: found '{mode}', expected 'sum' or 'mean'")
        if weights is not None and mode == "mean":
            raise ValueError("weights: found some with mode 'mean', expected mode 'sum'")
        batch.bags.mean = mode == "mean"
        batch.bags.index_stride = 1
        if vectors is None:
            batch.bags.bags = array_of(indices, "indices", INDEX, 2).size()
        else:
            self._check_vectors(batch, vectors, name, writable)
        if batch.bags.bags > INT32_MAX:
            raise ValueError(
                f"{name}: found {batch.bags.bags} bags a table, expected at most {INT32_MAX}"
            )
        self._check_indices(batch, indices, offsets, weights, name)
        self._check_rows(batch)
        return batch

    cdef _check_vectors(self, Batch batch, vectors, str name, bint writable):
        cdef Array array = array_of(vectors, name, FLOAT32, 3, writable=writable)
        if array.size(1) != self.count or array.size(2) != self.dim:
            raise ValueError(
                f"{name}: found shape {array.shape}, expected [B, {self.count}, {self.dim}]"
            )
        batch.vectors_array = array
        batch.vectors = <float *>array.view.buf
        batch.bags.bags = array.size()

    cdef _check_indices(self, Batch batch, indices, offsets, weights, str name):
        cdef Array array = array_of(indices, "indices", INDEX, 2 if offsets is None else 1)
        cdef int64_t size = batch.bags.bags
        batch.indices_array = array
        batch.bags.indices = array.view.buf
        batch.bags.wide_indices = array.dtype == INT64
        if offsets is not None:
            self._check_offsets(batch, offsets, array.size())
        else:
            if array.size() != size or array.size(1) != self.columns:
                raise ValueError(
                    f"indices: found shape {array.shape}, expected [{size}, {self.columns}]"
                    f"{' as ' + name + ' has' if self.columns == self.count else ''}"
                )
            batch.positions = size * self.most_hot
            if self.taken_ids and size:
                if weights is not None:
                    raise ValueError("weights: found some without offsets, expected none")
                self._take(batch)
        if weights is not None:
            batch.weights_array = array_of(weights, "weights", FLOAT32, array.view.ndim)
            if batch.weights_array.shape != array.shape:
                raise ValueError(
                    f"weights: found shape {batch.weights_array.shape}, "
                    f"expected {array.shape} as indices has"
                )
            batch.bags.weights = <const float *>batch.weights_array.view.buf

    cdef _check_rows(self, Batch batch):
        cdef const lb_kernels *kernels = in_use
        cdef lb_bags bags
        cdef int64_t bad
        cdef Py_ssize_t t
        for t in range(self.count):
            bags = self.bags(t, batch)
            with nogil:
                bad = kernels.bad_index(&bags, self.tables[t].rows)
            if bad >= 0:
                found = lb_bag_row(&bags, bad)
                raise IndexError(
                    f"indices of table {t}: found {found} at position {bad}, "
                    f"expected 0 to {self.tables[t].rows - 1}"
                )

    cdef _take(self, Batch batch):
        """Take the ids of features that have several out of the samples, feature by feature."""
        cdef int64_t size = 8 if batch.bags.wide_indices else 4, bags = batch.bags.bags
        cdef const lb_feature *feature
        cdef Py_ssize_t t
        if bags * self.most_hot > INT32_MAX:
            raise ValueError(
                f"indices: found {bags} samples, expected at most {INT32_MAX // self.most_hot} "
                f"of {self.most_hot} ids a feature"
            )
        batch.taken = malloc(<size_t>(self.taken_ids * bags * size))
        batch.taken_offsets = <int32_t *>malloc(
            <size_t>(self.taken_features * (bags + 1)) * sizeof(int32_t)
        )
        if batch.taken == NULL or batch.taken_offsets == NULL:
            raise MemoryError
        with nogil:
            for t in range(self.count):
                feature = &self.features[t]
                if feature.hotness > 1:
                    lb_take_bags(<const char *>batch.bags.indices + feature.column * size,
                                 self.columns, feature.hotness, bags, size,
                                 <char *>batch.taken + feature.taken * bags * size,
                                 batch.taken_offsets + feature.number * (bags + 1))

    cdef keep(self, Batch batch, base, bint given):
        """Where base vectors are handed out to, or where they are given."""
        cdef Array array
        if base is None:
            return
        array = array_of(base, "base", FLOAT32, 3, writable=not given)
        if array.shape != (batch.bags.bags, len(self.reusable_features), self.dim):
            raise ValueError(
                f"base: found shape {array.shape}, expected "
                f"[{batch.bags.bags}, {len(self.reusable_features)}, {self.dim}]"
            )
        batch.base_array = array
        batch.base = <float *>array.view.buf
        batch.given = given

    cdef lb_parts parts(self, Py_ssize_t t, Batch batch) noexcept nogil:
        cdef lb_parts found
        cdef int64_t number = self.features[t].reusable
        found.base = NULL
        found.stride = self.reusable_count * self.dim
        found.given = 0
        if batch.base != NULL and number >= 0:
            if batch.given:
                found.given = 1
            else:
                found.base = batch.base + number * self.dim
        return found

    cdef void put_given(self, Py_ssize_t t, Batch batch) noexcept nogil:
        """Write table t's given base vectors to the output."""
        cdef int64_t stride = self.reusable_count * self.dim, b
        cdef const float *source = batch.base + self.features[t].reusable * self.dim
        cdef float *target = batch.vectors + t * self.dim
        for b in range(batch.bags.bags):
            memcpy(target + b * self.count * self.dim, source + b * stride,
                   <size_t>self.dim * sizeof(float))

    cdef _check_offsets(self, Batch batch, offsets, int64_t indices):
        cdef int64_t n = batch.bags.bags * self.count + 1, bad, t
        cdef lb_bags *bags = &batch.bags
        cdef Array array = array_of(offsets, "offsets", INDEX, 1)
        if array.size() != n:
            raise ValueError(
                f"offsets: found shape {array.shape}, expected [F * B + 1] = [{n}]"
            )
        batch.offsets_array = array
        bags.offsets = array.view.buf
        bags.wide_offsets = array.dtype == INT64
        # lb_bag_end(bags, i) is offsets[i + 1].
        if lb_bag_end(bags, -1) != 0:
            raise ValueError(f"offsets[0]: found {lb_bag_end(bags, -1)}, expected 0")
        with nogil:
            bad = in_use.bad_offset(bags, n)
        if bad >= 0:
            raise ValueError(
                f"offsets[{bad}]: found {lb_bag_end(bags, bad - 1)} after "
                f"{lb_bag_end(bags, bad - 2)}, expected offsets that do not decrease"
            )
        if lb_bag_end(bags, n - 2) != indices:
            raise ValueError(
                f"offsets[-1]: found {lb_bag_end(bags, n - 2)}, "
                f"expected the number of indices, {indices}"
            )
        for t in range(self.count):
            batch.positions = max(
                batch.positions,
                lb_bag_end(bags, (t + 1) * bags.bags - 1) - lb_bag_end(bags, t * bags.bags - 1),
            )

    def lookup(self, indices, out, offsets=None, *, weights=None, str mode="sum", base=None):
        cdef Batch batch = self.checked(indices, offsets, weights, mode, out, "out", True)
        cdef const lb_kernels *kernels = in_use
        cdef lb_bags bags
        cdef Py_ssize_t t
        self.keep(batch, base, True)
        if batch.bags.bags == 0:
            return
        with nogil:
            self.ask_ahead(0, batch, kernels)
            for t in range(self.count):
                self.ask_ahead(t + 1, batch, kernels)
                if batch.given and self.features[t].reusable >= 0:
                    self.put_given(t, batch)
                    continue
                bags = self.bags(t, batch)
                kernels.lookup(&self.tables[t], &bags, batch.vectors + t * self.dim,
                               self.count * self.dim)

    def gather(self, indices, base):
        cdef Batch batch
        cdef const lb_kernels *kernels = in_use
        cdef lb_bags bags
        cdef Py_ssize_t t
        batch = self.checked(indices, None, None, "sum", None, "base", False)
        if base is None:
            raise TypeError("base: found None, expected an array of float32")
        self.keep(batch, base, False)
        with nogil:
            for t in range(self.count):
                if self.features[t].reusable >= 0 and batch.bags.bags:
                    bags = self.bags(t, batch)
                    kernels.lookup(&self.tables[t], &bags,
                                   batch.base + self.features[t].reusable * self.dim,
                                   self.reusable_count * self.dim)

    cdef void ask_ahead(self, Py_ssize_t t, Batch batch, const lb_kernels *kernels) noexcept nogil:
        """While one table is worked on, the first rows of the next are on their way."""
        cdef lb_bags bags
        if t < self.count and not (batch.given and self.features[t].reusable >= 0):
            bags = self.bags(t, batch)
            kernels.ahead(&self.tables[t], &bags)


cdef class Batch:
    """A checked batch: the arrays keep the memory alive, the pointers are what kernels use."""

    def __dealloc__(self):
        free(self.taken)
        free(self.taken_offsets)


def random_read(table, int64_t rows, *, int64_t ahead, uint64_t seed):
    cdef Array array = array_of(table, "table", FLOAT32, 2)
    cdef lb_table source
    cdef float total
    cdef const lb_kernels *kernels = in_use
    if not (1 <= ahead <= LB_WALL_AHEAD and ahead & (ahead - 1) == 0):
        raise ValueError(f"ahead: found {ahead}, expected a power of two up to {LB_WALL_AHEAD}")
    if array.size() == 0 or array.size(1) == 0 or rows < 0:
        raise ValueError(f"table: found shape {array.shape}, expected [V, D], both above 0")
    source.weights = array.view.buf
    source.rows = array.size()
    source.dim = array.size(1)
    source.bf16 = False
    with nogil:
        total = kernels.random_read(&source, seed, rows, ahead)
    return total


def advance_version(version):
    cdef Array array = array_of(version, "version", INT64, 1, writable=True)
    if array.size() != 1:
        raise ValueError(f"version: found {array.size()} numbers, expected 1")
    lb_version_advance(<int64_t *>array.view.buf)
