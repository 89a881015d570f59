/* Vectors of LB_LANES floats, as wide as the instruction set that this translation unit is built
 * for: the headers are compiled once for each (isa.c), and GCC's and Clang's vector extensions
 * turn the same source into SSE, AVX2, AVX-512 or NEON.
 */
#ifndef LORABENCH_VECTOR_H
#define LORABENCH_VECTOR_H

#include <stdint.h>
#include <string.h>

#ifndef LB_LANES
#define LB_LANES 4
#endif

#define LB_INLINE static inline __attribute__((always_inline))

LB_INLINE int64_t lb_least(int64_t a, int64_t b) { return a < b ? a : b; }

typedef float lb_vec __attribute__((vector_size(LB_LANES * 4)));
typedef uint32_t lb_words __attribute__((vector_size(LB_LANES * 4)));
typedef uint16_t lb_halves __attribute__((vector_size(LB_LANES * 2)));

/* memcpy of a vector's size is one unaligned load or store. */
LB_INLINE lb_vec lb_load(const float *from) {
  lb_vec v;
  memcpy(&v, from, sizeof v);
  return v;
}

LB_INLINE void lb_store(float *to, lb_vec v) { memcpy(to, &v, sizeof v); }

/* bf16 is the upper half of an fp32. */
LB_INLINE lb_vec lb_load_bf16(const uint16_t *from) {
  lb_halves halves;
  memcpy(&halves, from, sizeof halves);
  const lb_words words = __builtin_convertvector(halves, lb_words) << 16;
  lb_vec v;
  memcpy(&v, &words, sizeof v);
  return v;
}

LB_INLINE float lb_bf16(uint16_t half) {
  const uint32_t word = (uint32_t)half << 16;
  float value;
  memcpy(&value, &word, sizeof value);
  return value;
}

typedef float lb_vec4 __attribute__((vector_size(16)));

/* The sum of all lanes, in halves: always in the same order. */
LB_INLINE float lb_sum(lb_vec v) {
  lb_vec4 quarters[LB_LANES / 4];
  memcpy(quarters, &v, sizeof v);
  for (int n = LB_LANES / 8; n; n /= 2)
    for (int i = 0; i < n; i++)
      quarters[i] += quarters[i + n];
  return (quarters[0][0] + quarters[0][2]) + (quarters[0][1] + quarters[0][3]);
}

/* to [n] += scale * from [n] */
LB_INLINE void lb_add_scaled(float *restrict to, const float *restrict from, float scale,
                             int64_t n) {
  int64_t d = 0;
  for (; d + LB_LANES <= n; d += LB_LANES)
    lb_store(to + d, lb_load(to + d) + scale * lb_load(from + d));
  for (; d < n; d++)
    to[d] += scale * from[d];
}

LB_INLINE float lb_dot(const float *a, const float *b, int64_t n) {
  lb_vec sums = {0};
  int64_t d = 0;
  for (; d + LB_LANES <= n; d += LB_LANES)
    sums += lb_load(a + d) * lb_load(b + d);
  float sum = lb_sum(sums);
  for (; d < n; d++)
    sum += a[d] * b[d];
  return sum;
}

/* A table's row takes 200 to 300 cycles from memory and little else is in a lookup, so the rate
 * is that of misses in flight. PREFETCHT1 brings a line to L2 and, on the machines tried, is not
 * held to the few dozen misses that L1 can have open: see docs/kernels.md. */
#define LB_LINE 64

LB_INLINE void lb_prefetch_l2(const void *at, int64_t bytes) {
  for (int64_t line = 0; line < bytes; line += LB_LINE)
    __builtin_prefetch((const char *)at + line, 0, 2);
}

#endif
