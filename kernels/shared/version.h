/* The version of a table set, in the memory of its tables: are vectors that were pooled from them
 * still what they hold? Even while the tables stand still, odd while they are being changed, as
 * the counter of a seqlock (Linux's seqcount). Whoever keeps vectors notes the version before the
 * rows are read; they are good as long as that is even and still the version.
 */
#ifndef LORABENCH_VERSION_H
#define LORABENCH_VERSION_H

#include <stdint.h>

static inline int64_t lb_version(const int64_t *version) {
  return __atomic_load_n(version, __ATOMIC_ACQUIRE);
}

/* Before the first change of the tables, and after the last. */
static inline void lb_version_advance(int64_t *version) {
  __atomic_fetch_add(version, 1, __ATOMIC_SEQ_CST);
  __atomic_thread_fence(__ATOMIC_SEQ_CST); /* no store of a row passes it */
}

#endif
