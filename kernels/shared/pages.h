/* Shared mappings aligned to 2 MiB, and the advice that gets them onto huge pages. */
#ifndef LORABENCH_PAGES_H
#define LORABENCH_PAGES_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE /* Linux 6.1; Debian 12's headers do not name it yet */
#define MADV_COLLAPSE 25
#endif

#define LB_HUGE_PAGE ((size_t)2 << 20)

/* Map all of `fd` at a multiple of 2 MiB; NULL with errno set where that fails. An address that is
 * not so aligned can never be mapped by a huge page, whatever the file holds. */
static inline void *lb_map(int fd, size_t length, int writable) {
  const size_t span = length + LB_HUGE_PAGE;
  char *reserved = mmap(NULL, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED)
    return NULL;
  char *aligned = (char *)(((uintptr_t)reserved + LB_HUGE_PAGE - 1) & ~(LB_HUGE_PAGE - 1));
  void *mapped = mmap(aligned, length, writable ? PROT_READ | PROT_WRITE : PROT_READ,
                      MAP_SHARED | MAP_FIXED, fd, 0);
  if (mapped == MAP_FAILED) {
    const int error = errno;
    munmap(reserved, span);
    errno = error;
    return NULL;
  }
  char *end = aligned + ((length + 4095) & ~(size_t)4095);
  if (aligned > reserved)
    munmap(reserved, (size_t)(aligned - reserved));
  if (reserved + span > end)
    munmap(end, (size_t)(reserved + span - end));
  return mapped;
}

#endif
