/* Answered queries on their way into the replay ring, one at a time, while there is time.
 *
 * While queries wait, whatever is done for the trainer makes them wait longer. So a server offers
 * rows when it has nothing to serve, and stops before the next arrival is due. */
#ifndef LORABENCH_OFFER_H
#define LORABENCH_OFFER_H

#include "serve/clock.h"
#include "shared/ring.h"

#include <stdint.h>

/* What a server offers from: rows [*], and of each query its first row, how many rows it has, and
 * when it was answered by the clock that the ring's times are of. */
typedef struct {
  const float *dense;
  const int32_t *sparse;
  const int64_t *first_row;
  const int32_t *rows;
  const int64_t *answered_ns;
} lb_offered;

typedef struct {
  int64_t spent_ns; /* on offering */
  double row_ns;    /* a row, of the last few: it depends on what else is in the cache */
} lb_offer_cost;

/* Offer queries from `at` on, up to `end`, as long as each will be done before `until_ns` of
 * CLOCK_MONOTONIC; returns the first that was not offered. */
static inline int64_t lb_offer(const lb_ring *ring, const lb_offered *from, int64_t at, int64_t end,
                               int64_t until_ns, lb_offer_cost *cost) {
  int64_t now = at < end ? lb_monotonic_ns() : 0;
  while (at < end && (double)now + cost->row_ns * (double)from->rows[at] < (double)until_ns) {
    const int64_t first = from->first_row[at], n = from->rows[at], begun = now;
    lb_ring_append(ring, first, n, from->answered_ns[at], 0, from->dense + first * ring->dense,
                   from->sparse + first * ring->sparse, NULL);
    now = lb_monotonic_ns();
    cost->row_ns += ((double)(now - begun) / (double)(n > 0 ? n : 1) - cost->row_ns) / 8;
    cost->spent_ns += now - begun;
    at++;
  }
  return at;
}

#endif
