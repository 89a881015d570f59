"""A server's clock, load and witness, and a neighbour's arithmetic: ``kernels/serve/``."""

from libc.stdint cimport int32_t, int64_t

from lorabench._kernels.headers.shared cimport lb_ring


cdef extern from "serve/clock.h" nogil:
    void lb_sleep_until(int64_t deadline_ns)
    int lb_set_timer_slack(unsigned long ns)
    int64_t lb_set_time_slice(int64_t ns)

cdef extern from "serve/witness.h" nogil:
    ctypedef struct lb_witnessed:
        int64_t switches
        int64_t faults
        int64_t delay_ns

    int lb_witness_read(int schedstat, lb_witnessed *found)

cdef extern from "serve/calculate.h" nogil:
    double lb_calculate(int64_t cpu_ns)

cdef extern from "serve/offer.h" nogil:
    ctypedef struct lb_offered:
        const float *dense
        const int32_t *sparse
        const int64_t *first_row
        const int32_t *rows
        const int64_t *answered_ns

    ctypedef struct lb_offer_cost:
        int64_t spent_ns
        double row_ns

    int64_t lb_offer(const lb_ring *ring, const lb_offered *source, int64_t at, int64_t end,
                     int64_t until_ns, lb_offer_cost *cost)

cdef extern from "serve/load.h" nogil:
    int LB_LOAD_BYTES

    ctypedef struct lb_load_line:
        int64_t queries
        int64_t late
        int64_t due
        int64_t limit_ns

    void lb_load_begin(lb_load_line *line, int64_t now_ns, const int64_t *arrivals, int64_t n)
    void lb_load_end(lb_load_line *line, int64_t now_ns, int64_t answered_ns,
                     const int64_t *arrivals, int64_t n)
    int64_t lb_load_busy(const lb_load_line *line, int64_t now_ns)
    int64_t lb_load_get(const int64_t *source)
    void lb_load_set(int64_t *target, int64_t value)
