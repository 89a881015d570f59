/* The wall that lookups run against: how fast can rows be read at random, doing nothing else?
 *
 * Row numbers come from a generator in registers, so no index is read, no bag is kept and nothing
 * is written: what is left is the memory. Reading is as in lookup.h, a row's lines asked for
 * `ahead` rows early; the caller tries several distances and takes the best, so that the limit is
 * the machine's and not this loop's.
 */
#ifndef LORABENCH_WALL_H
#define LORABENCH_WALL_H

#include "lookup/lookup.h"

#define LB_WALL_AHEAD 256

/* xorshift64* (Vigna 2016), its upper half scaled to a row. */
LB_INLINE int64_t lb_wall_row(uint64_t *state, int64_t rows) {
  *state ^= *state >> 12;
  *state ^= *state << 25;
  *state ^= *state >> 27;
  return (int64_t)(((*state * 2685821657736338717u >> 32) * (uint64_t)rows) >> 32);
}

LB_INLINE float lb_wall_read(const lb_table *table, uint64_t seed, int64_t n, int64_t ahead,
                             int64_t dim) {
  int64_t coming[LB_WALL_AHEAD];
  lb_vec sums[4] = {0};
  const float *weights = table->weights;
  uint64_t state = seed | 1;
  for (int64_t i = 0; i < ahead; i++) {
    coming[i] = lb_wall_row(&state, table->rows) * dim;
    lb_prefetch_l2(weights + coming[i], dim * 4);
  }
  for (int64_t i = 0; i < n; i++) {
    int64_t *place = &coming[i & (ahead - 1)];
    const int64_t at = *place;
    *place = lb_wall_row(&state, table->rows) * dim;
    lb_prefetch_l2(weights + *place, dim * 4);
    for (int64_t d = 0; d + LB_LANES <= dim; d += LB_LANES)
      sums[d / LB_LANES % 4] += lb_load(weights + at + d);
  }
  return lb_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

/* Read `n` rows of an fp32 table, each asked for `ahead` (a power of two, at most LB_WALL_AHEAD)
 * rows before. The sum is returned so that nothing can be left out. */
static inline float lb_random_read(const lb_table *table, uint64_t seed, int64_t n, int64_t ahead) {
  switch (table->dim) {
  case 16:
    return lb_wall_read(table, seed, n, ahead, 16);
  case 32:
    return lb_wall_read(table, seed, n, ahead, 32);
  case 64:
    return lb_wall_read(table, seed, n, ahead, 64);
  case 128:
    return lb_wall_read(table, seed, n, ahead, 128);
  default:
    return lb_wall_read(table, seed, n, ahead, table->dim);
  }
}

#endif
