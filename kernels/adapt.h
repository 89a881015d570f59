/* One training step of a table's A: project, sum duplicates, row-wise Adagrad.
 *
 * With W and B fixed, d(loss)/dA[slot] is the sum over the rows of that slot of B g, where g [D]
 * is the gradient of the bag that the row stands in. All occurrences of a slot in the batch are
 * summed before the accumulator and A move, in the order of the batch, so that the result does
 * not depend on how often a row is repeated and is the same on every run. The accumulator is one
 * number a slot, the sum of the squared norms of its summed gradients (row-wise Adagrad; Duchi et
 * al. 2011, as used for embedding tables by Naumov et al. 2019).
 */
#ifndef LORABENCH_ADAPT_H
#define LORABENCH_ADAPT_H

#include <math.h>

#include "lookup.h"

/* What the optimiser keeps a slot; private to the writer. */
typedef struct {
  float *accumulator; /* [slots] */
  int32_t *slot_row;  /* [slots] row that holds the slot */
  uint8_t *dirty;     /* [slots] not 0: differs between the two sides */
  int32_t slots;      /* capacity */
  int32_t used;
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
  float initial_accumulator; /* what a new slot starts with: its table's median */
} lb_adagrad;

static inline void lb_project(const lb_lora *lora, int64_t dim, const float *grad,
                              float *restrict projected) {
  for (int32_t j = 0; j < lora->rank; j++) {
    const float *direction = lora->B + (int64_t)j * dim;
    float dot = 0.0f;
    for (int64_t d = 0; d < dim; d++)
      dot += direction[d] * grad[d];
    projected[j] = dot;
  }
}

/* The slot of `row`, giving it a free one where it has none yet; -1 when all are taken. */
static inline int32_t lb_admit(lb_lora *lora, lb_slots *slots, int32_t row, float accumulator) {
  lb_entry *entry = lb_index_probe(&lora->index, row);
  if (entry->row)
    return entry->slot;
  if (slots->used == slots->slots)
    return -1;
  const int32_t slot = slots->used++;
  entry->row = row + 1;
  entry->slot = slot;
  slots->slot_row[slot] = row;
  slots->accumulator[slot] = accumulator;
  memset(lora->A + (int64_t)slot * lora->rank, 0, (size_t)lora->rank * sizeof(float));
  return slot;
}

/* Learn from `grad` [bags, dim] (rows `grad_stride` apart). Returns how many positions found no
 * slot. */
static inline int64_t lb_lora_backward(lb_lora *lora, lb_slots *slots, int64_t dim,
                                       const lb_bags *in, const float *grad, int64_t grad_stride,
                                       const lb_adagrad *rule, lb_scratch *scratch) {
  const int32_t rank = lora->rank;
  float projected[LB_MAX_RANK];
  int64_t touched = 0, refused = 0;
  if (rank == 0)
    return 0;
  lb_index_clear(&scratch->seen);
  for (int64_t b = 0; b < in->bags; b++) {
    if (lb_bag_begin(in, b) == lb_bag_end(in, b))
      continue;
    lb_project(lora, dim, grad + b * grad_stride, projected);
    for (int64_t p = lb_bag_begin(in, b); p < lb_bag_end(in, b); p++) {
      const int32_t slot = lb_admit(lora, slots, lb_bag_row(in, p), rule->initial_accumulator);
      if (slot < 0) {
        refused++;
        continue;
      }
      lb_entry *seen = lb_index_probe(&scratch->seen, slot);
      if (seen->row) {
        lb_add_scaled(scratch->sums + (int64_t)seen->slot * rank, projected, 1.0f, rank);
        continue;
      }
      seen->row = slot + 1;
      seen->slot = (int32_t)touched;
      scratch->touched[touched] = slot;
      memcpy(scratch->sums + touched * rank, projected, (size_t)rank * sizeof(float));
      touched++;
    }
  }
  for (int64_t i = 0; i < touched; i++) {
    const int32_t slot = scratch->touched[i];
    const float *sum = scratch->sums + i * rank;
    float norm2 = 0.0f;
    for (int32_t j = 0; j < rank; j++)
      norm2 += sum[j] * sum[j];
    slots->accumulator[slot] += norm2;
    const float step = rule->learning_rate / (sqrtf(slots->accumulator[slot]) + rule->epsilon);
    lb_add_scaled(lora->A + (int64_t)slot * rank, sum, -step, rank);
    slots->dirty[slot] = 1;
  }
  return refused;
}

#endif
