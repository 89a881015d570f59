/* When a thread wakes up: at a deadline, how late the kernel may be about it, and whom it may then
 * interrupt. */
#ifndef LORABENCH_CLOCK_H
#define LORABENCH_CLOCK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

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

/* Of linux/sched/types.h, as of its first version: the C library may have it too, or not. */
typedef struct {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
} lb_sched_attr;

/* Ask for this time slice for the calling thread and those that it starts; returns the one it has
 * then, 0 where the kernel has none to choose (before 6.12), or -1. Of two threads of one class the
 * one with the shorter slice may interrupt the other when it wakes up, and has no more of the CPU
 * for that. */
static inline int64_t lb_set_time_slice(int64_t ns) {
  lb_sched_attr attr = {0};
  if (syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) != 0)
    return -1;
  attr.runtime = (uint64_t)ns;
  if (syscall(SYS_sched_setattr, 0, &attr, 0) != 0 ||
      syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) != 0)
    return -1;
  return (int64_t)attr.runtime;
}

#endif
