"""Shared mappings; see memory.pyx."""


cdef class Mapping:
    cdef void *address
    cdef readonly Py_ssize_t length
    cdef readonly bint writable
    cdef Py_ssize_t shape[1]
