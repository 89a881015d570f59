# cython: boundscheck=False, wraparound=False, cdivision=True
"""Shared mappings, and the NUMA nodes that memory comes from.
"""

from cpython.buffer cimport PyBUF_WRITABLE
from libc.errno cimport errno
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset
from posix.mman cimport munmap

from lorabench._kernels.arrays cimport INT32, Array, array_of
from lorabench._kernels.headers.shared cimport (
    LB_HUGE_PAGE, LB_MAX_NODES, MADV_COLLAPSE, MADV_HUGEPAGE, MADV_POPULATE_READ,
    MADV_POPULATE_WRITE, MPOL_BIND, MPOL_DEFAULT, MPOL_F_ADDR, MPOL_F_MEMS_ALLOWED,
    MPOL_INTERLEAVE, MPOL_LOCAL, MPOL_MODE_FLAGS, lb_get_mempolicy, lb_map, lb_mbind, lb_nodes,
    lb_nodes_add, lb_nodes_have, lb_page_nodes, lb_set_mempolicy, madvise,
)

import os


HUGE_PAGE_BYTES = LB_HUGE_PAGE
MAX_NODES = LB_MAX_NODES


cdef dict _POLICIES = {
    "default": MPOL_DEFAULT, "bind": MPOL_BIND, "interleave": MPOL_INTERLEAVE, "local": MPOL_LOCAL,
}


cdef int _policy_mode(str mode) except -1:
    if mode not in _POLICIES:
        raise ValueError(f"mode: found '{mode}', expected one of {', '.join(_POLICIES)}")
    return _POLICIES[mode]


cdef int _fill_nodes(lb_nodes *mask, nodes) except -1:
    memset(mask, 0, sizeof(lb_nodes))
    for node in nodes:
        if not 0 <= node < LB_MAX_NODES:
            raise ValueError(f"nodes: found {node}, expected 0 to {LB_MAX_NODES - 1}")
        lb_nodes_add(mask, node)
    return 0


cdef tuple _policy_at(const void *address, unsigned flags):
    cdef int mode = 0
    cdef lb_nodes mask
    memset(&mask, 0, sizeof(lb_nodes))
    if lb_get_mempolicy(&mode, &mask, address, flags) != 0:
        raise OSError(errno, os.strerror(errno))
    mode &= ~MPOL_MODE_FLAGS
    name = next((name for name, value in _POLICIES.items() if value == mode), f"mode {mode}")
    return name, tuple(node for node in range(LB_MAX_NODES) if lb_nodes_have(&mask, node))


def allowed_nodes():
    return _policy_at(NULL, MPOL_F_MEMS_ALLOWED)[1]


def memory_policy():
    return _policy_at(NULL, 0)


def set_memory_policy(str mode, nodes=()):
    cdef lb_nodes mask
    cdef int kind = _policy_mode(mode)
    _fill_nodes(&mask, nodes)
    if lb_set_mempolicy(kind, &mask) != 0:
        raise OSError(errno, os.strerror(errno))


cdef class Mapping:
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

    def populate(self, *, bint write=False):
        self._advise(MADV_POPULATE_WRITE if write else MADV_POPULATE_READ)

    def bind(self, str mode, nodes, Py_ssize_t offset=0, length=None):
        cdef lb_nodes mask
        cdef int failed, kind = _policy_mode(mode)
        cdef Py_ssize_t size = self.length - offset if length is None else length
        _fill_nodes(&mask, nodes)
        self._check_part(offset, size)
        with nogil:
            failed = lb_mbind(<char *>self.address + offset, <size_t>size, kind, &mask)
        if failed:
            raise OSError(errno, os.strerror(errno))

    def policy(self, Py_ssize_t offset=0):
        self._check_part(offset, 1)
        return _policy_at(<char *>self.address + offset, MPOL_F_ADDR)

    def page_nodes(self, int64_t step, nodes):
        cdef Array found = array_of(nodes, "nodes", INT32, 1, writable=True)
        cdef int64_t n = found.size()
        cdef int32_t *out = <int32_t *>found.view.buf
        cdef int failed
        if step < 1:
            raise ValueError(f"step: found {step}, expected at least 1 byte")
        if n == 0:
            return
        if n - 1 > (self.length - 1) // step:
            raise ValueError(
                f"nodes: found {n} places {step} bytes apart, expected them to lie within "
                f"{self.length} bytes"
            )
        with nogil:
            failed = lb_page_nodes(<char *>self.address, step, n, out)
        if failed:
            raise OSError(errno, os.strerror(errno))

    def _check_part(self, Py_ssize_t offset, Py_ssize_t size):
        if offset < 0 or size < 1 or size > self.length - offset:
            raise ValueError(
                f"part: found {size} bytes at {offset}, expected a part of {self.length} bytes"
            )
