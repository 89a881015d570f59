/* Row -> slot: open addressing with linear probing over (row, slot) pairs of int32.
 *
 * Key and value lie side by side, so that a hit costs one cache line. Any capacity works (the
 * home position is a multiply-shift of the hash, not a mask), so that a byte budget is used to
 * the last slot instead of being rounded down to a power of two. Rows are small non-negative
 * integers, often consecutive: the multiplicative hash (Knuth, TAOCP 3, 6.4) scatters them.
 */
#ifndef LORABENCH_INDEX_H
#define LORABENCH_INDEX_H

#include <stdint.h>
#include <string.h>

typedef struct {
  int32_t row; /* row + 1; 0 marks an empty entry, so that zeroed memory is an empty index */
  int32_t slot;
} lb_entry;

typedef struct {
  lb_entry *entries;
  int64_t capacity; /* more than the number of rows ever inserted */
} lb_index;

static inline int64_t lb_index_home(int32_t row, int64_t capacity) {
  const uint32_t hash = (uint32_t)row * 2654435769u; /* 2^32 / golden ratio */
  return (int64_t)(((uint64_t)hash * (uint64_t)capacity) >> 32);
}

/* The entry that holds `row`, or the empty one where it would be put. */
static inline lb_entry *lb_index_probe(const lb_index *index, int32_t row) {
  int64_t i = lb_index_home(row, index->capacity);
  while (index->entries[i].row != 0 && index->entries[i].row != row + 1)
    if (++i == index->capacity)
      i = 0;
  return &index->entries[i];
}

/* Slot of `row`, or -1. */
static inline int32_t lb_index_find(const lb_index *index, int32_t row) {
  const lb_entry *entry = lb_index_probe(index, row);
  return entry->row ? entry->slot : -1;
}

static inline void lb_index_put(const lb_index *index, int32_t row, int32_t slot) {
  lb_entry *entry = lb_index_probe(index, row);
  entry->row = row + 1;
  entry->slot = slot;
}

static inline void lb_index_clear(const lb_index *index) {
  memset(index->entries, 0, (size_t)index->capacity * sizeof(lb_entry));
}

#endif
