/* One optimiser step of a whole table, full rank: sum duplicates, then SGD or row-wise Adagrad.
 *
 * The rows of a batch are summed first, in the order of the batch, so that the result does not
 * depend on how often a row is repeated. Row-wise Adagrad keeps one accumulator a row, the running
 * sum of the mean square of its summed gradients (Naumov et al. 2019; FBGEMM's
 * EXACT_ROWWISE_ADAGRAD): the mean, and not the sum, makes its learning rate independent of D.
 */
#ifndef LORABENCH_STEP_H
#define LORABENCH_STEP_H

#include "train/adapt.h"

/* A table that is trained. */
typedef struct {
  float *weights;     /* [rows, dim] */
  float *accumulator; /* [rows], or NULL: plain SGD */
  int64_t dim;
} lb_trained;

static inline void lb_move_row(const lb_trained *table, int32_t row, const float *sum,
                               const lb_adagrad *rule) {
  float step = rule->learning_rate;
  if (table->accumulator) {
    table->accumulator[row] += lb_dot(sum, sum, table->dim) / (float)table->dim;
    step /= sqrtf(table->accumulator[row]) + rule->epsilon;
  }
  lb_add_scaled(table->weights + (int64_t)row * table->dim, sum, -step, table->dim);
}

/* grad [bags, dim], rows `stride` apart. */
static inline void lb_table_step(const lb_trained *table, const lb_bags *in, const float *grad,
                                 int64_t stride, const lb_adagrad *rule, lb_scratch *scratch) {
  const int64_t dim = table->dim;
  int64_t touched = 0;
  if (in->bags == 0)
    return;
  lb_index_clear(&scratch->seen);
  for (int64_t b = 0; b < in->bags; b++) {
    const int64_t begin = lb_bag_begin(in, b), end = lb_bag_end(in, b);
    const float divisor = in->mean ? (float)(end - begin) : 1.0f;
    for (int64_t p = begin; p < end; p++)
      touched = lb_gather(scratch, touched, (int32_t)lb_bag_row(in, p), grad + b * stride,
                          lb_bag_weight(in, p) / divisor, (int32_t)dim);
  }
  for (int64_t i = 0; i < touched; i++) {
    if (i + LB_AHEAD < touched) {
      const int64_t ahead = scratch->touched[i + LB_AHEAD];
      lb_prefetch_l2(table->weights + ahead * dim, dim * 4);
      if (table->accumulator)
        __builtin_prefetch(&table->accumulator[ahead], 1, 2);
    }
    lb_move_row(table, scratch->touched[i], scratch->sums + i * dim, rule);
  }
}

#endif
