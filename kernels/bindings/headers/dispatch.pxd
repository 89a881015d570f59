"""The kernels of one instruction set, as a table of functions: ``kernels/dispatch/``."""

from libc.stdint cimport int32_t, int64_t, uint64_t

from lorabench._kernels.headers.generate cimport (
    lb_bitgen, lb_clocks, lb_logits, lb_plant, lb_population, lb_zipf,
)
from lorabench._kernels.headers.lookup cimport lb_bags, lb_index, lb_lora, lb_parts, lb_table
from lorabench._kernels.headers.train cimport (
    lb_adagrad, lb_gradient, lb_scratch, lb_slots, lb_trained,
)


cdef extern from "dispatch/kernels.h" nogil:
    ctypedef struct lb_kernels:
        const char *name
        int64_t (*bad_index)(const lb_bags *bags, int64_t rows) noexcept nogil
        int64_t (*bad_offset)(const lb_bags *bags, int64_t n) noexcept nogil
        void (*find)(
            const lb_index *index, const int32_t *rows, int64_t n, int32_t *slots
        ) noexcept nogil
        void (*ahead)(const lb_table *table, const lb_bags *bags) noexcept nogil
        void (*ahead_lora)(
            const lb_table *table, const lb_lora *lora, const lb_bags *bags
        ) noexcept nogil
        void (*lookup)(
            const lb_table *table, const lb_bags *bags, float *out, int64_t out_stride
        ) noexcept nogil
        void (*lookup_lora)(
            const lb_table *table, const lb_lora *lora, const lb_bags *bags,
            const lb_parts *parts, float *out, int64_t out_stride
        ) noexcept nogil
        int64_t (*lora_backward)(
            lb_lora *lora, lb_slots *slots, int64_t dim, const lb_bags *bags,
            const lb_gradient *by, const lb_adagrad *rule, lb_scratch *scratch
        ) noexcept nogil
        void (*table_step)(
            const lb_trained *table, const lb_bags *bags, const float *grad, int64_t stride,
            const lb_adagrad *rule, lb_scratch *scratch
        ) noexcept nogil
        void (*put_rows)(
            float *table, const int32_t *rows, const float *values, int64_t n, int64_t dim
        ) noexcept nogil
        void (*top_rows)(
            const float *x, int64_t n, int64_t width, int64_t k, int64_t *rows, float *norms2
        ) noexcept nogil
        void (*gram)(
            const float *x, int64_t stride, int64_t n, int64_t dim, float *packed
        ) noexcept nogil
        void (*zipf)(
            const lb_zipf *law, lb_bitgen *random, int64_t *ranks, int64_t n
        ) noexcept nogil
        void (*place)(
            const lb_population *population, lb_bitgen *random, const lb_clocks *clocks,
            const int64_t *ranks, int64_t n, int32_t *rows
        ) noexcept nogil
        void (*plant_sums)(
            const lb_plant *plant, const int32_t *rows, int64_t stride, int64_t n,
            const lb_logits *sums
        ) noexcept nogil
        float (*random_read)(
            const lb_table *table, uint64_t seed, int64_t n, int64_t ahead
        ) noexcept nogil

    int lb_kernels_here(const lb_kernels **found)
