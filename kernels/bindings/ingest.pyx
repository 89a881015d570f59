# cython: boundscheck=False, wraparound=False, cdivision=True
"""Raw Criteo lines, and ids to table rows.
"""

from cpython.bytearray cimport PyByteArray_AsString
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy

from lorabench._kernels.arrays cimport FLOAT32, INT8, INT32, INT64, UINT8, Array, array_of
from lorabench._kernels.headers.ingest cimport (
    LB_CRITEO_DENSE, LB_CRITEO_LINE, LB_CRITEO_SPARSE, lb_criteo_format, lb_criteo_parse,
    lb_criteo_rows, lb_dictionary, lb_dictionary_rows, lb_hash_ids,
)


cdef lb_criteo_rows _criteo_rows(Array label, Array dense, Array ids) except *:
    cdef int64_t n = label.size()
    if dense.shape != (LB_CRITEO_DENSE, n) or ids.shape != (LB_CRITEO_SPARSE, n):
        raise ValueError(
            f"dense, ids: found {dense.shape} and {ids.shape}, "
            f"expected {(LB_CRITEO_DENSE, n)} and {(LB_CRITEO_SPARSE, n)}"
        )
    return lb_criteo_rows(<int8_t *>label.view.buf, <float *>dense.view.buf,
                          <int64_t *>ids.view.buf, n)


def parse_criteo(text, label, dense, ids):
    cdef Array lines = array_of(text, "text", UINT8, 1)
    cdef Array labels = array_of(label, "label", INT8, 1, writable=True)
    cdef Array counts = array_of(dense, "dense", FLOAT32, 2, writable=True)
    cdef Array values = array_of(ids, "ids", INT64, 2, writable=True)
    cdef lb_criteo_rows out = _criteo_rows(labels, counts, values)
    cdef const uint8_t *begin = <const uint8_t *>lines.view.buf
    cdef int64_t size = lines.size(), used = 0, rows
    cdef int32_t column = -1
    # The parser stops at a line's end; without one it would run on.
    if size and begin[size - 1] != 10:
        raise ValueError("text: found no line feed at its end, expected whole lines")
    with nogil:
        rows = lb_criteo_parse(begin, size, &out, &used, &column)
    return rows, used, column


def format_criteo(label, dense, ids):
    cdef Array labels = array_of(label, "label", INT8, 1)
    cdef Array counts = array_of(dense, "dense", FLOAT32, 2)
    cdef Array values = array_of(ids, "ids", INT64, 2)
    cdef lb_criteo_rows rows = _criteo_rows(labels, counts, values)
    cdef bytearray text = bytearray(rows.stride * LB_CRITEO_LINE)
    cdef uint8_t *begin = <uint8_t *>PyByteArray_AsString(text)
    cdef int64_t size
    with nogil:
        size = lb_criteo_format(&rows, rows.stride, begin)
    del text[size:]
    return text


def hash_ids(ids, int64_t cardinality, rows):
    cdef Array taken = array_of(ids, "ids", INT64, 1)
    cdef Array out = array_of(rows, "rows", INT32, 1, writable=True)
    if not 1 <= cardinality < 2 ** 31 - 1:
        raise ValueError(f"cardinality: found {cardinality}, expected 1 to 2^31 - 2")
    if out.size() != taken.size():
        raise ValueError(f"rows: found {out.size()}, expected {taken.size()}, one an id")
    with nogil:
        lb_hash_ids(<const int64_t *>taken.view.buf, taken.view.shape[0], <uint64_t>cardinality,
                    <int32_t *>out.view.buf)


cdef class Dictionary:
    cdef lb_dictionary dictionary

    def __cinit__(self, int64_t most):
        if not 1 <= most < 2 ** 31 - 1:
            raise ValueError(f"most: found {most}, expected 1 to 2^31 - 2")
        self.dictionary.most = most

    def __dealloc__(self):
        free(self.dictionary.place)
        free(self.dictionary.ids)

    def __len__(self):
        return self.dictionary.used

    def rows(self, ids, rows):
        cdef Array taken = array_of(ids, "ids", INT64, 1)
        cdef Array out = array_of(rows, "rows", INT32, 1, writable=True)
        cdef int64_t n = taken.size(), done
        if out.size() != n:
            raise ValueError(f"rows: found {out.size()}, expected {n}, one an id")
        done = lb_dictionary_rows(&self.dictionary, <const int64_t *>taken.view.buf, n,
                                  <int32_t *>out.view.buf)
        if done < n and self.dictionary.used == self.dictionary.most:
            raise OverflowError(f"found more than {self.dictionary.most} distinct ids")
        if done < n:
            raise MemoryError(f"found no memory for {self.dictionary.used} distinct ids")

    def copy_ids(self, int64_t first, ids):
        cdef Array out = array_of(ids, "ids", INT64, 1, writable=True)
        if not 0 <= first <= self.dictionary.used or out.size() != self.dictionary.used - first:
            raise ValueError(
                f"ids: found {out.size()} from {first} on, expected {self.dictionary.used} in all"
            )
        if out.size():
            memcpy(out.view.buf, self.dictionary.ids + first, out.size() * sizeof(int64_t))
