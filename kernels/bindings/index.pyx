# cython: boundscheck=False, wraparound=False, cdivision=True
"""Row -> slot, alone: as every adapted table has one, for those who measure or test it.
"""

from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint32_t
from libc.stdlib cimport calloc, free

from lorabench._kernels.arrays cimport INT32, Array, array_of
from lorabench._kernels.dispatch cimport in_use
from lorabench._kernels.headers.dispatch cimport lb_kernels
from lorabench._kernels.headers.lookup cimport (
    lb_bucket, lb_filter_bytes, lb_index, lb_index_capacity, lb_index_clear, lb_index_erase,
    lb_index_filter_bits, lb_index_find, lb_index_put,
)


cdef extern from "<stdlib.h>" nogil:
    void *aligned_alloc(size_t alignment, size_t size)


cdef class RowIndex:
    cdef readonly int64_t capacity, used
    cdef lb_index index

    def __cinit__(self, int64_t capacity):
        if not 0 < capacity <= INT32_MAX:
            raise ValueError(f"capacity: found {capacity}, expected 1 to {INT32_MAX}")
        self.capacity = capacity
        self.index.capacity = lb_index_capacity(capacity)
        self.index.filter_bits = lb_index_filter_bits(capacity)
        self.index.buckets = <lb_bucket *>aligned_alloc(64, self.index.capacity * sizeof(lb_bucket))
        self.index.filter = <uint32_t *>calloc(1, lb_filter_bytes(self.index.filter_bits))
        if self.index.buckets == NULL or self.index.filter == NULL:
            raise MemoryError
        lb_index_clear(&self.index)

    def __dealloc__(self):
        free(self.index.buckets)
        free(self.index.filter)

    cdef Array rows(self, rows):
        """Checked here, so that nothing has changed when one of them is bad."""
        cdef Array array = array_of(rows, "rows", INT32, 1)
        cdef const int32_t *row = <const int32_t *>array.view.buf
        for i in range(array.size()):
            if row[i] < 0:
                raise ValueError(f"rows[{i}]: found {row[i]}, expected 0 to {INT32_MAX}")
        return array

    cdef Array slots(self, slots, Array rows, bint writable):
        cdef Array array = array_of(slots, "slots", INT32, 1, writable=writable)
        if array.size() != rows.size():
            raise ValueError(f"slots: found {array.size()}, expected {rows.size()} as many as rows")
        return array

    def insert(self, rows, slots):
        cdef Array keys = self.rows(rows), values = self.slots(slots, keys, False)
        cdef const int32_t *row = <const int32_t *>keys.view.buf
        cdef const int32_t *slot = <const int32_t *>values.view.buf
        for i in range(keys.size()):
            if slot[i] < 0:
                raise ValueError(f"slots[{i}]: found {slot[i]}, expected 0 to {INT32_MAX}")
            if lb_index_find(&self.index, row[i]) >= 0:
                raise ValueError(f"rows[{i}]: found {row[i]}, which is in the index already")
            if self.used == self.capacity:
                raise ValueError(
                    f"rows[{i}]: found the index full, expected at most {self.capacity} rows"
                )
            lb_index_put(&self.index, row[i], slot[i])
            self.used += 1

    def find(self, rows, slots):
        cdef Array keys = self.rows(rows), values = self.slots(slots, keys, True)
        cdef const lb_kernels *kernels = in_use
        with nogil:
            kernels.find(&self.index, <const int32_t *>keys.view.buf, keys.view.shape[0],
                         <int32_t *>values.view.buf)

    def erase(self, rows):
        cdef Array keys = self.rows(rows)
        cdef const int32_t *row = <const int32_t *>keys.view.buf
        cdef int64_t i, before = self.used
        with nogil:
            for i in range(keys.view.shape[0]):
                self.used -= lb_index_erase(&self.index, row[i]) >= 0
        return before - self.used
