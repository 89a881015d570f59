/* What the kernel did to a thread: switches against its will, waits in the run queue, page faults.
 *
 * Where a thread was late and none of these moved, nobody in this machine was the cause: the host
 * took the CPU away. The thread asks about itself, which costs two system calls and disturbs nobody
 * else; the numbers are those of getrusage(2) and of /proc/PID/task/TID/schedstat
 * (Documentation/scheduler/sched-stats.rst: ns on a CPU, ns in the run queue, turns). */
#ifndef LORABENCH_WITNESS_H
#define LORABENCH_WITNESS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

typedef struct {
  int64_t switches; /* involuntary */
  int64_t faults;   /* of pages, minor and major */
  int64_t delay_ns; /* waited in the run queue */
} lb_witnessed;

/* `schedstat` is that file of this thread, open for reading; below 0 where the kernel keeps none,
 * and the delay then stays as it is. Returns 0, or -1 with errno. */
static inline int lb_witness_read(int schedstat, lb_witnessed *found) {
  struct rusage usage;
  if (getrusage(RUSAGE_THREAD, &usage) != 0)
    return -1;
  found->switches = usage.ru_nivcsw;
  found->faults = usage.ru_minflt + usage.ru_majflt;
  if (schedstat >= 0) {
    char text[96];
    const ssize_t length = pread(schedstat, text, sizeof text - 1, 0);
    if (length < 0)
      return -1;
    text[length] = '\0';
    char *end = text;
    strtoll(text, &end, 10);
    found->delay_ns = strtoll(end, NULL, 10);
  }
  return 0;
}

#endif
