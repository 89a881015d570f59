/* Exact bounded Zipf variates: P(K = k) = k^-s / sum_{j=1..n} j^-s for k = 1..n, any s >= 0.
 *
 * Rejection-inversion after W. Hoermann and G. Derflinger, "Rejection-inversion to generate
 * variates from monotone discrete distributions", ACM TOMACS 6(3), 1996: invert the integral of
 * the hat x^-s, round, and reject the little that the hat has too much. It needs no table, so 10^7
 * ids cost what 10 do. Random doubles come from NumPy's BitGenerator through its C interface.
 *
 * A draw costs one logarithm and one exponential where s != 1 and an exponential alone at s = 1;
 * all but a few are accepted by the squeeze, which needs neither.
 */
#ifndef LORABENCH_ZIPF_H
#define LORABENCH_ZIPF_H

#include <math.h>
#include <stdint.h>

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
  const double t = law->q * y > -1.0 ? law->q * y : -1.0;
  return exp((fabs(t) > 0.5 ? log(1.0 + t) : log1p(t)) / law->q);
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

static inline double lb_zipf_draw(const lb_zipf *law, lb_bitgen *random) {
  for (;;) {
    const double u = law->low + (1.0 - random->next_double(random->state)) * law->span;
    const double x = lb_zipf_inverse(law, u);
    double k = floor(x + 0.5);
    k = k < 1.0 ? 1.0 : k > law->n ? law->n : k;
    if (k - x <= law->squeeze || u >= lb_zipf_integral(law, k + 0.5) - lb_zipf_hat(law, k))
      return k;
  }
}

static inline void lb_zipf_fill(const lb_zipf *law, lb_bitgen *random, int64_t *ranks, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    ranks[i] = (int64_t)lb_zipf_draw(law, random);
}

#endif
