/* Work that needs a core and nothing else: arithmetic in registers, for a neighbour that is to be
 * busy without touching any memory. */
#ifndef LORABENCH_CALCULATE_H
#define LORABENCH_CALCULATE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdint.h>
#include <time.h>

#define LB_CALCULATE_STEPS 4096 /* between two looks at the clock: some microseconds */

static inline int64_t lb_thread_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* Calculate for so many ns of this thread's CPU time. The value depends on all of the work, so
 * that no compiler can leave it out. */
static inline double lb_calculate(int64_t cpu_ns) {
  double x[8] = {1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8};
  const int64_t end = lb_thread_ns() + cpu_ns;
  do {
    for (int step = 0; step < LB_CALCULATE_STEPS; step++)
      for (int i = 0; i < 8; i++)
        x[i] = x[i] * 0.999999 + 1e-6;
  } while (lb_thread_ns() < end);
  return x[0] + x[1] + x[2] + x[3] + x[4] + x[5] + x[6] + x[7];
}

#endif
