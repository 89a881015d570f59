/* A running Gram matrix: packed += x^T x for x [n, dim], uncentred, the lower triangle alone.
 *
 * Row i of the triangle begins at i (i + 1) / 2. Tiles of the matrix are summed in registers over
 * a block of samples that stays in cache, so each entry of the triangle is read and written once a
 * block. Only the tiles on and below the diagonal are computed: half of what a matrix product does.
 */
#ifndef LORABENCH_GRAM_H
#define LORABENCH_GRAM_H

#include "dispatch/vector.h"

#define LB_GRAM_ROWS 4
#if LB_LANES >= 16
#define LB_GRAM_VECTORS 4
#else
#define LB_GRAM_VECTORS 2
#endif

/* packed[i0 .. i0 + rows)[j0 .. j0 + vectors) += x^T x over n samples, kept to j <= i. */
LB_INLINE void lb_gram_tile(const float *x, int64_t stride, int64_t n, int64_t i0, int rows,
                            int64_t j0, int vectors, float *packed) {
  lb_vec sums[LB_GRAM_ROWS][LB_GRAM_VECTORS];
  for (int r = 0; r < rows; r++)
    for (int v = 0; v < vectors; v++)
      sums[r][v] = (lb_vec){0};
  for (int64_t s = 0; s < n; s++) {
    const float *sample = x + s * stride;
    for (int v = 0; v < vectors; v++) {
      const lb_vec column = lb_load(sample + j0 + v * LB_LANES);
      for (int r = 0; r < rows; r++)
        sums[r][v] += sample[i0 + r] * column;
    }
  }
  for (int r = 0; r < rows; r++) {
    float *row = packed + (i0 + r) * (i0 + r + 1) / 2;
    for (int v = 0; v < vectors; v++)
      for (int lane = 0; lane < LB_LANES; lane++) {
        const int64_t j = j0 + v * LB_LANES + lane;
        if (j <= i0 + r)
          row[j] += sums[r][v][lane];
      }
  }
}

LB_INLINE void lb_gram_rows(const float *x, int64_t stride, int64_t n, int64_t dim, int64_t i0,
                            int rows, float *packed) {
  const int64_t width = LB_GRAM_VECTORS * LB_LANES, end = i0 + rows;
  int64_t j = 0;
  for (; j + width <= dim && j < end; j += width)
    lb_gram_tile(x, stride, n, i0, rows, j, LB_GRAM_VECTORS, packed);
  for (; j + LB_LANES <= dim && j < end; j += LB_LANES)
    lb_gram_tile(x, stride, n, i0, rows, j, 1, packed);
  for (; j < end; j++)
    for (int64_t i = j > i0 ? j : i0; i < end; i++) {
      float sum = 0.0f;
      for (int64_t s = 0; s < n; s++)
        sum += x[s * stride + i] * x[s * stride + j];
      packed[i * (i + 1) / 2 + j] += sum;
    }
}

/* x [n, dim], samples `stride` floats apart; packed [dim (dim + 1) / 2]. */
static inline void lb_gram(const float *x, int64_t stride, int64_t n, int64_t dim, float *packed) {
  enum { BLOCK = 256 };
  for (int64_t begin = 0; begin < n; begin += BLOCK) {
    const int64_t samples = n - begin < BLOCK ? n - begin : BLOCK;
    int64_t i = 0;
    for (; i + LB_GRAM_ROWS <= dim; i += LB_GRAM_ROWS)
      lb_gram_rows(x + begin * stride, stride, samples, dim, i, LB_GRAM_ROWS, packed);
    for (; i < dim; i++)
      lb_gram_rows(x + begin * stride, stride, samples, dim, i, 1, packed);
  }
}

#endif
