/* Load lines: what a server tells a trainer about its load, as counters in shared memory.
 *
 * One writer (the server), one reader (the throttle), no locks: counters only grow, so a reader
 * takes differences between two looks and a value that is torn between two counters is off by one
 * batch, never wrong for long. The server never reads what it must wait for; the limit above which
 * a latency counts as late is set by the reader while no server runs.
 */
#ifndef LORABENCH_LOAD_H
#define LORABENCH_LOAD_H

#include <stdint.h>

/* Two cache lines, for the same reason as a pin's. */
#define LB_LOAD_BYTES 128

typedef struct {
  int64_t busy_since_ns; /* when the batch in hand was taken up; 0 while the server waits */
  int64_t busy_ns;       /* spent on batches that are done */
  int64_t queries;       /* answered */
  int64_t late;          /* ... later than the limit after their arrival */
  int64_t due;           /* queries that were due when the last batch was taken up */
  int64_t limit_ns;      /* written by the reader; 0 counts nothing as late */
  char pad[LB_LOAD_BYTES - 6 * sizeof(int64_t)];
} lb_load_line;

_Static_assert(sizeof(lb_load_line) == LB_LOAD_BYTES, "a load line fills its lines");

static inline void lb_load_set(int64_t *to, int64_t value) {
  __atomic_store_n(to, value, __ATOMIC_RELAXED);
}

static inline int64_t lb_load_get(const int64_t *from) {
  return __atomic_load_n(from, __ATOMIC_RELAXED);
}

/* A batch is taken up at `now_ns`, when of `n` arrivals (rising) the first `due` are due. */
static inline void lb_load_begin(lb_load_line *line, int64_t now_ns, const int64_t *arrivals,
                                 int64_t n) {
  int64_t low = 0, high = n;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (arrivals[middle] <= now_ns)
      low = middle + 1;
    else
      high = middle;
  }
  lb_load_set(&line->due, low);
  lb_load_set(&line->busy_since_ns, now_ns);
}

/* The batch of these `n` arrivals was answered at `answered_ns`, and the server is free again at
 * `now_ns`. */
static inline void lb_load_end(lb_load_line *line, int64_t now_ns, int64_t answered_ns,
                               const int64_t *arrivals, int64_t n) {
  const int64_t limit = lb_load_get(&line->limit_ns);
  int64_t late = 0;
  for (int64_t i = 0; i < n; i++)
    late += limit > 0 && answered_ns - arrivals[i] > limit;
  lb_load_set(&line->late, line->late + late);
  lb_load_set(&line->queries, line->queries + n);
  lb_load_set(&line->busy_ns, line->busy_ns + now_ns - line->busy_since_ns);
  lb_load_set(&line->due, 0);
  lb_load_set(&line->busy_since_ns, 0);
}

/* Spent on batches until `now_ns`, the one in hand included. */
static inline int64_t lb_load_busy(const lb_load_line *line, int64_t now_ns) {
  const int64_t since = lb_load_get(&line->busy_since_ns);
  return lb_load_get(&line->busy_ns) + (since > 0 && now_ns > since ? now_ns - since : 0);
}

#endif
