"""Which rows are looked up, where their slots are found, what is read: ``kernels/lookup/``."""

from libc.stdint cimport int32_t, int64_t, uint32_t


cdef extern from "lookup/bags.h" nogil:
    ctypedef struct lb_bags:
        const void *indices
        const void *offsets
        const float *weights
        int64_t index_stride
        int64_t bags
        int32_t wide_indices
        int32_t wide_offsets
        int32_t mean

    int64_t lb_bag_end(const lb_bags *bags, int64_t bag)
    int64_t lb_bag_row(const lb_bags *bags, int64_t position)
    void lb_take_bags(const void *source, int64_t columns, int64_t hotness, int64_t bags,
                      int64_t size, void *indices, int32_t *offsets)

cdef extern from "lookup/lookup.h" nogil:
    ctypedef struct lb_table:
        const void *weights
        int64_t rows
        int64_t dim
        int32_t bf16

cdef extern from "lookup/index.h" nogil:
    ctypedef struct lb_bucket:
        pass

    ctypedef struct lb_index:
        lb_bucket *buckets
        int64_t capacity
        uint32_t *filter
        int32_t filter_bits

    int32_t lb_index_find(const lb_index *index, int32_t row)
    void lb_index_put(const lb_index *index, int32_t row, int32_t slot)
    int32_t lb_index_erase(const lb_index *index, int32_t row)
    void lb_index_clear(const lb_index *index)
    int64_t lb_index_capacity(int64_t rows)
    int32_t lb_index_filter_bits(int64_t rows)
    int64_t lb_filter_bytes(int32_t filter_bits)

cdef extern from "lookup/lora.h" nogil:
    int LB_MAX_RANK

    ctypedef struct lb_lora:
        float *A
        float *B
        lb_index index
        int32_t rank
        int32_t plain

    int64_t lb_width(const lb_lora *lora, int64_t dim)

    ctypedef struct lb_parts:
        float *base
        int64_t stride
        int given

cdef extern from "lookup/wall.h" nogil:
    int LB_WALL_AHEAD
