"""Raw Criteo lines, and table rows of raw ids: ``kernels/ingest/``."""

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint64_t


cdef extern from "ingest/criteo.h" nogil:
    int LB_CRITEO_DENSE
    int LB_CRITEO_SPARSE
    int LB_CRITEO_LINE

    ctypedef struct lb_criteo_rows:
        int8_t *label
        float *dense
        int64_t *ids
        int64_t stride

    int64_t lb_criteo_parse(const uint8_t *text, int64_t size, const lb_criteo_rows *out,
                            int64_t *used, int32_t *column)
    int64_t lb_criteo_format(const lb_criteo_rows *rows, int64_t n, uint8_t *text)

cdef extern from "ingest/ids.h" nogil:
    ctypedef struct lb_dictionary:
        int64_t used
        int64_t most
        int32_t *place
        int64_t *ids

    void lb_hash_ids(const int64_t *id, int64_t n, uint64_t ids, int32_t *rows)
    int64_t lb_dictionary_rows(lb_dictionary *dictionary, const int64_t *id, int64_t n,
                               int32_t *rows)
