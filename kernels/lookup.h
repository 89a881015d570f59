/* Embedding-bag lookup, plain and with a LoRA term: out[b] = sum_{i in bag b} W[i] + A[slot(i)] B.
 *
 * The LoRA term is pooled in rank space first: the A rows of a bag are added up and B is applied
 * once a bag, not once a row. `offsets` NULL means one index a bag (one-hot); indices and bags
 * may be strided, so that one table's column of a [B, F] batch is read where it lies.
 */
#ifndef LORABENCH_LOOKUP_H
#define LORABENCH_LOOKUP_H

#include "index.h"

#define LB_MAX_RANK 256

/* One table's lookups in a batch. Strides count elements. */
typedef struct {
  const int32_t *indices;
  int64_t index_stride;
  const int64_t *offsets; /* [bags + 1], or NULL: bag b is the index b alone */
  int64_t bags;
} lb_bags;

static inline int64_t lb_bag_begin(const lb_bags *in, int64_t bag) {
  return in->offsets ? in->offsets[bag] : bag;
}

static inline int64_t lb_bag_end(const lb_bags *in, int64_t bag) {
  return in->offsets ? in->offsets[bag + 1] : bag + 1;
}

static inline int32_t lb_bag_row(const lb_bags *in, int64_t position) {
  return in->indices[position * in->index_stride];
}

/* Position of the first index outside [0, rows), or -1. Checked before anything is written. */
static inline int64_t lb_bad_index(const lb_bags *in, int64_t rows) {
  const int64_t begin = in->bags ? lb_bag_begin(in, 0) : 0;
  const int64_t end = in->bags ? lb_bag_end(in, in->bags - 1) : 0;
  for (int64_t p = begin; p < end; p++) {
    const int32_t row = lb_bag_row(in, p);
    if (row < 0 || row >= rows)
      return p;
  }
  return -1;
}

static inline void lb_add_scaled(float *restrict to, const float *restrict from, float scale,
                                 int64_t n) {
  for (int64_t d = 0; d < n; d++)
    to[d] += scale * from[d];
}

static inline void lb_lookup_bag(const float *weights, int64_t dim, const lb_bags *in, int64_t bag,
                                 float *restrict out) {
  int64_t p = lb_bag_begin(in, bag);
  const int64_t end = lb_bag_end(in, bag);
  if (p == end) {
    memset(out, 0, (size_t)dim * sizeof(float));
    return;
  }
  memcpy(out, weights + (int64_t)lb_bag_row(in, p) * dim, (size_t)dim * sizeof(float));
  for (p++; p < end; p++)
    lb_add_scaled(out, weights + (int64_t)lb_bag_row(in, p) * dim, 1.0f, dim);
}

static inline void lb_lookup(const float *weights, int64_t dim, const lb_bags *in, float *out,
                             int64_t out_stride) {
  for (int64_t b = 0; b < in->bags; b++)
    lb_lookup_bag(weights, dim, in, b, out + b * out_stride);
}

/* The adapter of one table: A [slots, rank], B [rank, dim], rows that have a slot. */
typedef struct {
  float *A;
  float *B;
  lb_index index;
  int32_t rank; /* 0: the table is not adapted */
} lb_lora;

/* out [dim] += pooled [rank] B [rank, dim] */
static inline void lb_add_lora(const lb_lora *lora, int64_t dim, const float *pooled,
                               float *restrict out) {
  for (int32_t j = 0; j < lora->rank; j++)
    lb_add_scaled(out, lora->B + (int64_t)j * dim, pooled[j], dim);
}

/* One index a bag: no pooling, so A's row is used where it lies. A lookup is a chain of two misses
 * (index entry, row of A) beside the independent one of W; going through a block in passes, each
 * prefetching for the next, lets the misses of different bags overlap. */
static inline void lb_lookup_lora_one_hot(const float *weights, int64_t dim, const lb_lora *lora,
                                          const lb_bags *in, float *out, int64_t out_stride) {
  enum { BLOCK = 32 };
  int32_t slots[BLOCK];
  for (int64_t begin = 0; begin < in->bags; begin += BLOCK) {
    const int64_t n = in->bags - begin < BLOCK ? in->bags - begin : BLOCK;
    for (int64_t i = 0; i < n; i++) {
      const int32_t row = lb_bag_row(in, begin + i);
      __builtin_prefetch(&lora->index.entries[lb_index_home(row, lora->index.capacity)]);
      __builtin_prefetch(weights + (int64_t)row * dim);
    }
    for (int64_t i = 0; i < n; i++) {
      slots[i] = lb_index_find(&lora->index, lb_bag_row(in, begin + i));
      if (slots[i] >= 0)
        __builtin_prefetch(lora->A + (int64_t)slots[i] * lora->rank);
    }
    for (int64_t i = 0; i < n; i++) {
      float *to = out + (begin + i) * out_stride;
      lb_lookup_bag(weights, dim, in, begin + i, to);
      if (slots[i] >= 0)
        lb_add_lora(lora, dim, lora->A + (int64_t)slots[i] * lora->rank, to);
    }
  }
}

static inline void lb_lookup_lora(const float *weights, int64_t dim, const lb_lora *lora,
                                  const lb_bags *in, float *out, int64_t out_stride) {
  float pooled[LB_MAX_RANK];
  const int32_t rank = lora->rank;
  if (rank == 0) {
    lb_lookup(weights, dim, in, out, out_stride);
    return;
  }
  if (in->offsets == NULL) {
    lb_lookup_lora_one_hot(weights, dim, lora, in, out, out_stride);
    return;
  }
  for (int64_t b = 0; b < in->bags; b++) {
    float *to = out + b * out_stride;
    lb_lookup_bag(weights, dim, in, b, to);
    int64_t hits = 0;
    for (int64_t p = lb_bag_begin(in, b); p < lb_bag_end(in, b); p++) {
      const int32_t slot = lb_index_find(&lora->index, lb_bag_row(in, p));
      if (slot < 0)
        continue;
      if (hits++ == 0)
        memset(pooled, 0, (size_t)rank * sizeof(float));
      lb_add_scaled(pooled, lora->A + (int64_t)slot * rank, 1.0f, rank);
    }
    if (hits)
      lb_add_lora(lora, dim, pooled, to);
  }
}

#endif
