/* When a server's thread wakes up: at a deadline, and how late the kernel may be about it. */
#ifndef LORABENCH_CLOCK_H
#define LORABENCH_CLOCK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <time.h>

/* Sleep until CLOCK_MONOTONIC reads `deadline_ns`: an absolute deadline does not drift. */
static inline void lb_sleep_until(int64_t deadline_ns) {
  const struct timespec at = {deadline_ns / 1000000000, deadline_ns % 1000000000};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
    ;
}

static inline int64_t lb_monotonic_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static inline int lb_set_timer_slack(unsigned long ns) { return prctl(PR_SET_TIMERSLACK, ns); }

#endif
