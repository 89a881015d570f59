/* The planted click model of generated workloads: which row an id's popularity rank stands for at a
 * time, and what the rows of a sample say about a click.
 *
 * No parameter is stored. What a row likes is a function of a hash, so that 200 million rows cost
 * what 20 do, and time is a clock that a hash is read at, so that any moment can be computed alone.
 * All of it is built without contraction to FMA and adds in a fixed order: a seed gives the same
 * labels whatever instruction set there is. Equations: lorabench/workload/generator.py.
 */
#ifndef LORABENCH_PLANT_H
#define LORABENCH_PLANT_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "generate/zipf.h"

/* C. Wellons' lowbias32, with a key before each multiplication. */
static inline uint32_t lb_mix32(uint32_t x, uint32_t before, uint32_t between) {
  x ^= before;
  x ^= x >> 16;
  x *= 0x7feb352du;
  x += between;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  x ^= x >> 16;
  return x;
}

/* Of the bytes of a hash: mean 510, variance 4 (256^2 - 1) / 12; nearly normal (Irwin-Hall of 4).
 */
static inline float lb_normal32(uint32_t hash) {
  const uint32_t pairs = (hash & 0x00ff00ffu) + ((hash >> 8) & 0x00ff00ffu);
  return ((float)(int32_t)((pairs & 0xffffu) + (pairs >> 16)) - 510.0f) * 0.00676586f;
}

#define LB_ROW_STEP 0x9e3779b1u
#define LB_LIFE_STEP 0x85ebca77u

/* --- Ids: from popularity ranks to table rows --- */

typedef struct {
  int64_t ids;                /* c */
  int64_t multiplier, offset; /* rank k lives in row 1 + (multiplier (k - 1) + offset) mod c */
  uint32_t key;
  uint32_t missing; /* of 2^32 */
  int64_t hot;      /* newcomers take ranks 1..hot */
} lb_population;

typedef struct {
  int64_t tick;            /* ranks between two readings */
  const double *swaps;     /* [ceil(n / tick)] */
  const double *newcomers; /* [ceil(n / tick)] */
} lb_clocks;

/* Rank k swaps places with rank 2k or 2k + 1, where floor(log2 k) is even. */
static inline int64_t lb_swap(const lb_population *population, int64_t k, double clock) {
  const int upper = (63 - __builtin_clzll((uint64_t)k)) % 2 == 0;
  const int64_t high = upper ? k : k >> 1;
  const uint32_t hash = lb_mix32((uint32_t)high * LB_ROW_STEP, population->key, 0x51ed270bu);
  const int64_t low = 2 * high + (hash & 1);
  if ((!upper && k != low) || low > population->ids)
    return k;
  const double phase = (double)(hash >> 8) * (1.0 / (1 << 24));
  return (int64_t)(clock + phase) & 1 ? (upper ? low : high) : k;
}

/* Who holds hot rank k after so many changes: somebody from the colder half. `fade` spreads a
 * change over a fifth of the time between two, in which both holders are seen. */
static inline int64_t lb_holder(const lb_population *population, int64_t k, double clock,
                                double fade) {
  const uint32_t hash = lb_mix32((uint32_t)k * LB_ROW_STEP, population->key, 0xc2b2ae3du);
  const double phase = (double)(hash >> 8) * (1.0 / (1 << 24));
  const int64_t change = (int64_t)(clock + 0.8 * phase + 0.2 * fade);
  if (change == 0)
    return k;
  const uint32_t who =
      lb_mix32(hash + (uint32_t)change * LB_LIFE_STEP, population->key, 0x27d4eb2fu);
  const int64_t colder = population->ids - population->ids / 2;
  return colder + 1 + (int64_t)(((uint64_t)who * (uint64_t)(population->ids / 2)) >> 32);
}

/* Ranks [n] to rows [n]. */
static inline void lb_place(const lb_population *population, lb_bitgen *random,
                            const lb_clocks *clocks, const int64_t *ranks, int64_t n,
                            int32_t *rows) {
  const uint64_t c = (uint64_t)population->ids, inverse = UINT64_MAX / c;
  for (int64_t i = 0; i < n; i++) {
    const double swap = clocks->swaps[i / clocks->tick];
    const double newcomer = clocks->newcomers[i / clocks->tick];
    int64_t k = ranks[i];
    /* Drawn whenever it might be asked for at any time: the clocks do not move the stream. */
    const uint64_t u =
        population->missing || population->hot ? random->next_uint64(random->state) : ~0ull;
    if (population->missing && (uint32_t)u < population->missing) {
      rows[i] = 0;
      continue;
    }
    if (swap > 0.0)
      k = lb_swap(population, k, swap);
    if (newcomer > 0.0 && k <= population->hot)
      k = lb_holder(population, k, newcomer, (double)(u >> 32) * (1.0 / 4294967296.0));
    /* x mod c by its reciprocal, which is at most one too small a quotient for x < 2^62. */
    const uint64_t x =
        (uint64_t)(k - 1) * (uint64_t)population->multiplier + (uint64_t)population->offset;
    uint64_t rest = x - (uint64_t)(((unsigned __int128)x * inverse) >> 64) * c;
    rest -= rest >= c ? c : 0;
    rest -= rest >= c ? c : 0;
    rows[i] = (int32_t)(1 + rest);
  }
}

/* --- Labels --- */

enum { LB_PLANT_BLOCK = 256, LB_PLANT_DIMS = 65 };

typedef struct {
  int64_t features;
  const int32_t *hotness; /* [features] columns of each */
  const uint32_t *keys;   /* [features, dims + 1, 2]; the last pair is the daily preference's */
  int64_t dims;           /* preference and R factors */
  const uint32_t *knots;  /* [dims] whole quarter turns of the shared drift */
  const float *near;      /* [dims] cosine and sine of the rest */
  const float *far;
  double own; /* clock of each row's own drift */
  float day;  /* how much of the daily preference counts now */
} lb_plant;

/* The rows' values in one dimension, added to those of the feature's other columns. */
static inline void lb_plant_values(const uint32_t *key, uint32_t knot, float near, float far,
                                   const uint32_t *base, int n, int first, float *values) {
  const uint32_t from = key[1] + knot * 0x632be5abu, to = from + 0x632be5abu;
  if (far == 0.0f) {
    for (int i = 0; i < n; i++) {
      const float value = near * lb_normal32(lb_mix32(base[i], key[0], from));
      values[i] = first ? value : values[i] + value;
    }
  } else {
    for (int i = 0; i < n; i++) {
      const float value = near * lb_normal32(lb_mix32(base[i], key[0], from)) +
                          far * lb_normal32(lb_mix32(base[i], key[0], to));
      values[i] = first ? value : values[i] + value;
    }
  }
}

/* What a row's own drift has made of it: its number, and how often it was born again. */
static inline void lb_plant_bases(const uint32_t *key, double own, const int32_t *rows, int n,
                                  uint32_t *base) {
  const uint32_t births = (uint32_t)(int64_t)own;
  const float since = (float)(own - floor(own)); /* a float would lose it in a large clock */
  for (int i = 0; i < n; i++)
    base[i] = (uint32_t)rows[i] * LB_ROW_STEP;
  if (own > 0.0)
    for (int i = 0; i < n; i++) {
      const uint32_t hash = lb_mix32(base[i], key[1], 0x165667b1u);
      const float phase = (float)(int32_t)(hash >> 8) * (1.0f / (1 << 24));
      base[i] += (births + (since + phase >= 1.0f)) * LB_LIFE_STEP;
    }
}

typedef struct {
  float *preference, *pairs, *daily; /* [n] each */
} lb_logits;

/* Sums over the features, for rows [columns] of `stride`: of preferences, of the products of the
 * factors of every two features, of daily preferences. */
static inline void lb_plant_sums(const lb_plant *plant, const int32_t *rows, int64_t stride,
                                 int64_t n, const lb_logits *sums) {
  uint32_t base[LB_PLANT_BLOCK];
  float value[LB_PLANT_BLOCK], sum[LB_PLANT_DIMS][LB_PLANT_BLOCK];
  float of_feature[LB_PLANT_DIMS + 1][LB_PLANT_BLOCK];
  for (int64_t begin = 0; begin < n; begin += LB_PLANT_BLOCK) {
    const int count = n - begin < LB_PLANT_BLOCK ? (int)(n - begin) : LB_PLANT_BLOCK;
    float *pairs = sums->pairs + begin, *daily = sums->daily + begin;
    for (int64_t j = 0; j < plant->dims; j++)
      memset(sum[j], 0, (size_t)count * sizeof(float));
    memset(pairs, 0, (size_t)count * sizeof(float));
    memset(daily, 0, (size_t)count * sizeof(float));
    int64_t column = 0;
    for (int64_t f = 0; f < plant->features; f++) {
      const uint32_t *keys = plant->keys + 2 * f * (plant->dims + 1);
      const int32_t hot = plant->hotness[f];
      const float share = hot == 1 ? 1.0f : 1.0f / sqrtf((float)hot);
      for (int32_t h = 0; h < hot; h++, column++) {
        lb_plant_bases(keys, plant->own, rows + column * stride + begin, count, base);
        for (int64_t j = 0; j < plant->dims; j++)
          lb_plant_values(keys + 2 * j, plant->knots[j], plant->near[j], plant->far[j], base, count,
                          h == 0, of_feature[j]);
        if (plant->day != 0.0f)
          lb_plant_values(keys + 2 * plant->dims, 0, plant->day, 0.0f, base, count, h == 0,
                          of_feature[plant->dims]);
      }
      for (int64_t j = 0; j < plant->dims; j++)
        for (int i = 0; i < count; i++) {
          value[i] = share * of_feature[j][i];
          /* Sum over pairs = (|sum|^2 - sum |.|^2) / 2: linear in the features, not quadratic. */
          pairs[i] -= j ? 0.5f * value[i] * value[i] : 0.0f;
          sum[j][i] += value[i];
        }
      if (plant->day != 0.0f)
        for (int i = 0; i < count; i++)
          daily[i] += share * of_feature[plant->dims][i];
    }
    memcpy(sums->preference + begin, sum[0], (size_t)count * sizeof(float));
    for (int64_t j = 1; j < plant->dims; j++)
      for (int i = 0; i < count; i++)
        pairs[i] += 0.5f * sum[j][i] * sum[j][i];
  }
}

#endif
