"""The kernels in use, by all modules of the package; see dispatch.pyx."""

from lorabench._kernels.headers.dispatch cimport lb_kernels


cdef const lb_kernels *in_use
