/* The k rows of x [n, width] with the largest Euclidean norm, the largest first.
 *
 * The k best so far are a heap whose root is the least of them, kept in the output arrays. In most
 * data almost every row is beaten by the root, so a row costs its norm and one comparison. Rows of
 * equal norm are taken by number, so that the answer is one.
 */
#ifndef LORABENCH_TOP_ROWS_H
#define LORABENCH_TOP_ROWS_H

#include "dispatch/vector.h"

/* Is (norm2, row) behind the other in the order of the answer? */
LB_INLINE int lb_behind(float norm2, int64_t row, float other_norm2, int64_t other) {
  return norm2 < other_norm2 || (norm2 == other_norm2 && row > other);
}

/* Put (norm2, row) at the root of a heap of `size` and let it sink to its place. */
static inline void lb_heap_sink(int64_t *rows, float *norms2, int64_t size, float norm2,
                                int64_t row) {
  int64_t hole = 0;
  for (;;) {
    int64_t child = 2 * hole + 1;
    if (child >= size)
      break;
    if (child + 1 < size &&
        lb_behind(norms2[child + 1], rows[child + 1], norms2[child], rows[child]))
      child++;
    if (!lb_behind(norms2[child], rows[child], norm2, row))
      break;
    rows[hole] = rows[child];
    norms2[hole] = norms2[child];
    hole = child;
  }
  rows[hole] = row;
  norms2[hole] = norm2;
}

static inline void lb_heap_swim(int64_t *rows, float *norms2, int64_t hole, float norm2,
                                int64_t row) {
  while (hole) {
    const int64_t parent = (hole - 1) / 2;
    if (!lb_behind(norm2, row, norms2[parent], rows[parent]))
      break;
    rows[hole] = rows[parent];
    norms2[hole] = norms2[parent];
    hole = parent;
  }
  rows[hole] = row;
  norms2[hole] = norm2;
}

/* rows and norms2 [k], k <= n. A NaN never counts as large. */
static inline void lb_top_rows(const float *x, int64_t n, int64_t width, int64_t k, int64_t *rows,
                               float *norms2) {
  if (k == 0)
    return;
  for (int64_t row = 0; row < n; row++) {
    float norm2 = lb_dot(x + row * width, x + row * width, width);
    if (norm2 != norm2)
      norm2 = -1.0f;
    if (row < k)
      lb_heap_swim(rows, norms2, row, norm2, row);
    else if (norm2 > norms2[0])
      lb_heap_sink(rows, norms2, k, norm2, row);
  }
  /* Heapsort: the root, the least of what is left, goes to the end. */
  for (int64_t size = k; size > 1; size--) {
    const int64_t row = rows[0];
    const float norm2 = norms2[0];
    lb_heap_sink(rows, norms2, size - 1, norms2[size - 1], rows[size - 1]);
    rows[size - 1] = row;
    norms2[size - 1] = norm2;
  }
}

#endif
