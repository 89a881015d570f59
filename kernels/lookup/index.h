/* Row -> slot: hashing into buckets of one cache line, and a filter that proves most misses.
 *
 * A bucket holds eight keys and their slots; a row that finds its home bucket full goes to the
 * next one that is not (linear probing by buckets, Knuth, TAOCP 3, 6.4). At two thirds full few
 * rows leave home, so a look-up is one line, compared as a whole, with no branch that depends on
 * the data. Any number of buckets works (home is a multiply-shift of the hash, not a mask), so
 * that a byte budget is used to the last slot instead of being rounded down to a power of two.
 * Rows are non-negative integers, often consecutive: a multiplicative hash scatters them, and as
 * it is one to one it serves as the key.
 *
 * Most lookups of a pooled batch miss. For them there is a filter of 8 to 16 bits a row, addressed
 * by the top of the same hash: a clear bit proves a miss from an eighth of the memory, and one miss
 * in twelve to twenty-three goes on to the bucket.
 *
 * Erasing moves later rows of the chain back (Knuth's algorithm R), so there are no tombstones,
 * and an index that has seen many rows come and go is as fast as a fresh one.
 */
#ifndef LORABENCH_INDEX_H
#define LORABENCH_INDEX_H

#include "dispatch/vector.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

#define LB_BUCKET 8

typedef struct {
  uint32_t key[LB_BUCKET]; /* 0 is empty, so that zeroed memory is an empty index */
  int32_t slot[LB_BUCKET];
} lb_bucket;

typedef struct {
  lb_bucket *buckets;  /* [capacity], with more places than rows it ever holds */
  int64_t capacity;    /* in buckets */
  uint32_t *filter;    /* [2^filter_bits / 32], or NULL: none is kept */
  int32_t filter_bits; /* of the hash, from the top; 5 to 31 */
} lb_index;

/* Rows 0 to 2^31 - 1 to hashes other than 0. */
LB_INLINE uint32_t lb_key(int32_t row) {
  return ((uint32_t)row + 1u) * 2654435769u; /* 2^32 / golden ratio, odd */
}

LB_INLINE int64_t lb_home(uint32_t key, int64_t capacity) {
  return (int64_t)(((uint64_t)key * (uint64_t)capacity) >> 32);
}

LB_INLINE int lb_filter_has(const uint32_t *filter, int32_t filter_bits, uint32_t key) {
  const uint32_t bit = key >> (32 - filter_bits);
  return (filter[bit >> 5] >> (bit & 31)) & 1;
}

static inline int64_t lb_index_after(const lb_index *index, int64_t bucket) {
  return bucket + 1 == index->capacity ? 0 : bucket + 1;
}

/* Which of a bucket's keys are `key`: bit e for place e. */
LB_INLINE uint32_t lb_bucket_match(const lb_bucket *bucket, uint32_t key) {
#if defined(__AVX512VL__)
  const __m256i keys = _mm256_loadu_si256((const __m256i *)bucket->key);
  return _mm256_cmpeq_epi32_mask(keys, _mm256_set1_epi32((int32_t)key));
#elif defined(__AVX2__)
  const __m256i keys = _mm256_loadu_si256((const __m256i *)bucket->key);
  const __m256i same = _mm256_cmpeq_epi32(keys, _mm256_set1_epi32((int32_t)key));
  return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(same));
#else
  uint32_t match = 0;
  for (int e = 0; e < LB_BUCKET; e++)
    match |= (uint32_t)(bucket->key[e] == key) << e;
  return match;
#endif
}

/* Is there an empty place, so that no row's way leads past this bucket? */
LB_INLINE int lb_bucket_ends(const lb_bucket *bucket) { return lb_bucket_match(bucket, 0) != 0; }

/* Slot of `key`, or -1, and in *at the last bucket looked into: where it is or would be put. */
LB_INLINE int32_t lb_index_probe(const lb_index *index, uint32_t key, int64_t *at) {
  int64_t bucket = lb_home(key, index->capacity);
  for (;; bucket = lb_index_after(index, bucket)) {
    const lb_bucket *here = &index->buckets[bucket];
    const uint32_t match = lb_bucket_match(here, key);
    /* Found or not is as the data will have it; that the way ends here is all but certain. */
    if (__builtin_expect((match | lb_bucket_match(here, 0)) != 0, 1)) {
      const int32_t slot = here->slot[__builtin_ctz(match | 1u << (LB_BUCKET - 1))];
      *at = bucket;
      return match ? slot : -1;
    }
  }
}

LB_INLINE int32_t lb_index_slot(const lb_index *index, uint32_t key) {
  int64_t at;
  return lb_index_probe(index, key, &at);
}

/* Slot of `row`, or -1. */
static inline int32_t lb_index_find(const lb_index *index, int32_t row) {
  return lb_index_slot(index, lb_key(row));
}

/* Slots of `n` rows, or -1 each; a row's bucket is asked for some rows before. */
static inline void lb_index_find_all(const lb_index *index, const int32_t *rows, int64_t n,
                                     int32_t *slots) {
  enum { AHEAD = 16 };
  for (int64_t i = 0; i < n; i++) {
    if (i + AHEAD < n)
      __builtin_prefetch(&index->buckets[lb_home(lb_key(rows[i + AHEAD]), index->capacity)]);
    slots[i] = lb_index_find(index, rows[i]);
  }
}

/* Put a key that is not there into the bucket that a probe ended in. */
static inline void lb_index_fill(const lb_index *index, int64_t at, uint32_t key, int32_t slot) {
  lb_bucket *bucket = &index->buckets[at];
  int e = 0;
  while (bucket->key[e])
    e++;
  bucket->key[e] = key;
  bucket->slot[e] = slot;
  if (index->filter) {
    const uint32_t bit = key >> (32 - index->filter_bits);
    index->filter[bit >> 5] |= 1u << (bit & 31);
  }
}

/* Put a row that is not there. */
static inline void lb_index_put(const lb_index *index, int32_t row, int32_t slot) {
  int64_t at;
  lb_index_probe(index, lb_key(row), &at);
  lb_index_fill(index, at, lb_key(row), slot);
}

/* Does a row that is there share this bit of the filter? Their keys are neighbours, and so are
 * their homes. */
static inline int lb_index_shares(const lb_index *index, uint32_t bit) {
  const int shift = 32 - index->filter_bits;
  const uint32_t low = bit << shift, high = low + ((1u << shift) - 1);
  const int64_t last = lb_home(high, index->capacity);
  int64_t b = lb_home(low, index->capacity);
  for (int passed = b == last;; b = lb_index_after(index, b), passed |= b == last) {
    const lb_bucket *bucket = &index->buckets[b];
    for (int e = 0; e < LB_BUCKET; e++)
      if (bucket->key[e] && bucket->key[e] >> shift == bit)
        return 1;
    if (passed && lb_bucket_ends(bucket))
      return 0;
  }
}

/* Move a row that was put past the full bucket `hole` back into its place `e`, then the same for
 * the place that this leaves empty, as far as rows were put past it. */
static inline void lb_index_close(const lb_index *index, int64_t hole, int e) {
  const int64_t capacity = index->capacity;
  for (int64_t b = lb_index_after(index, hole), gone = 1; gone < capacity;
       b = lb_index_after(index, b), gone++) {
    lb_bucket *bucket = &index->buckets[b];
    const int ends = lb_bucket_ends(bucket);
    for (int from = 0; from < LB_BUCKET; from++) {
      if (!bucket->key[from])
        continue;
      const int64_t home = lb_home(bucket->key[from], capacity);
      if ((b >= home ? b - home : b - home + capacity) < gone)
        continue; /* its home lies behind the hole */
      index->buckets[hole].key[e] = bucket->key[from];
      index->buckets[hole].slot[e] = bucket->slot[from];
      bucket->key[from] = 0;
      hole = b;
      e = from;
      gone = 0;
      break;
    }
    if (ends)
      return;
  }
}

/* Forget `row`; its slot, or -1 if it was not there. */
static inline int32_t lb_index_erase(const lb_index *index, int32_t row) {
  const uint32_t key = lb_key(row);
  int64_t at;
  const int32_t slot = lb_index_probe(index, key, &at);
  if (slot < 0)
    return -1;
  lb_bucket *bucket = &index->buckets[at];
  const int was_full = !lb_bucket_ends(bucket);
  int e = 0;
  while (bucket->key[e] != key)
    e++;
  bucket->key[e] = 0;
  if (was_full)
    lb_index_close(index, at, e);
  if (index->filter) {
    const uint32_t bit = key >> (32 - index->filter_bits);
    if (!lb_index_shares(index, bit))
      index->filter[bit >> 5] &= ~(1u << (bit & 31));
  }
  return slot;
}

/* Buckets for so many rows: two thirds full, and never quite full. */
static inline int64_t lb_index_capacity(int64_t rows) { return (rows + rows / 2) / LB_BUCKET + 1; }

/* Bits of the hash for a filter of so many rows: 8 to 16 places a row. */
static inline int32_t lb_index_filter_bits(int64_t rows) {
  int32_t bits = 5;
  while (bits < 31 && ((int64_t)1 << bits) < 8 * rows)
    bits++;
  return bits;
}

static inline int64_t lb_filter_bytes(int32_t filter_bits) {
  return (int64_t)1 << (filter_bits - 3);
}

static inline void lb_index_clear(const lb_index *index) {
  memset(index->buckets, 0, (size_t)index->capacity * sizeof(lb_bucket));
  if (index->filter)
    memset(index->filter, 0, (size_t)lb_filter_bytes(index->filter_bits));
}

#endif
