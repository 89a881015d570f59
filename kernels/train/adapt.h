/* One training step of a table's A: project, sum duplicates, row-wise Adagrad.
 *
 * With W and B fixed, d(loss)/dA[slot] is the sum over the rows of that slot of B g, where g [D]
 * is the gradient of the bag that the row stands in. All occurrences of a slot in the batch are
 * summed before the accumulator and A move, in the order of the batch, so that the result does
 * not depend on how often a row is repeated and is the same on every run. The accumulator is one
 * number a slot, the sum of the squared norms of its summed gradients (row-wise Adagrad; Duchi et
 * al. 2011, as used for embedding tables by Naumov et al. 2019).
 *
 * A gradient is projected once a bag, whatever the bag's size. The misses of a group of positions
 * overlap as they do in a lookup (lora.h), and the rows of A that a batch touches are asked for
 * some way ahead of their update.
 */
#ifndef LORABENCH_ADAPT_H
#define LORABENCH_ADAPT_H

#include <math.h>

#include "lookup/lora.h"
#include "train/sketch.h"

/* How a slot differs between the two sides. */
enum { LB_CHANGED = 1, LB_GIVEN = 2 };

/* A row that is met this often within the sketch's memory has earned a slot. */
enum { LB_EARNED = 2 };

/* Rows of one table that may lose their slot between two syncs, and how many slots are looked at
 * to find one that may. */
enum { LB_MOST_EVICTED = 64, LB_CANDIDATES = 8 };

/* What the writer keeps a slot, private to it. */
typedef struct {
  float *accumulator;      /* [slots] */
  int32_t *slot_row;       /* [slots] row that holds the slot */
  uint16_t *lookup_counts; /* [slots] lookups of late, saturating */
  uint8_t *dirty;          /* [slots] LB_CHANGED, LB_GIVEN */
  int32_t slots;           /* capacity */
  int32_t used;
  lb_sketch sketch; /* counts rows without a slot; none where every row can have one */
  float typical;    /* mean squared norm of the rows of A, as last looked */
  uint32_t random;
  int32_t evicted; /* rows that the other side still knows */
  int32_t gone[LB_MOST_EVICTED];
} lb_slots;

/* Working memory of a step, of the size of the batch. */
typedef struct {
  float *sums;      /* [positions, rank] summed gradients of the touched slots */
  int32_t *touched; /* [positions] */
  lb_index seen;    /* slot -> place in `touched`; capacity above `positions` */
} lb_scratch;

typedef struct {
  float learning_rate;
  float epsilon;
  float initial_accumulator; /* what one that is 0, and has seen nothing, starts with */
  float plain_rate;          /* the learning rate of plain deltas */
} lb_adagrad;

/* The gradients by a table's pooled embeddings, and what becomes of them. */
typedef struct {
  const float *grad; /* [bags, dim], rows `stride` apart */
  int64_t stride;
  float *basis_grad; /* [rank, dim], d(loss)/dB is added to it; or NULL */
} lb_gradient;

LB_INLINE void lb_touch(lb_slots *slots, int32_t slot) {
  slots->lookup_counts[slot] += slots->lookup_counts[slot] < UINT16_MAX;
  slots->dirty[slot] |= LB_CHANGED;
}

/* A slot whose row is met less often than `seen`, of some that are drawn at random; -1: none.
 *
 * Of those that may go, the one goes that is worth least: lookups of late times the squared norm
 * of its row of A, to which a typical norm is added, lest a row that has only just come be the
 * first to go. Slots that were touched since the last sync stay: sums may be on their way to them.
 */
static inline int32_t lb_coldest(const lb_lora *lora, lb_slots *slots, int32_t seen) {
  int32_t coldest = -1;
  float least = INFINITY;
  for (int i = 0; i < LB_CANDIDATES; i++) {
    slots->random = slots->random * 1664525u + 1013904223u;
    const int32_t slot = (int32_t)(((uint64_t)slots->random * (uint64_t)slots->used) >> 32);
    if (slots->dirty[slot] || slots->lookup_counts[slot] >= seen)
      continue;
    const float *row = lora->A + (int64_t)slot * lora->rank;
    const float worth =
        (float)(slots->lookup_counts[slot] + 1) * (lb_dot(row, row, lora->rank) + slots->typical);
    if (worth < least) {
      least = worth;
      coldest = slot;
    }
  }
  return coldest;
}

/* A slot for a row that has none: a free one, or a colder row's; -1: it has not earned one. */
static inline int32_t lb_earn(lb_lora *lora, lb_slots *slots, int32_t row) {
  int32_t seen = LB_EARNED;
  if (slots->sketch.counters) {
    seen = lb_sketch_add(&slots->sketch, lb_key(row));
    if (seen < LB_EARNED)
      return -1;
  }
  if (slots->used < slots->slots)
    return slots->used++;
  if (!slots->sketch.counters || slots->evicted == LB_MOST_EVICTED || slots->used == 0)
    return -1;
  const int32_t slot = lb_coldest(lora, slots, seen);
  if (slot >= 0) {
    slots->gone[slots->evicted++] = slots->slot_row[slot];
    lb_index_erase(&lora->index, slots->slot_row[slot]);
  }
  return slot;
}

/* The slot of `row`, giving it one if it has earned it; -1 otherwise. */
static inline int32_t lb_admit(lb_lora *lora, lb_slots *slots, int32_t row) {
  const int32_t found = lb_index_find(&lora->index, row);
  if (found >= 0) {
    lb_touch(slots, found);
    return found;
  }
  const int32_t slot = lb_earn(lora, slots, row);
  if (slot < 0)
    return -1;
  lb_index_put(&lora->index, row, slot);
  slots->slot_row[slot] = row;
  slots->accumulator[slot] = 0;
  slots->lookup_counts[slot] = 1;
  slots->dirty[slot] = LB_CHANGED | LB_GIVEN;
  memset(lora->A + (int64_t)slot * lora->rank, 0, (size_t)lora->rank * sizeof(float));
  return slot;
}

/* projected [rank] = B grad */
static inline void lb_project(const lb_lora *lora, int64_t dim, const float *grad,
                              float *restrict projected) {
  for (int32_t j = 0; j < lora->rank; j++)
    projected[j] = lb_dot(lora->B + (int64_t)j * dim, grad, dim);
}

/* Add scale * projected to the sum of `slot`. Returns how many slots are touched by now. */
LB_INLINE int64_t lb_gather(lb_scratch *scratch, int64_t touched, int32_t slot,
                            const float *projected, float scale, int32_t rank) {
  int64_t at;
  int32_t place = lb_index_probe(&scratch->seen, lb_key(slot), &at);
  if (place < 0) {
    place = (int32_t)touched++;
    lb_index_fill(&scratch->seen, at, lb_key(slot), place);
    scratch->touched[place] = slot;
    memset(scratch->sums + (int64_t)place * rank, 0, (size_t)rank * sizeof(float));
  }
  lb_add_scaled(scratch->sums + (int64_t)place * rank, projected, scale, rank);
  return touched;
}

/* Move the accumulators and rows of A of the touched slots. */
static inline void lb_adagrad_step(lb_lora *lora, lb_slots *slots, const lb_scratch *scratch,
                                   int64_t touched, const lb_adagrad *rule) {
  const int32_t rank = lora->rank;
  for (int64_t i = 0; i < touched; i++) {
    if (i + LB_AHEAD < touched) {
      const int32_t ahead = scratch->touched[i + LB_AHEAD];
      lb_prefetch_l2(lora->A + (int64_t)ahead * rank, rank * 4);
      __builtin_prefetch(&slots->accumulator[ahead], 1, 2);
      __builtin_prefetch(&slots->dirty[ahead], 1, 2);
    }
    const int32_t slot = scratch->touched[i];
    const float *sum = scratch->sums + i * rank;
    if (slots->accumulator[slot] == 0)
      slots->accumulator[slot] = rule->initial_accumulator;
    slots->accumulator[slot] += lb_dot(sum, sum, rank);
    const float step = rule->learning_rate / (sqrtf(slots->accumulator[slot]) + rule->epsilon);
    lb_add_scaled(lora->A + (int64_t)slot * rank, sum, -step, rank);
    slots->dirty[slot] |= LB_CHANGED;
  }
}

/* Slots of positions that are soon to be learned from, a ring. */
typedef struct {
  int32_t slot[LB_AHEAD];
} lb_admitted;

/* Give `position` its slot and ask for the place where its sum is kept. */
LB_INLINE void lb_admit_ahead(lb_admitted *ring, lb_lora *lora, lb_slots *slots, const lb_bags *in,
                              int64_t position, const lb_scratch *scratch) {
  const int32_t slot = lb_admit(lora, slots, (int32_t)lb_bag_row(in, position));
  ring->slot[position % LB_AHEAD] = slot;
  if (slot >= 0)
    __builtin_prefetch(&scratch->seen.buckets[lb_home(lb_key(slot), scratch->seen.capacity)]);
}

LB_INLINE void lb_bucket_ahead(const lb_lora *lora, const lb_bags *in, int64_t position) {
  const uint32_t key = lb_key((int32_t)lb_bag_row(in, position));
  __builtin_prefetch(&lora->index.buckets[lb_home(key, lora->index.capacity)], 0, 2);
}

/* Take every slot of a plain delta into use, each for the row of its number. */
static inline void lb_number_rows(lb_slots *slots) {
  slots->used = slots->slots;
  for (int32_t row = 0; row < slots->slots; row++)
    slots->slot_row[row] = row;
}

/* Learn a plain delta: nothing is projected, and every row has its slot. */
static inline void lb_plain_backward(const lb_lora *lora, lb_slots *slots, int64_t dim,
                                     const lb_bags *in, const lb_gradient *by,
                                     const lb_adagrad *rule, lb_scratch *scratch) {
  lb_lora rows = {.A = lora->A, .rank = (int32_t)dim};
  lb_adagrad at_rate = *rule;
  int64_t touched = 0;
  at_rate.learning_rate = rule->plain_rate;
  if (slots->used == 0) {
    memset(rows.A, 0, (size_t)(slots->slots * dim) * sizeof(float));
    memset(slots->accumulator, 0, (size_t)slots->slots * sizeof(float));
    memset(slots->dirty, LB_CHANGED, (size_t)slots->slots);
    lb_number_rows(slots);
  }
  lb_index_clear(&scratch->seen);
  for (int64_t b = 0; b < in->bags; b++) {
    const int64_t begin = lb_bag_begin(in, b), end = lb_bag_end(in, b);
    const float divisor = in->mean ? (float)(end - begin) : 1.0f;
    for (int64_t p = begin; p < end; p++) {
      const int32_t row = (int32_t)lb_bag_row(in, p);
      lb_touch(slots, row);
      touched = lb_gather(scratch, touched, row, by->grad + b * by->stride,
                          lb_bag_weight(in, p) / divisor, rows.rank);
    }
  }
  lb_adagrad_step(&rows, slots, scratch, touched, &at_rate);
}

/* Learn from the gradients of a batch. Returns how many positions found no slot. */
static inline int64_t lb_lora_backward(lb_lora *lora, lb_slots *slots, int64_t dim,
                                       const lb_bags *in, const lb_gradient *by,
                                       const lb_adagrad *rule, lb_scratch *scratch) {
  const int32_t rank = lora->rank;
  float projected[LB_MAX_RANK];
  lb_admitted ring;
  int64_t touched = 0, refused = 0;
  if (in->bags == 0)
    return 0;
  if (lora->plain)
    lb_plain_backward(lora, slots, dim, in, by, rule, scratch);
  if (rank == 0)
    return 0;
  lb_index_clear(&scratch->seen);
  const int64_t start = lb_bag_begin(in, 0), limit = lb_bag_end(in, in->bags - 1);
  for (int64_t p = start; p < lb_least(start + 2 * LB_AHEAD, limit); p++)
    lb_bucket_ahead(lora, in, p);
  for (int64_t p = start; p < lb_least(start + LB_AHEAD, limit); p++)
    lb_admit_ahead(&ring, lora, slots, in, p, scratch);
  for (int64_t b = 0; b < in->bags; b++) {
    const int64_t begin = lb_bag_begin(in, b), end = lb_bag_end(in, b);
    const float *grad = by->grad + b * by->stride;
    const float divisor = in->mean ? (float)(end - begin) : 1.0f;
    if (begin < end)
      lb_project(lora, dim, grad, projected);
    for (int64_t p = begin; p < end; p++) {
      const int32_t slot = ring.slot[p % LB_AHEAD];
      if (p + 2 * LB_AHEAD < limit)
        lb_bucket_ahead(lora, in, p + 2 * LB_AHEAD);
      if (p + LB_AHEAD < limit)
        lb_admit_ahead(&ring, lora, slots, in, p + LB_AHEAD, scratch);
      if (slot < 0) {
        refused++;
        continue;
      }
      const float scale = lb_bag_weight(in, p) / divisor;
      touched = lb_gather(scratch, touched, slot, projected, scale, rank);
      for (int32_t j = 0; by->basis_grad && j < rank; j++)
        lb_add_scaled(by->basis_grad + (int64_t)j * dim, grad,
                      scale * lora->A[(int64_t)slot * rank + j], dim);
    }
  }
  lb_adagrad_step(lora, slots, scratch, touched, rule);
  return refused;
}

#endif
