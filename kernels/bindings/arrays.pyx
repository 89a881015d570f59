# cython: boundscheck=False, wraparound=False, cdivision=True
"""Arrays as arguments: checked once, by name, for all modules of the package.

Not by typed memoryviews, whose messages do not name the argument.
"""

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_IsContiguous, PyBuffer_Release,
    PyObject_CheckBuffer, PyObject_GetBuffer,
)
from libc.string cimport memcpy


cdef tuple _NAMES = ("float32", "float64", "int8", "int32", "int64", "uint8", "uint16", "uint32")
cdef dict _KINDS = {
    **dict.fromkeys("efdg", "float"),
    **dict.fromkeys("bhilqn", "int"),
    **dict.fromkeys("BHILQN", "uint"),
}


cdef str _names(int dtypes):
    return " or ".join([name for i, name in enumerate(_NAMES) if dtypes >> i & 1])


cdef str _name(const Py_buffer *view):
    kind = view.format.decode().lstrip("@=<") if view.format != NULL else "B"
    return f"{_KINDS.get(kind, kind)}{8 * view.itemsize}"


cdef int _dtype(const Py_buffer *view) noexcept:
    """The dtype's number, or 0: none that is ever asked for. No Python: every batch comes here."""
    cdef const char *kind = view.format
    cdef Py_ssize_t size = view.itemsize
    if kind == NULL:
        return UINT8
    if kind[0] in b"@=<":
        kind += 1
    if kind[0] == 0 or kind[1] != 0:
        return 0
    if kind[0] in b"fd":
        return FLOAT32 if size == 4 else FLOAT64
    if kind[0] in b"bhilqn":
        return INT64 if size == 8 else INT32 if size == 4 else INT8 if size == 1 else 0
    if kind[0] in b"BHILQN":
        return UINT32 if size == 4 else UINT16 if size == 2 else UINT8 if size == 1 else 0
    return 0


cdef Array array_of(value, str name, int dtypes, int ndim, bint writable=False):
    """Return the buffer of `value`, of one of the dtypes asked for (a sum of them)."""
    cdef Array array = Array.__new__(Array)
    cdef Py_buffer *view = &array.view
    if not PyObject_CheckBuffer(value):
        raise TypeError(
            f"{name}: found {type(value).__name__}, expected an array of {_names(dtypes)}"
        )
    try:
        PyObject_GetBuffer(value, view, PyBUF_FORMAT | PyBUF_STRIDES)
    except (ValueError, BufferError) as error:
        raise ValueError(f"{name}: found a buffer that cannot be read: {error}") from None
    array.taken = True
    array.dtype = _dtype(view)
    if not array.dtype & dtypes:
        raise ValueError(f"{name}: found {_name(view)}, expected {_names(dtypes)}")
    if view.ndim != ndim:
        raise ValueError(
            f"{name}: found shape {array.shape}, expected {ndim} {'axis' if ndim == 1 else 'axes'}"
        )
    if not PyBuffer_IsContiguous(view, b"C"):
        raise ValueError(f"{name}: found strides {array.strides}, expected a C-contiguous array")
    if <size_t>view.buf % <size_t>view.itemsize:
        raise ValueError(
            f"{name}: found an address that is no multiple of {view.itemsize}, "
            f"expected an aligned array"
        )
    if writable and view.readonly:
        raise ValueError(f"{name}: found a read-only array, expected a writable one")
    return array


cdef class Array:
    """A C-contiguous, aligned buffer; `array_of` makes them."""

    def __dealloc__(self):
        if self.taken:
            PyBuffer_Release(&self.view)

    @property
    def shape(self):
        return tuple([self.view.shape[i] for i in range(self.view.ndim)])

    @property
    def strides(self):
        return tuple([self.view.strides[i] for i in range(self.view.ndim)])

    cdef int64_t size(self, int axis=0) noexcept:
        return self.view.shape[axis]


cdef copy_of(const void *source, tuple shape, str dtype):
    """A NumPy array of its own, of what lies at `source`."""
    import numpy as np

    cdef Py_buffer view
    copy = np.empty(shape, dtype)
    PyObject_GetBuffer(copy, &view, PyBUF_WRITABLE)
    if view.len:
        memcpy(view.buf, source, <size_t>view.len)
    PyBuffer_Release(&view)
    return copy
