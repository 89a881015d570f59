/* All kernels of every build that this machine runs, against loops that a child could write.
 *
 * For machines without Python: cross-compiled, it shows that the plain build is right on aarch64.
 * usage: portable CASES   exit 0: all agree
 */
#include <stdio.h>
#include <stdlib.h>

#include "dispatch/kernels.h"
#include "shared/adapter.h"

static uint64_t state = 88172645463325252u;

static uint32_t below(uint32_t n) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return (uint32_t)(((state >> 32) * n) >> 32);
}

static float uniform(void) { return (float)below(1u << 24) / (1 << 23) - 1.0f; }

static double next_double(void *unused) {
  (void)unused;
  return (double)(((uint64_t)below(1u << 27) << 26) + below(1u << 26)) / 9007199254740992.0;
}

static void check(int good, const char *what, const lb_kernels *kernels) {
  if (good)
    return;
  printf("%s: %s is wrong\n", kernels->name, what);
  exit(1);
}

static int near(double a, double b) { return fabs(a - b) <= 1e-3 * (1.0 + fabs(b)); }

enum { ROWS = 300, MOST_DIM = 200, MOST_BAGS = 60, MOST_INDICES = 4000, SLOTS = 40, RANK = 5 };

static float table[ROWS * MOST_DIM], out[MOST_BAGS * MOST_DIM], grad[MOST_BAGS * MOST_DIM];
static int32_t indices[MOST_INDICES], offsets[MOST_BAGS + 1];
static float weights[MOST_INDICES];
static char memory[1 << 22] __attribute__((aligned(256)));

/* The batch of a case: one-hot, or bags of up to `most` rows. */
static lb_bags draw(int one_hot) {
  lb_bags in = {.indices = indices, .index_stride = 1, .bags = below(MOST_BAGS + 1)};
  const uint32_t most = below(4) ? 8 : 60;
  for (int64_t b = 0; b < in.bags; b++)
    offsets[b + 1] = offsets[b] + (int32_t)(one_hot ? 1 : below(most));
  for (int i = 0; i < offsets[in.bags]; i++) {
    indices[i] = (int32_t)below(below(2) ? ROWS : 10);
    weights[i] = uniform();
  }
  in.offsets = one_hot ? NULL : offsets;
  in.weights = below(2) ? weights : NULL;
  in.mean = !in.weights && below(2);
  return in;
}

static double factor(const lb_bags *in, int64_t b, int64_t p) {
  const double size = (double)(offsets[b + 1] - offsets[b]);
  return in->weights ? in->weights[p] : in->mean ? 1.0 / size : 1.0;
}

static void case_of(const lb_kernels *kernels, lb_adapter *adapter, int64_t dim) {
  lb_bags in = draw((int)below(2));
  const lb_table base = {table, ROWS, dim, 0};
  const int64_t slots = SLOTS, rank = RANK;
  static float accumulator[SLOTS], sums[MOST_INDICES * RANK];
  static int32_t slot_row[SLOTS], touched[MOST_INDICES];
  static uint16_t lookup_counts[SLOTS];
  static uint8_t dirty[SLOTS];
  static double A[ROWS][RANK], moment[ROWS];
  static char seen[1 << 20] __attribute__((aligned(64)));
  memset(memory, 0, sizeof memory);
  lb_adapter_format(adapter, lb_adapter_bytes(1, dim, &rank, &slots), 1, dim, &rank, &slots);
  lb_lora lora = lb_side_lora(lb_adapter_side(adapter, 0), 0);
  lb_slots state_of = {.accumulator = accumulator,
                       .slot_row = slot_row,
                       .lookup_counts = lookup_counts,
                       .dirty = dirty,
                       .slots = SLOTS};
  lb_scratch scratch = {sums, touched, {(lb_bucket *)seen, lb_index_capacity(MOST_INDICES), 0, 0}};
  const lb_adagrad rule = {0.3f, 1e-6f, 0.1f, 0.3f};
  for (int64_t i = 0; i < RANK * dim; i++)
    lora.B[i] = uniform();
  memset(A, 0, sizeof A);
  for (int r = 0; r < ROWS; r++)
    moment[r] = 0.1f;
  for (int step = 0; step < 2; step++) {
    for (int64_t i = 0; i < in.bags * dim; i++)
      grad[i] = uniform();
    const lb_gradient by = {grad, dim, NULL};
    kernels->lora_backward(&lora, &state_of, dim, &in, &by, &rule, &scratch);
    static double total[ROWS][RANK];
    memset(total, 0, sizeof total);
    for (int64_t b = 0; b < in.bags; b++)
      for (int64_t p = offsets[b]; p < offsets[b + 1]; p++)
        for (int j = 0; j < RANK; j++)
          for (int64_t d = 0; d < dim; d++)
            total[indices[p]][j] += factor(&in, b, p) * lora.B[j * dim + d] * grad[b * dim + d];
    for (int s = 0; s < state_of.used; s++) {
      const int r = slot_row[s];
      double norm2 = 0;
      for (int j = 0; j < RANK; j++)
        norm2 += total[r][j] * total[r][j];
      moment[r] += norm2;
      for (int j = 0; j < RANK; j++) {
        A[r][j] -= 0.3 / (sqrt(moment[r]) + 1e-6) * total[r][j];
        check(near(lora.A[s * RANK + j], A[r][j]), "lora_backward", kernels);
      }
    }
  }
  for (int with = 0; with < 2; with++) {
    memset(out, 0x7f, sizeof out);
    if (with)
      kernels->lookup_lora(&base, &lora, &in, &(lb_parts){0}, out, dim);
    else
      kernels->lookup(&base, &in, out, dim);
    for (int64_t b = 0; b < in.bags; b++)
      for (int64_t d = 0; d < dim; d++) {
        double sum = 0;
        for (int64_t p = offsets[b]; p < offsets[b + 1]; p++) {
          double row = table[(int64_t)indices[p] * dim + d];
          for (int j = 0; with && j < RANK; j++)
            row += A[indices[p]][j] * lora.B[j * dim + d];
          sum += factor(&in, b, p) * row;
        }
        check(near(out[b * dim + d], sum), with ? "lookup_lora" : "lookup", kernels);
      }
  }
}

static void gram_and_top_rows(const lb_kernels *kernels, int64_t dim) {
  static float packed[MOST_DIM * (MOST_DIM + 1) / 2];
  static float norms2[20];
  static int64_t rows[20];
  memset(packed, 0, sizeof packed);
  kernels->gram(table, dim, ROWS, dim, packed);
  for (int64_t i = 0; i < dim; i++)
    for (int64_t j = 0; j <= i; j++) {
      double sum = 0;
      for (int64_t s = 0; s < ROWS; s++)
        sum += table[s * dim + i] * table[s * dim + j];
      check(near(packed[i * (i + 1) / 2 + j], sum), "gram", kernels);
    }
  kernels->top_rows(table, ROWS, dim, 20, rows, norms2);
  for (int k = 0; k < 20; k++) {
    int larger = 0;
    for (int64_t s = 0; s < ROWS; s++) {
      double sum = 0;
      for (int64_t d = 0; d < dim; d++)
        sum += table[s * dim + d] * table[s * dim + d];
      larger += sum > norms2[k] * (1 + 1e-5);
    }
    check(larger <= k && (k == 0 || norms2[k] <= norms2[k - 1]), "top_rows", kernels);
  }
}

/* The ranks of a seed are the same everywhere: this sum is that of every machine. */
static uint64_t zipf(const lb_kernels *kernels) {
  static int64_t ranks[100000];
  static const double exponents[] = {0.8, 1.0, 1.05, 1.5, 3.0};
  lb_bitgen random = {NULL, NULL, NULL, next_double, NULL};
  uint64_t sum = 0;
  state = 1;
  for (int e = 0; e < 5; e++) {
    const lb_zipf law = lb_zipf_law(40000000, exponents[e]);
    kernels->zipf(&law, &random, ranks, 100000);
    for (int i = 0; i < 100000; i++)
      sum = sum * 31 + (uint64_t)ranks[i];
  }
  return sum;
}

int main(int argc, char **argv) {
  static const int64_t dims[] = {1, 4, 7, 16, 17, 32, 48, 64, 100, 128, 200};
  const lb_kernels *here[3];
  const int cases = argc > 1 ? atoi(argv[1]) : 50, builds = lb_kernels_here(here);
  const int64_t slots = SLOTS, rank = RANK;
  if (lb_adapter_bytes(1, MOST_DIM, &rank, &slots) > (int64_t)sizeof memory)
    return 2;
  for (int k = 0; k < builds; k++) {
    state = 88172645463325252u;
    for (int i = 0; i < ROWS * MOST_DIM; i++)
      table[i] = uniform();
    for (int d = 0; d < (int)(sizeof dims / sizeof *dims); d++) {
      for (int i = 0; i < cases; i++)
        case_of(here[k], (lb_adapter *)memory, dims[d]);
      gram_and_top_rows(here[k], dims[d]);
    }
    printf("%s: zipf %llu\n", here[k]->name, (unsigned long long)zipf(here[k]));
  }
  return 0;
}
