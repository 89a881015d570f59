/* Rows of a push into a served table: table[rows[i]] = values[i], as they stand in a buffer.
 *
 * Plain stores, as FBGEMM's emb_inplace_update has them on a CPU, but with a row's lines asked for
 * ahead of time. Stores past the cache would write rows of whole lines faster, at the readers'
 * expense: a popular row is read again at once, and would have to come from memory. Nothing keeps a
 * reader from seeing a row half old and half new, since one wider than a vector is several stores.
 * Neither does FBGEMM: what is read is a blend of two steps of training.
 */
#ifndef LORABENCH_PUT_ROWS_H
#define LORABENCH_PUT_ROWS_H

#include "lookup/lookup.h"

LB_INLINE void lb_put_each(float *table, const int32_t *rows, const float *values, int64_t n,
                           int64_t dim) {
  for (int64_t i = 0; i < n; i++) {
    if (i + LB_AHEAD < n)
      lb_prefetch_l2(table + rows[i + LB_AHEAD] * dim, dim * 4);
    float *to = table + rows[i] * dim;
    const float *from = values + i * dim;
    int64_t d = 0;
    for (; d + LB_LANES <= dim; d += LB_LANES)
      lb_store(to + d, lb_load(from + d));
    for (; d < dim; d++)
      to[d] = from[d];
  }
}

/* rows [n], each a row of the table; values [n, dim]. Of a row that stands there twice the later
 * value stays. */
static inline void lb_put_rows(float *table, const int32_t *rows, const float *values, int64_t n,
                               int64_t dim) {
  switch (dim) {
  case 16:
    lb_put_each(table, rows, values, n, 16);
    break;
  case 32:
    lb_put_each(table, rows, values, n, 32);
    break;
  case 64:
    lb_put_each(table, rows, values, n, 64);
    break;
  case 128:
    lb_put_each(table, rows, values, n, 128);
    break;
  default:
    lb_put_each(table, rows, values, n, dim);
  }
}

#endif
