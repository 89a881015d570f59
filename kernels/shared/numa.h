/* NUMA placement by the system calls themselves: where the pages of a mapping are to come from, and
 * where they are. glibc wraps none of them, and libnuma would add a library for five lines each. */
#ifndef LORABENCH_NUMA_H
#define LORABENCH_NUMA_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <linux/mempolicy.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LB_MAX_NODES 1024 /* the largest NODES_SHIFT of the kernel's Kconfig is 10 */
#define LB_WORD_BITS (8 * (int)sizeof(unsigned long))

typedef struct {
  unsigned long words[LB_MAX_NODES / LB_WORD_BITS];
} lb_nodes;

static inline void lb_nodes_add(lb_nodes *nodes, int node) {
  nodes->words[node / LB_WORD_BITS] |= 1ul << (node % LB_WORD_BITS);
}

static inline int lb_nodes_have(const lb_nodes *nodes, int node) {
  return nodes->words[node / LB_WORD_BITS] >> (node % LB_WORD_BITS) & 1;
}

/* The kernel takes the number of bits to be one less than it is told. */
static inline int lb_mbind(void *address, size_t length, int mode, const lb_nodes *nodes) {
  return (int)syscall(SYS_mbind, address, length, mode, nodes->words, LB_MAX_NODES + 1, 0);
}

/* Of the calling thread, and of the threads and processes that it will start. */
static inline int lb_set_mempolicy(int mode, const lb_nodes *nodes) {
  return (int)syscall(SYS_set_mempolicy, mode, nodes->words, LB_MAX_NODES + 1);
}

/* Of the calling thread where `flags` is 0, of `address` with MPOL_F_ADDR; with
 * MPOL_F_MEMS_ALLOWED `nodes` gets those that a policy may name. */
static inline int lb_get_mempolicy(int *mode, lb_nodes *nodes, const void *address,
                                   unsigned flags) {
  return (int)syscall(SYS_get_mempolicy, mode, nodes->words, LB_MAX_NODES + 1, address, flags);
}

/* Write the node of the page at each of `n` addresses, `step` bytes apart, or -errno where this
 * process maps none there. Nothing is moved: move_pages(2) without target nodes asks. */
static inline int lb_page_nodes(const char *address, int64_t step, int64_t n, int32_t *nodes) {
  enum { CHUNK = 512 };
  const void *pages[CHUNK];
  for (int64_t first = 0; first < n; first += CHUNK) {
    const int64_t count = n - first < CHUNK ? n - first : CHUNK;
    for (int64_t i = 0; i < count; i++)
      pages[i] = address + (first + i) * step;
    if (syscall(SYS_move_pages, 0, count, pages, NULL, nodes + first, 0) < 0)
      return -1;
  }
  return 0;
}

#endif
