"""Arrays as arguments; see arrays.pyx."""

from libc.stdint cimport int64_t


cdef enum:
    FLOAT32 = 1
    FLOAT64 = 2
    INT8 = 4
    INT32 = 8
    INT64 = 16
    UINT8 = 32
    UINT16 = 64
    UINT32 = 128
    INDEX = 8 | 16
    # NumPy has no bf16: its bits are given as uint16, as torch's .view(torch.uint16) gives them.
    WEIGHTS = 1 | 64


cdef class Array:
    cdef Py_buffer view
    cdef bint taken
    cdef int dtype

    cdef int64_t size(self, int axis=*) noexcept


cdef Array array_of(value, str name, int dtypes, int ndim, bint writable=*)
cdef copy_of(const void *source, tuple shape, str dtype)
