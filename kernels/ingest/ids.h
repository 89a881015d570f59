/* From ids as they come to rows of a table: by a hash, or by a dictionary that grows.
 */
#ifndef LORABENCH_IDS_H
#define LORABENCH_IDS_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* splitmix64's finaliser, Stafford's variant 13: a bijection, so that distinct ids collide only
 * through the modulus that follows it. */
static inline uint64_t lb_mix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

/* Rows 1 + mix64(id) mod ids of ids [n]; a negative one is missing, and its row 0. */
static inline void lb_hash_ids(const int64_t *id, int64_t n, uint64_t ids, int32_t *rows) {
  const uint64_t inverse = UINT64_MAX / ids;
  for (int64_t i = 0; i < n; i++) {
    const uint64_t x = lb_mix64((uint64_t)id[i]);
    uint64_t rest = x - (uint64_t)(((unsigned __int128)x * inverse) >> 64) * ids;
    rest -= rest >= ids ? ids : 0;
    rest -= rest >= ids ? ids : 0;
    rows[i] = id[i] < 0 ? 0 : (int32_t)(1 + rest);
  }
}

/* Open addressing, at most half full: `place` holds the row of an id, 0 for none. */
typedef struct {
  int64_t capacity; /* a power of two */
  int64_t used, most;
  int32_t *place; /* [capacity] */
  int64_t *ids;   /* [capacity / 2] by row - 1, in order of first appearance */
} lb_dictionary;

static inline int64_t lb_dictionary_home(const lb_dictionary *dictionary, int64_t id) {
  return (int64_t)(lb_mix64((uint64_t)id) & (uint64_t)(dictionary->capacity - 1));
}

/* Room for twice as many. Returns 0 if there is no memory; the dictionary is then as it was. */
static inline int lb_dictionary_grow(lb_dictionary *dictionary) {
  const int64_t capacity = dictionary->capacity ? 2 * dictionary->capacity : 1024;
  int32_t *place = calloc((size_t)capacity, sizeof *place);
  if (place == NULL)
    return 0;
  int64_t *ids = realloc(dictionary->ids, (size_t)capacity / 2 * sizeof *ids);
  if (ids == NULL) {
    free(place);
    return 0;
  }
  free(dictionary->place);
  dictionary->place = place;
  dictionary->ids = ids;
  dictionary->capacity = capacity;
  for (int64_t row = 1; row <= dictionary->used; row++) {
    int64_t at = lb_dictionary_home(dictionary, ids[row - 1]);
    while (place[at])
      at = (at + 1) & (capacity - 1);
    place[at] = (int32_t)row;
  }
  return 1;
}

/* The rows of ids [n], new ones for those not seen before, 0 for negative ones. Returns how many
 * were done: fewer if there is no memory, or no row number, for the next. */
static inline int64_t lb_dictionary_rows(lb_dictionary *dictionary, const int64_t *id, int64_t n,
                                         int32_t *rows) {
  for (int64_t i = 0; i < n; i++) {
    if (id[i] < 0) {
      rows[i] = 0;
      continue;
    }
    if (2 * dictionary->used >= dictionary->capacity && !lb_dictionary_grow(dictionary))
      return i;
    int64_t at = lb_dictionary_home(dictionary, id[i]);
    int32_t row;
    while ((row = dictionary->place[at]) != 0 && dictionary->ids[row - 1] != id[i])
      at = (at + 1) & (dictionary->capacity - 1);
    if (row == 0) {
      if (dictionary->used == dictionary->most)
        return i;
      dictionary->ids[dictionary->used++] = id[i];
      row = dictionary->place[at] = (int32_t)dictionary->used;
    }
    rows[i] = row;
  }
  return n;
}

#endif
