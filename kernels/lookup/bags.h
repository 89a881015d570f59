/* Which rows are looked up: one table's bags in a batch, and the checks that make it safe to.
 *
 * Indices and offsets are int32 or int64, told apart once a kernel and not once a row: kernels are
 * inlined for each width (`wide` is a constant there). `offsets` NULL means one index a bag
 * (one-hot); indices may be strided, so that one table's column of a [B, F] batch is read where
 * it lies.
 */
#ifndef LORABENCH_BAGS_H
#define LORABENCH_BAGS_H

#include "dispatch/vector.h"

typedef struct {
  const void *indices;
  const void *offsets;  /* [bags + 1], or NULL: bag b is the index b alone */
  const float *weights; /* one an index, as strided as they are; or NULL: all 1 */
  int64_t index_stride; /* in elements */
  int64_t bags;
  int32_t wide_indices; /* int64, not int32 */
  int32_t wide_offsets;
  int32_t mean; /* divide by the bag's size */
} lb_bags;

LB_INLINE int64_t lb_offset(const lb_bags *in, int64_t i) {
  if (in->offsets == NULL)
    return i;
  return in->wide_offsets ? ((const int64_t *)in->offsets)[i] : ((const int32_t *)in->offsets)[i];
}

LB_INLINE int64_t lb_bag_begin(const lb_bags *in, int64_t bag) { return lb_offset(in, bag); }

LB_INLINE int64_t lb_bag_end(const lb_bags *in, int64_t bag) { return lb_offset(in, bag + 1); }

LB_INLINE int64_t lb_row(const lb_bags *in, int64_t position, int wide) {
  const int64_t at = position * in->index_stride;
  return wide ? ((const int64_t *)in->indices)[at] : ((const int32_t *)in->indices)[at];
}

LB_INLINE int64_t lb_bag_row(const lb_bags *in, int64_t position) {
  return lb_row(in, position, in->wide_indices);
}

LB_INLINE float lb_bag_weight(const lb_bags *in, int64_t position) {
  return in->weights ? in->weights[position * in->index_stride] : 1.0f;
}

/* Bags of `hotness` indices each, from a batch whose samples lie `columns` indices apart: copied
 * one behind the other. They take a fraction of what their rows do. `size` is that of an index. */
static inline void lb_take_bags(const void *from, int64_t columns, int64_t hotness, int64_t bags,
                                int64_t size, void *indices, int32_t *offsets) {
  const size_t bytes = (size_t)(hotness * size);
  for (int64_t b = 0; b < bags; b++) {
    memcpy((char *)indices + b * hotness * size, (const char *)from + b * columns * size, bytes);
    offsets[b] = (int32_t)(b * hotness);
  }
  offsets[bags] = (int32_t)(bags * hotness);
}

/* Position of the first index outside [0, rows), or -1. Checked before anything is written. Most
 * batches are good, so all indices are first looked at without a branch, which the compiler turns
 * into vectors. */
LB_INLINE int64_t lb_first_bad(const lb_bags *in, int64_t begin, int64_t end, int64_t rows,
                               int wide) {
  uint64_t bad = 0;
  if (in->index_stride == 1 && wide) {
    const int64_t *indices = in->indices;
    for (int64_t p = begin; p < end; p++)
      bad |= (uint64_t)indices[p] >= (uint64_t)rows;
  } else if (in->index_stride == 1) {
    const int32_t *indices = in->indices;
    const uint32_t most = rows > INT32_MAX ? (uint32_t)INT32_MAX : (uint32_t)(rows - 1);
    uint32_t found = 0;
    for (int64_t p = begin; p < end; p++)
      found |= (uint32_t)indices[p] > most;
    bad = found;
  } else {
    for (int64_t p = begin; p < end; p++)
      bad |= (uint64_t)lb_row(in, p, wide) >= (uint64_t)rows;
  }
  if (!bad)
    return -1;
  int64_t p = begin;
  while ((uint64_t)lb_row(in, p, wide) < (uint64_t)rows)
    p++;
  return p;
}

static inline int64_t lb_bad_index(const lb_bags *in, int64_t rows) {
  if (in->bags == 0)
    return -1;
  const int64_t begin = lb_bag_begin(in, 0), end = lb_bag_end(in, in->bags - 1);
  return in->wide_indices ? lb_first_bad(in, begin, end, rows, 1)
                          : lb_first_bad(in, begin, end, rows, 0);
}

/* The first i in [1, n) whose offset is less than the one before it, or -1. */
static inline int64_t lb_bad_offset(const lb_bags *in, int64_t n) {
  for (int64_t i = 1; i < n; i++)
    if (lb_offset(in, i) < lb_offset(in, i - 1))
      return i;
  return -1;
}

#endif
