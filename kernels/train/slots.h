/* What the writer keeps about a table's slots (lb_slots), from its allocation to its end: given out
 * empty, aged, taken over into another layout, forgotten. How it is trained with is in adapt.h.
 */
#ifndef LORABENCH_SLOTS_H
#define LORABENCH_SLOTS_H

#include <stdlib.h>

#include "train/adapt.h"

/* Private bytes of a table's slots: accumulator, row, count of lookups, dirty mark; the sketch. */
static inline int64_t lb_slots_bytes(int64_t slots, int pruned) {
  const int64_t one = sizeof(float) + sizeof(int32_t) + sizeof(uint16_t) + sizeof(uint8_t);
  return slots * one + (pruned && slots ? (int64_t)1 << lb_sketch_bits(slots) : 0);
}

static inline void lb_slots_free(lb_slots *slots) {
  free(slots->accumulator);
  free(slots->slot_row);
  free(slots->lookup_counts);
  free(slots->dirty);
  free(slots->sketch.counters);
  memset(slots, 0, sizeof *slots);
}

/* Empty bookkeeping for `count` slots. Returns 0 if there is no memory; nothing is then held. */
static inline int lb_slots_new(lb_slots *slots, int64_t count, int pruned, uint32_t seed) {
  memset(slots, 0, sizeof *slots);
  slots->slots = (int32_t)count;
  slots->random = seed;
  if (count == 0)
    return 1;
  slots->accumulator = calloc((size_t)count, sizeof *slots->accumulator);
  slots->slot_row = calloc((size_t)count, sizeof *slots->slot_row);
  slots->lookup_counts = calloc((size_t)count, sizeof *slots->lookup_counts);
  slots->dirty = calloc((size_t)count, sizeof *slots->dirty);
  if (pruned) {
    slots->sketch.bits = lb_sketch_bits(count);
    slots->sketch.counters = calloc((size_t)1 << slots->sketch.bits, 1);
  }
  if (slots->accumulator && slots->slot_row && slots->lookup_counts && slots->dirty &&
      (slots->sketch.counters || !pruned))
    return 1;
  lb_slots_free(slots);
  return 0;
}

/* The two sides are alike. */
static inline void lb_slots_clean(lb_slots *slots) {
  if (slots->slots)
    memset(slots->dirty, 0, (size_t)slots->slots);
  slots->evicted = 0;
}

/* No row has a slot, none was ever met. */
static inline void lb_slots_clear(lb_slots *slots) {
  slots->used = 0;
  if (slots->sketch.counters)
    memset(slots->sketch.counters, 0, (size_t)1 << slots->sketch.bits);
  lb_slots_clean(slots);
}

/* Give `row` the next free slot, with `values` [rank] as its row of A and its accumulator. */
static inline void lb_slots_put(lb_slots *slots, const lb_lora *lora, int32_t row,
                                const float *values, float accumulator) {
  const int32_t slot = slots->used++;
  lb_index_put(&lora->index, row, slot);
  memcpy(lora->A + (int64_t)slot * lora->rank, values, (size_t)lora->rank * sizeof(float));
  slots->slot_row[slot] = row;
  slots->accumulator[slot] = accumulator;
  slots->lookup_counts[slot] = 1;
}

/* Halve all counts of lookups, scale the accumulators, and look anew at how large a row of A
 * typically is, over the `used` rows of the published side. */
static inline void lb_slots_age(lb_slots *slots, const lb_lora *lora, int64_t used,
                                float accumulators) {
  for (int32_t slot = 0; slot < slots->used; slot++) {
    slots->lookup_counts[slot] >>= 1;
    slots->accumulator[slot] *= accumulators;
  }
  if (slots->sketch.counters)
    lb_sketch_halve(&slots->sketch);
  double total = 0;
  for (int64_t entry = 0; entry < used * lora->rank; entry++)
    total += lora->A[entry] * lora->A[entry];
  if (used)
    slots->typical = (float)(total / (double)used);
}

/* A change of basis: the new B, and what the old A is multiplied by. */
typedef struct {
  const float *basis; /* [new rank, dim] */
  const float *turn;  /* [old rank, new rank], rows `stride` apart */
  int64_t stride;
} lb_rotation;

/* Take the slots `kept` [n] of one layout over into another, in that order; `to` is empty. A plain
 * delta stays as it is, and so has all of its slots kept or none. */
static inline void lb_slots_move(const lb_slots *from, const lb_lora *old, const int32_t *kept,
                                 int64_t n, const lb_rotation *by, lb_slots *to,
                                 const lb_lora *lora, int64_t dim) {
  to->typical = from->typical;
  if (lora->rank)
    memcpy(lora->B, by->basis, (size_t)(lora->rank * dim) * sizeof(float));
  for (int64_t i = 0; i < n; i++) {
    const float *row = old->A + kept[i] * lb_width(old, dim);
    if (lora->plain)
      memcpy(lora->A + i * dim, row, (size_t)dim * sizeof(float));
    for (int32_t k = 0; k < lora->rank; k++) {
      float total = 0;
      for (int32_t j = 0; j < old->rank; j++)
        total += row[j] * by->turn[j * by->stride + k];
      lora->A[i * lora->rank + k] = total;
    }
    to->accumulator[i] = from->accumulator[kept[i]];
    to->slot_row[i] = from->slot_row[kept[i]];
    to->lookup_counts[i] = from->lookup_counts[kept[i]];
    if (!lora->plain)
      lb_index_put(&lora->index, to->slot_row[i], (int32_t)i);
  }
  to->used = (int32_t)n;
}

/* total [rank, rank] += A^T A over `used` rows, in double precision. */
static inline void lb_slots_gram(const lb_lora *lora, int64_t used, double *total) {
  for (int64_t slot = 0; slot < used; slot++)
    for (int32_t i = 0; i < lora->rank; i++)
      for (int32_t j = 0; j < lora->rank; j++)
        total[i * lora->rank + j] +=
            (double)lora->A[slot * lora->rank + i] * (double)lora->A[slot * lora->rank + j];
}

#endif
