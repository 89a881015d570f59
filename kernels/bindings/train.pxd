"""Working memory of a training step; see train.pyx."""

from libc.stdint cimport int64_t

from lorabench._kernels.headers.train cimport lb_scratch


cdef class Scratch:
    cdef lb_scratch room
    cdef int64_t positions, width

    cdef void release(self) noexcept
    cdef lb_scratch fit(self, int64_t positions, int64_t width) except *
