"""What reader and writer of the adapter have in common; see adapter.pyx."""

from libc.stdint cimport int64_t

from lorabench._kernels.arrays cimport Array
from lorabench._kernels.headers.shared cimport lb_adapter, lb_pin, lb_side
from lorabench._kernels.lookup cimport Batch, Tables
from lorabench._kernels.memory cimport Mapping


cdef Array ranks_of(rank, Array slots, int64_t dim)
cdef Array rows_of(rows, Py_ssize_t tables)
cdef lb_pin *pin_lines(Mapping pins, Py_ssize_t servers) except NULL
cdef int check_fit(Tables tables, const lb_adapter *adapter) except -1
cdef bint plain_fits(Tables tables, const lb_side *side) noexcept nogil
cdef int misfit(Tables tables) except -1
cdef void lookup_side(Tables tables, lb_side *side, Batch batch) noexcept nogil
