"""What a seed decides, Zipf draws and the planted click model: ``kernels/generate/``."""

from libc.stdint cimport int32_t, int64_t, uint32_t


cdef extern from "generate/zipf.h" nogil:
    ctypedef struct lb_bitgen:
        pass

    ctypedef struct lb_zipf:
        pass

    lb_zipf lb_zipf_law(int64_t n, double exponent)

cdef extern from "generate/plant.h" nogil:
    int LB_PLANT_DIMS

    ctypedef struct lb_population:
        int64_t ids
        int64_t multiplier
        int64_t offset
        uint32_t key
        uint32_t missing
        int64_t hot

    ctypedef struct lb_clocks:
        int64_t tick
        const double *swaps
        const double *newcomers

    ctypedef struct lb_plant:
        int64_t features
        const int32_t *hotness
        const uint32_t *keys
        int64_t dims
        const uint32_t *knots
        const float *near
        const float *far
        double own
        float day

    ctypedef struct lb_logits:
        float *preference
        float *pairs
        float *daily
