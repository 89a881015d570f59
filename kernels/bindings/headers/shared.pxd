"""What processes share, mappings and their placement, adapter and ring: ``kernels/shared/``."""

from libc.stdint cimport int32_t, int64_t, uint64_t

from lorabench._kernels.headers.lookup cimport lb_lora
from lorabench._kernels.headers.train cimport lb_slots


cdef extern from "shared/pages.h" nogil:
    size_t LB_HUGE_PAGE
    int MADV_HUGEPAGE, MADV_COLLAPSE, MADV_POPULATE_READ, MADV_POPULATE_WRITE
    void *lb_map(int fd, size_t length, int writable)
    int madvise(void *address, size_t length, int advice)

cdef extern from "shared/numa.h" nogil:
    int LB_MAX_NODES
    int MPOL_DEFAULT, MPOL_BIND, MPOL_INTERLEAVE, MPOL_LOCAL
    int MPOL_MODE_FLAGS
    unsigned MPOL_F_ADDR, MPOL_F_MEMS_ALLOWED

    ctypedef struct lb_nodes:
        pass

    void lb_nodes_add(lb_nodes *nodes, int node)
    int lb_nodes_have(const lb_nodes *nodes, int node)
    int lb_mbind(void *address, size_t length, int mode, const lb_nodes *nodes)
    int lb_set_mempolicy(int mode, const lb_nodes *nodes)
    int lb_get_mempolicy(int *mode, lb_nodes *nodes, const void *address, unsigned flags)
    int lb_page_nodes(const char *address, int64_t step, int64_t n, int32_t *nodes)

cdef extern from "shared/version.h" nogil:
    int64_t lb_version(const int64_t *version)
    void lb_version_advance(int64_t *version)

cdef extern from "shared/leftright.h" nogil:
    int LB_PIN_BYTES

    ctypedef struct lb_pin:
        pass

    int64_t lb_reader_enter(const int64_t *active, lb_pin *pin)
    void lb_reader_leave(lb_pin *pin)
    int lb_side_is_free(const lb_pin *pins, int64_t readers, int64_t side)
    void lb_flip(int64_t *active, int64_t side)

cdef extern from "shared/adapter.h" nogil:
    ctypedef struct lb_side_table:
        int32_t rank
        int32_t slots
        int32_t used

    ctypedef struct lb_side:
        int64_t epoch
        int64_t bytes
        lb_side_table *table

    ctypedef struct lb_adapter:
        int64_t active
        int64_t side_bytes
        int64_t tables
        int64_t dim

    int64_t lb_side_bytes(int64_t tables, int64_t dim, const int64_t *ranks, const int64_t *slots)
    int64_t lb_adapter_bytes(int64_t tables, int64_t dim, const int64_t *ranks,
                             const int64_t *slots)
    void lb_side_format(lb_side *side, int64_t tables, int64_t dim, const int64_t *ranks,
                        const int64_t *slots)
    void lb_adapter_format(lb_adapter *adapter, int64_t bytes, int64_t tables, int64_t dim,
                           const int64_t *ranks, const int64_t *slots)
    lb_side *lb_adapter_side(lb_adapter *adapter, int64_t side)
    lb_lora lb_side_lora(lb_side *side, int64_t t)
    lb_lora lb_side_view(lb_side *side, int64_t t)
    void lb_sync_table(lb_side *source, lb_side *target, int64_t t, lb_slots *slots)
    void lb_sync_all(lb_adapter *adapter, int64_t source, int64_t target)

cdef extern from "shared/ring.h" nogil:
    ctypedef struct lb_ring_state:
        uint64_t head
        uint64_t dropped
        int64_t base
        uint64_t tail

    ctypedef struct lb_ring_key:
        pass

    ctypedef struct lb_ring:
        lb_ring_state *state
        char *records
        int64_t capacity
        int64_t bytes
        int64_t dense
        int64_t sparse
        int64_t base

    ctypedef struct lb_ring_rows:
        float *dense
        int32_t *sparse
        int64_t *version
        float *base

    int64_t lb_ring_base_bytes(int64_t base)
    int64_t lb_ring_record_bytes(int64_t dense, int64_t sparse, int64_t base)
    int lb_ring_append(const lb_ring *ring, int64_t first, int64_t n, int64_t served_ns,
                       int64_t version, const float *dense, const int32_t *sparse,
                       const float *base)
    int64_t lb_ring_take(const lb_ring *ring, int64_t before_ns, int64_t most, lb_ring_key *keys,
                         const lb_ring_rows *rows)
    int64_t lb_ring_due(const lb_ring *ring, int64_t before_ns)
    void lb_ring_skip(const lb_ring *ring, int64_t n)
