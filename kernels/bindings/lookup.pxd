"""The tables of a set, and checked batches; see lookup.pyx."""

from libc.stdint cimport int32_t, int64_t

from lorabench._kernels.arrays cimport Array
from lorabench._kernels.headers.dispatch cimport lb_kernels
from lorabench._kernels.headers.lookup cimport lb_bags, lb_parts, lb_table


cdef struct lb_feature:
    int64_t hotness  # ids a sample
    int64_t column   # of its first id
    int64_t taken    # ids that lb_take_bags has taken of a sample before it takes this feature's
    int64_t number   # of those features, this is
    int64_t reusable  # number of its vector among the base vectors that are kept, or -1


cdef class Batch:
    cdef Array indices_array, offsets_array, weights_array, vectors_array, base_array
    cdef lb_bags bags
    cdef float *vectors
    cdef int64_t positions
    # Ids that lb_take_bags took, and the bags that they are.
    cdef void *taken
    cdef int32_t *taken_offsets
    cdef float *base
    cdef bint given


cdef class Tables:
    cdef readonly tuple arrays
    cdef readonly int64_t dim
    cdef readonly Py_ssize_t count
    cdef readonly tuple hotness, reusable_features
    cdef readonly int64_t columns, reusable_rows
    cdef list views
    cdef lb_table *tables
    cdef lb_feature *features
    cdef Array version_array
    cdef int64_t most_rows, most_hot, taken_ids, taken_features, reusable_count

    cdef int check_narrow(self, str name) except -1
    cdef Batch checked(self, indices, offsets, weights, str mode, vectors, str name, bint writable)
    cdef keep(self, Batch batch, base, bint given)
    cdef lb_bags bags(self, Py_ssize_t t, Batch batch) noexcept nogil
    cdef lb_parts parts(self, Py_ssize_t t, Batch batch) noexcept nogil
    cdef void put_given(self, Py_ssize_t t, Batch batch) noexcept nogil
    cdef void ask_ahead(self, Py_ssize_t t, Batch batch, const lb_kernels *kernels) noexcept nogil
    cdef _shape(self, tuple hotness)
    cdef _check_vectors(self, Batch batch, vectors, str name, bint writable)
    cdef _check_indices(self, Batch batch, indices, offsets, weights, str name)
    cdef _check_offsets(self, Batch batch, offsets, int64_t indices)
    cdef _check_rows(self, Batch batch)
    cdef _take(self, Batch batch)
