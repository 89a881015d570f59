"""Training of the adapter's A and of whole tables: ``kernels/train/``."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t

from lorabench._kernels.headers.lookup cimport lb_index, lb_lora


cdef extern from "train/adapt.h" nogil:
    ctypedef struct lb_sketch:
        uint8_t *counters

    ctypedef struct lb_slots:
        float *accumulator
        int32_t *slot_row
        uint16_t *lookup_counts
        int32_t slots
        int32_t used
        lb_sketch sketch
        uint32_t random

    ctypedef struct lb_scratch:
        float *sums
        int32_t *touched
        lb_index seen

    ctypedef struct lb_adagrad:
        float learning_rate
        float epsilon
        float initial_accumulator
        float plain_rate

    ctypedef struct lb_gradient:
        const float *grad
        int64_t stride
        float *basis_grad

    void lb_number_rows(lb_slots *slots)

cdef extern from "train/slots.h" nogil:
    ctypedef struct lb_rotation:
        const float *basis
        const float *turn
        int64_t stride

    int64_t lb_slots_bytes(int64_t slots, int pruned)
    int lb_slots_new(lb_slots *slots, int64_t count, int pruned, uint32_t seed)
    void lb_slots_free(lb_slots *slots)
    void lb_slots_clean(lb_slots *slots)
    void lb_slots_clear(lb_slots *slots)
    void lb_slots_put(lb_slots *slots, const lb_lora *lora, int32_t row, const float *values,
                      float accumulator)
    void lb_slots_age(lb_slots *slots, const lb_lora *lora, int64_t used, float accumulators)
    void lb_slots_move(const lb_slots *source, const lb_lora *old, const int32_t *kept, int64_t n,
                       const lb_rotation *by, lb_slots *target, const lb_lora *lora, int64_t dim)
    void lb_slots_gram(const lb_lora *lora, int64_t used, double *total)

cdef extern from "train/step.h" nogil:
    ctypedef struct lb_trained:
        float *weights
        float *accumulator
        int64_t dim
