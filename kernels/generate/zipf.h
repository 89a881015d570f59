/* Exact bounded Zipf variates: P(K = k) = k^-s / sum_{j=1..n} j^-s for k = 1..n, any s >= 0.
 *
 * Rejection-inversion after W. Hoermann and G. Derflinger, "Rejection-inversion to generate
 * variates from monotone discrete distributions", ACM TOMACS 6(3), 1996: invert the integral of
 * the hat x^-s, round, and reject the little that the hat has too much. It needs no table, so 10^7
 * ids cost what 10 do. Random doubles come from NumPy's BitGenerator through its C interface.
 *
 * A draw costs one logarithm and one exponential. They are written out here, a few units in the
 * last place exact, so that the compiler can draw several at a time and that the ranks of a seed
 * are the same whatever instruction set and libm there is (built without contraction to FMA). All
 * but a few draws are accepted by the squeeze; only the others ask libm.
 */
#ifndef LORABENCH_ZIPF_H
#define LORABENCH_ZIPF_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* NumPy's bitgen_t (numpy/random/bitgen.h), which a BitGenerator's capsule points to. */
typedef struct {
  void *state;
  uint64_t (*next_uint64)(void *state);
  uint32_t (*next_uint32)(void *state);
  double (*next_double)(void *state); /* uniform on [0, 1) */
  uint64_t (*next_raw)(void *state);
} lb_bitgen;

typedef struct {
  double n, q;      /* ranks; 1 - s */
  double low, span; /* H is drawn uniformly from (low, low + span] */
  double squeeze;
} lb_zipf;

/* log of a positive, finite, normal number: 2 atanh((m - 1) / (m + 1)) + e log 2 with m in
 * [sqrt(1/2), sqrt 2). */
static inline double lb_log(double v) {
  uint64_t bits;
  memcpy(&bits, &v, sizeof bits);
  const uint64_t from_root = bits - 0x3fe6a09e667f3bcd; /* sqrt(1/2) */
  /* The exponent as a double: its bits beside those of 2^52 + 2^51, an integer being subtracted. */
  const uint64_t exponent_bits =
      ((from_root >> 52 ^ 0x800) - 0x800 + 0x0008000000000000) | 0x4330000000000000;
  double e, m;
  memcpy(&e, &exponent_bits, sizeof e);
  e -= 6755399441055744.0;
  bits = (from_root & 0x000fffffffffffff) + 0x3fe6a09e667f3bcd;
  memcpy(&m, &bits, sizeof m);
  const double s = (m - 1.0) / (m + 1.0), z = s * s;
  const double series =
      1.0 +
      z * (1.0 / 3 +
           z * (1.0 / 5 +
                z * (1.0 / 7 +
                     z * (1.0 / 9 +
                          z * (1.0 / 11 + z * (1.0 / 13 + z * (1.0 / 15 + z * (1.0 / 17))))))));
  return e * 0.693147180559945309 + 2.0 * s * series;
}

/* exp of a number in [-700, 700]: 2^n times the series of what is left. */
static inline double lb_exp(double v) {
  const double shifted = v * 1.44269504088896341 + 6755399441055744.0; /* rounds to an integer */
  const double n = shifted - 6755399441055744.0;
  const double r = (v - n * 0.693147180369123816) - n * 1.90821492927058770e-10;
  double power =
      1.0 +
      r * (1.0 + r * (1.0 / 2 +
                      r * (1.0 / 6 +
                           r * (1.0 / 24 +
                                r * (1.0 / 120 +
                                     r * (1.0 / 720 +
                                          r * (1.0 / 5040 +
                                               r * (1.0 / 40320 +
                                                    r * (1.0 / 362880 +
                                                         r * (1.0 / 3628800 +
                                                              r * (1.0 / 39916800 +
                                                                   r * (1.0 / 479001600))))))))))));
  uint64_t bits, scale;
  memcpy(&scale, &shifted, sizeof scale);
  memcpy(&bits, &power, sizeof bits);
  bits += scale << 52; /* n is in the low bits */
  memcpy(&power, &bits, sizeof power);
  return power;
}

/* H(x) = (x^q - 1) / q, the integral of the hat, and log x at q = 0; expm1 and log1p keep its
 * digits where q is next to 0. */
static inline double lb_zipf_integral(const lb_zipf *law, double x) {
  const double log_x = log(x);
  return law->q == 0.0 ? log_x : expm1(law->q * log_x) / law->q;
}

static inline double lb_zipf_inverse(const lb_zipf *law, double y) {
  if (law->q == 0.0)
    return exp(y);
  /* Rounding may push it past the pole at -1, where the inverse is infinite. */
  return exp(log1p(law->q * y > -1.0 ? law->q * y : -1.0) / law->q);
}

static inline double lb_zipf_hat(const lb_zipf *law, double x) { return pow(x, law->q - 1.0); }

static inline lb_zipf lb_zipf_law(int64_t n, double exponent) {
  lb_zipf law = {.n = (double)n, .q = 1.0 - exponent};
  /* The hat's integral over the interval of each k is at least its probability, except for k = 1,
   * whose interval is cut to have exactly h(1) = 1 (the paper's section 2). */
  law.low = lb_zipf_integral(&law, 1.5) - 1.0;
  law.span = lb_zipf_integral(&law, law.n + 0.5) - law.low;
  law.squeeze = 2.0 - lb_zipf_inverse(&law, lb_zipf_integral(&law, 2.5) - lb_zipf_hat(&law, 2.0));
  return law;
}

/* As lb_zipf_inverse, for the draws. Where q is next to 0, log(1 + t) would lose digits that 1 / q
 * makes visible; a hundredth of a rank at 2^53 is what 1e-3 leaves, and below it libm is asked. */
static inline double lb_zipf_point(const lb_zipf *law, double y) {
  const double t = 1.0 + law->q * y;
  double log_x = lb_log(t > 1e-300 ? t : 1e-300) / law->q;
  log_x = log_x < 700.0 ? log_x : 700.0;
  return lb_exp(log_x);
}

enum { LB_ZIPF_BLOCK = 128 };

/* Points under the hat for uniforms u [n], the nearest ranks k [n], and the points' H. */
static inline void lb_zipf_points(const lb_zipf *law, int n, double *u, double *x, double *k) {
  for (int i = 0; i < n; i++)
    u[i] = law->low + (1.0 - u[i]) * law->span;
  if (law->q == 0.0)
    for (int i = 0; i < n; i++)
      x[i] = lb_exp(u[i]);
  else if (fabs(law->q) < 1e-3)
    for (int i = 0; i < n; i++)
      x[i] = lb_zipf_inverse(law, u[i]);
  else
    for (int i = 0; i < n; i++)
      x[i] = lb_zipf_point(law, u[i]);
  for (int i = 0; i < n; i++) {
    const double rank = floor(x[i] + 0.5);
    k[i] = rank < 1.0 ? 1.0 : rank > law->n ? law->n : rank;
  }
}

static inline void lb_zipf_fill(const lb_zipf *law, lb_bitgen *random, int64_t *ranks, int64_t n) {
  double u[LB_ZIPF_BLOCK], x[LB_ZIPF_BLOCK], k[LB_ZIPF_BLOCK];
  for (int64_t done = 0; done < n;) {
    /* Never more than are still wanted, so that a stream may be drawn in any parts. */
    const int block = n - done < LB_ZIPF_BLOCK ? (int)(n - done) : LB_ZIPF_BLOCK;
    for (int i = 0; i < block; i++)
      u[i] = random->next_double(random->state);
    lb_zipf_points(law, block, u, x, k);
    for (int i = 0; i < block; i++) {
      ranks[done] = (int64_t)k[i];
      done += k[i] - x[i] <= law->squeeze ||
              u[i] >= lb_zipf_integral(law, k[i] + 0.5) - lb_zipf_hat(law, k[i]);
    }
  }
}

#endif
