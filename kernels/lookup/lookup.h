/* Embedding-bag lookup: out[b] = sum (or mean) over the rows i of bag b of weight_i W[i].
 *
 * A bag is summed in registers, a block of columns at a time; a row's lines are asked for
 * LB_AHEAD rows before they are needed, across the ends of bags. The usual widths are compiled for
 * with their number of vectors a constant; any other is made up of blocks of 8, 4, 2 and 1 vectors
 * and a last one that overlaps its neighbour. Only rows narrower than a vector are added up
 * element by element.
 */
#ifndef LORABENCH_LOOKUP_H
#define LORABENCH_LOOKUP_H

#include "lookup/bags.h"

/* Far enough that a row has come when its turn is, also where each takes a page walk; further
 * buys nothing more (docs/kernels.md). */
#define LB_AHEAD 32
#define LB_AHEAD_NEAR 16

typedef struct {
  const void *weights; /* [rows, dim] */
  int64_t rows, dim;
  int32_t bf16; /* the upper halves of fp32, not fp32 */
} lb_table;

/* Of a table that L2 holds, only a row's first line is asked for, and into L1: the lines are near,
 * and the hardware sees the next ones coming. */
#define LB_NEAR_BYTES ((int64_t)1 << 20)

/* What a kernel is inlined for: each is a constant there. */
typedef struct {
  int wide, bf16, weighted, near;
} lb_shape;

LB_INLINE int64_t lb_row_bytes(const lb_table *table) { return table->dim * (table->bf16 ? 2 : 4); }

LB_INLINE const void *lb_table_row(const lb_table *table, int64_t row, int64_t dim, int bf16) {
  return (const char *)table->weights + row * dim * (bf16 ? 2 : 4);
}

LB_INLINE lb_vec lb_load_row(const void *row, int64_t column, int bf16) {
  return bf16 ? lb_load_bf16((const uint16_t *)row + column) : lb_load((const float *)row + column);
}

LB_INLINE float lb_element(const void *row, int64_t column, int bf16) {
  return bf16 ? lb_bf16(((const uint16_t *)row)[column]) : ((const float *)row)[column];
}

LB_INLINE void lb_prefetch_row(const lb_table *table, int64_t row, int64_t dim, int bf16) {
  lb_prefetch_l2(lb_table_row(table, row, dim, bf16), dim * (bf16 ? 2 : 4));
}

/* Columns [column, column + vectors) of the sum over a bag's positions [begin, end); rows are asked
 * for up to `limit`, the end of the table's last bag. Of a last block that overlaps the one before,
 * only the `rest` columns that are new are stored. */
LB_INLINE void lb_sum_block(const lb_table *table, const lb_bags *in, int64_t begin, int64_t end,
                            int64_t limit, int64_t dim, int64_t column, int vectors, int64_t rest,
                            lb_shape shape, float *out) {
  lb_vec sums[8];
  for (int v = 0; v < vectors; v++)
    sums[v] = (lb_vec){0};
  for (int64_t p = begin; p < end; p++) {
    if (column == 0 && p + LB_AHEAD < limit && !shape.near)
      lb_prefetch_row(table, lb_row(in, p + LB_AHEAD, shape.wide), dim, shape.bf16);
    if (column == 0 && p + LB_AHEAD_NEAR < limit && shape.near)
      __builtin_prefetch(
          lb_table_row(table, lb_row(in, p + LB_AHEAD_NEAR, shape.wide), dim, shape.bf16), 0, 3);
    const void *row = lb_table_row(table, lb_row(in, p, shape.wide), dim, shape.bf16);
    const float scale = shape.weighted ? in->weights[p * in->index_stride] : 1.0f;
    for (int v = 0; v < vectors; v++) {
      const lb_vec part = lb_load_row(row, column + v * LB_LANES, shape.bf16);
      sums[v] += shape.weighted ? scale * part : part;
    }
  }
  if (in->mean && end - begin > 1)
    for (int v = 0; v < vectors; v++)
      sums[v] /= (float)(end - begin);
  if (rest)
    memcpy(out + dim - rest, (const char *)sums + (LB_LANES - rest) * 4, (size_t)rest * 4);
  else
    for (int v = 0; v < vectors; v++)
      lb_store(out + column + v * LB_LANES, sums[v]);
}

/* Rows narrower than a vector. */
LB_INLINE void lb_sum_narrow(const lb_table *table, const lb_bags *in, int64_t begin, int64_t end,
                             lb_shape shape, float *out) {
  const int64_t dim = table->dim;
  const float size = in->mean && end > begin ? (float)(end - begin) : 1.0f;
  float sums[LB_LANES] = {0};
  for (int64_t p = begin; p < end; p++) {
    const void *row = lb_table_row(table, lb_row(in, p, shape.wide), dim, shape.bf16);
    const float scale = shape.weighted ? in->weights[p * in->index_stride] : 1.0f;
    for (int64_t d = 0; d < dim; d++)
      sums[d] += scale * lb_element(row, d, shape.bf16);
  }
  for (int64_t d = 0; d < dim; d++)
    out[d] = sums[d] / size;
}

LB_INLINE void lb_sum_bag(const lb_table *table, const lb_bags *in, int64_t begin, int64_t end,
                          int64_t limit, lb_shape shape, float *out) {
  const int64_t dim = table->dim;
  int64_t column = 0;
  if (dim < LB_LANES) {
    lb_sum_narrow(table, in, begin, end, shape, out);
    return;
  }
  for (; column + 8 * LB_LANES <= dim; column += 8 * LB_LANES)
    lb_sum_block(table, in, begin, end, limit, dim, column, 8, 0, shape, out);
  for (; column + 2 * LB_LANES <= dim; column += 2 * LB_LANES)
    lb_sum_block(table, in, begin, end, limit, dim, column, 2, 0, shape, out);
  for (; column + LB_LANES <= dim; column += LB_LANES)
    lb_sum_block(table, in, begin, end, limit, dim, column, 1, 0, shape, out);
  if (column < dim)
    lb_sum_block(table, in, begin, end, limit, dim, dim - LB_LANES, 1, dim - column, shape, out);
}

/* Call `body(dim)` with dim a constant where it is a usual one, and 0 where it is not: as many
 * vectors as one block has. */
#if LB_LANES >= 16
#define LB_DIM_128(body)                                                                           \
  case 128:                                                                                        \
    body(128);                                                                                     \
    break;
#else
#define LB_DIM_128(body)
#endif
#if LB_LANES >= 8
#define LB_DIM_64(body)                                                                            \
  case 64:                                                                                         \
    body(64);                                                                                      \
    break;
#else
#define LB_DIM_64(body)
#endif
#define LB_FOR_DIM(dim, body)                                                                      \
  switch (dim) {                                                                                   \
    LB_DIM_128(body)                                                                               \
    LB_DIM_64(body)                                                                                \
  case 32:                                                                                         \
    body(32);                                                                                      \
    break;                                                                                         \
  case 16:                                                                                         \
    body(16);                                                                                      \
    break;                                                                                         \
  default:                                                                                         \
    body(0);                                                                                       \
  }

/* The bags [first, last); dim 0 stands for any. */
LB_INLINE void lb_sum_bags(const lb_table *table, const lb_bags *in, int64_t first, int64_t last,
                           int64_t dim, lb_shape shape, float *out, int64_t out_stride) {
  const int64_t limit = lb_bag_end(in, in->bags - 1);
  int64_t begin = lb_bag_begin(in, first);
  for (int64_t b = first; b < last; b++) {
    const int64_t end = lb_bag_end(in, b);
    float *to = out + b * out_stride;
    if (dim)
      lb_sum_block(table, in, begin, end, limit, dim, 0, (int)(dim / LB_LANES), 0, shape, to);
    else
      lb_sum_bag(table, in, begin, end, limit, shape, to);
    begin = end;
  }
}

LB_INLINE void lb_sum_shape(const lb_table *table, const lb_bags *in, int64_t first, int64_t last,
                            lb_shape shape, float *out, int64_t out_stride) {
#define LB_BODY(D) lb_sum_bags(table, in, first, last, D, shape, out, out_stride)
  LB_FOR_DIM(table->dim, LB_BODY)
#undef LB_BODY
}

/* The bags [first, last) of a table; out [bags, dim], rows `out_stride` floats apart. */
static void lb_lookup_some(const lb_table *table, const lb_bags *in, int64_t first, int64_t last,
                           float *out, int64_t out_stride) {
#define LB_SHAPE(wide, bf16, weighted, near)                                                       \
  case wide + 2 * bf16 + 4 * weighted + 8 * near:                                                  \
    lb_sum_shape(table, in, first, last, (lb_shape){wide, bf16, weighted, near}, out, out_stride); \
    break;
  /* Without weights, as most lookups are, there is a build for small tables as well. */
  const int near = in->weights == NULL && table->rows * lb_row_bytes(table) <= LB_NEAR_BYTES;
  switch ((in->wide_indices != 0) + 2 * (table->bf16 != 0) + 4 * (in->weights != NULL) + 8 * near) {
    LB_SHAPE(0, 0, 0, 0)
    LB_SHAPE(1, 0, 0, 0)
    LB_SHAPE(0, 1, 0, 0)
    LB_SHAPE(1, 1, 0, 0)
    LB_SHAPE(0, 0, 1, 0)
    LB_SHAPE(1, 0, 1, 0)
    LB_SHAPE(0, 1, 1, 0)
    LB_SHAPE(1, 1, 1, 0)
    LB_SHAPE(0, 0, 0, 1)
    LB_SHAPE(1, 0, 0, 1)
    LB_SHAPE(0, 1, 0, 1)
    LB_SHAPE(1, 1, 0, 1)
  }
#undef LB_SHAPE
}

static inline void lb_lookup(const lb_table *table, const lb_bags *in, float *out,
                             int64_t out_stride) {
  if (in->bags)
    lb_lookup_some(table, in, 0, in->bags, out, out_stride);
}

/* Ask for the first rows of a table's bags; worth doing while the table before is worked on. */
static inline void lb_lookup_ahead(const lb_table *table, const lb_bags *in) {
  const int64_t begin = in->bags ? lb_bag_begin(in, 0) : 0;
  const int64_t end = in->bags ? lb_bag_end(in, in->bags - 1) : 0;
  for (int64_t p = begin; p < end && p < begin + LB_AHEAD; p++)
    lb_prefetch_row(table, lb_bag_row(in, p), table->dim, table->bf16);
}

#endif
