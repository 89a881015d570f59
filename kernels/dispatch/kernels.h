/* The kernels as a table of functions, one table an instruction set, chosen at run time.
 *
 * Every header is compiled once for each set (isa.c); nothing but these tables leaves such a
 * translation unit, so no function built for AVX-512 can end up in a caller built without.
 */
#ifndef LORABENCH_KERNELS_H
#define LORABENCH_KERNELS_H

#include "generate/plant.h"
#include "generate/zipf.h"
#include "lookup/wall.h"
#include "train/adapt.h"
#include "train/gram.h"
#include "train/put_rows.h"
#include "train/step.h"
#include "train/top_rows.h"

typedef struct {
  const char *name; /* "plain", "avx2" or "avx512" */
  int64_t (*bad_index)(const lb_bags *in, int64_t rows);
  int64_t (*bad_offset)(const lb_bags *in, int64_t n);
  void (*find)(const lb_index *index, const int32_t *rows, int64_t n, int32_t *slots);
  void (*ahead)(const lb_table *table, const lb_bags *in);
  void (*ahead_lora)(const lb_table *table, const lb_lora *lora, const lb_bags *in);
  void (*lookup)(const lb_table *table, const lb_bags *in, float *out, int64_t out_stride);
  void (*lookup_lora)(const lb_table *table, const lb_lora *lora, const lb_bags *in,
                      const lb_parts *parts, float *out, int64_t out_stride);
  int64_t (*lora_backward)(lb_lora *lora, lb_slots *slots, int64_t dim, const lb_bags *in,
                           const lb_gradient *by, const lb_adagrad *rule, lb_scratch *scratch);
  void (*table_step)(const lb_trained *table, const lb_bags *in, const float *grad, int64_t stride,
                     const lb_adagrad *rule, lb_scratch *scratch);
  void (*put_rows)(float *table, const int32_t *rows, const float *values, int64_t n, int64_t dim);
  void (*top_rows)(const float *x, int64_t n, int64_t width, int64_t k, int64_t *rows,
                   float *norms2);
  void (*gram)(const float *x, int64_t stride, int64_t n, int64_t dim, float *packed);
  void (*zipf)(const lb_zipf *law, lb_bitgen *random, int64_t *ranks, int64_t n);
  void (*place)(const lb_population *population, lb_bitgen *random, const lb_clocks *clocks,
                const int64_t *ranks, int64_t n, int32_t *rows);
  void (*plant_sums)(const lb_plant *plant, const int32_t *rows, int64_t stride, int64_t n,
                     const lb_logits *sums);
  float (*random_read)(const lb_table *table, uint64_t seed, int64_t n, int64_t ahead);
} lb_kernels;

extern const lb_kernels lb_kernels_plain;
#ifdef __x86_64__
extern const lb_kernels lb_kernels_avx2, lb_kernels_avx512;
#endif

/* The tables that this machine can run, the fastest first. Returns how many. */
static inline int lb_kernels_here(const lb_kernels *found[3]) {
  int n = 0;
#ifdef __x86_64__
  __builtin_cpu_init();
  /* What each unit is built with; see meson.build. */
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("bmi2"))
    found[n++] = &lb_kernels_avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("bmi2"))
    found[n++] = &lb_kernels_avx2;
#endif
  found[n++] = &lb_kernels_plain;
  return n;
}

#endif
