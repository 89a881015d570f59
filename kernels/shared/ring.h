/* Replay ring: one server appends what it served, one trainer takes it. Bounded, lossy, in order.
 *
 * Single producer, single consumer, in shared memory. A server never waits for the trainer: what
 * does not fit is dropped and counted. Records are whole rows of the stream: the sample's number
 * (its label is joined by that number later), when it was served, its dense features and its
 * table rows. Where that saves more than it costs, they also hold base vectors that the server
 * pooled anyway, with the version of the tables that they were read from.
 */
#ifndef LORABENCH_RING_H
#define LORABENCH_RING_H

#include <stdint.h>
#include <string.h>

typedef struct {
  _Alignas(128) uint64_t head; /* records appended; written by the server */
  uint64_t dropped;            /* records that found the ring full; written by the server */
  int64_t base;                /* floats of base vectors a record; written when the ring is reset */
  _Alignas(128) uint64_t tail; /* records taken; written by the trainer */
} lb_ring_state;

typedef struct {
  lb_ring_state *state;
  char *records;
  int64_t capacity;
  int64_t bytes;  /* of a record */
  int64_t dense;  /* dense features a record */
  int64_t sparse; /* table rows */
  int64_t base;   /* floats of base vectors; 0: records have neither them nor a version */
} lb_ring;

typedef struct {
  int64_t sample;
  int64_t served_ns;
} lb_ring_key;

/* Where records go that are taken: parallel arrays, one entry a sample. */
typedef struct {
  float *dense;
  int32_t *sparse;
  int64_t *version;
  float *base;
} lb_ring_rows;

/* What keeping base vectors adds to a record. */
static inline int64_t lb_ring_base_bytes(int64_t base) {
  return base ? (int64_t)sizeof(int64_t) + 4 * base : 0;
}

static inline int64_t lb_ring_record_bytes(int64_t dense, int64_t sparse, int64_t base) {
  const int64_t payload =
      (int64_t)sizeof(lb_ring_key) + 4 * (dense + sparse) + lb_ring_base_bytes(base);
  return (payload + 7) / 8 * 8;
}

static inline char *lb_ring_record(const lb_ring *ring, uint64_t number) {
  return ring->records + (int64_t)(number % (uint64_t)ring->capacity) * ring->bytes;
}

/* Write a record's part and step over it, or read it. */
static inline char *lb_ring_put(char *record, const void *from, int64_t bytes) {
  if (bytes)
    memcpy(record, from, (size_t)bytes);
  return record + bytes;
}

static inline const char *lb_ring_get(const char *record, void *to, int64_t bytes) {
  if (bytes)
    memcpy(to, record, (size_t)bytes);
  return record + bytes;
}

/* Append `n` consecutive samples from `first` on, all of one version; all or none. */
static inline int lb_ring_append(const lb_ring *ring, int64_t first, int64_t n, int64_t served_ns,
                                 int64_t version, const float *dense, const int32_t *sparse,
                                 const float *base) {
  lb_ring_state *state = ring->state;
  const uint64_t head = state->head;
  const uint64_t tail = __atomic_load_n(&state->tail, __ATOMIC_ACQUIRE);
  if (head - tail + (uint64_t)n > (uint64_t)ring->capacity) {
    __atomic_store_n(&state->dropped, state->dropped + (uint64_t)n, __ATOMIC_RELAXED);
    return 0;
  }
  for (int64_t i = 0; i < n; i++) {
    char *record = lb_ring_record(ring, head + (uint64_t)i);
    const lb_ring_key key = {first + i, served_ns};
    record = lb_ring_put(record, &key, sizeof key);
    record = lb_ring_put(record, dense + i * ring->dense, 4 * ring->dense);
    record = lb_ring_put(record, sparse + i * ring->sparse, 4 * ring->sparse);
    if (ring->base) {
      record = lb_ring_put(record, &version, sizeof version);
      lb_ring_put(record, base + i * ring->base, 4 * ring->base);
    }
  }
  __atomic_store_n(&state->head, head + (uint64_t)n, __ATOMIC_RELEASE);
  return 1;
}

/* Take up to `most` records that were served at or before `before_ns`, oldest first. */
static inline int64_t lb_ring_take(const lb_ring *ring, int64_t before_ns, int64_t most,
                                   lb_ring_key *keys, const lb_ring_rows *to) {
  lb_ring_state *state = ring->state;
  const uint64_t tail = state->tail;
  const uint64_t head = __atomic_load_n(&state->head, __ATOMIC_ACQUIRE);
  int64_t n = 0;
  for (; n < most && tail + (uint64_t)n < head; n++) {
    const char *record = lb_ring_record(ring, tail + (uint64_t)n);
    record = lb_ring_get(record, &keys[n], sizeof keys[n]);
    if (keys[n].served_ns > before_ns)
      break;
    record = lb_ring_get(record, to->dense + n * ring->dense, 4 * ring->dense);
    record = lb_ring_get(record, to->sparse + n * ring->sparse, 4 * ring->sparse);
    if (ring->base) {
      record = lb_ring_get(record, &to->version[n], sizeof to->version[n]);
      lb_ring_get(record, to->base + n * ring->base, 4 * ring->base);
    }
  }
  __atomic_store_n(&state->tail, tail + (uint64_t)n, __ATOMIC_RELEASE);
  return n;
}

/* How many records wait that were served at or before `before_ns`; in order, so a bisection. */
static inline int64_t lb_ring_due(const lb_ring *ring, int64_t before_ns) {
  const uint64_t tail = ring->state->tail;
  uint64_t low = tail, high = __atomic_load_n(&ring->state->head, __ATOMIC_ACQUIRE);
  while (low < high) {
    const uint64_t middle = low + (high - low) / 2;
    lb_ring_key key;
    memcpy(&key, lb_ring_record(ring, middle), sizeof key);
    if (key.served_ns <= before_ns)
      low = middle + 1;
    else
      high = middle;
  }
  return (int64_t)(low - tail);
}

/* Give up the `n` oldest records unread; the caller counts them. */
static inline void lb_ring_skip(const lb_ring *ring, int64_t n) {
  __atomic_store_n(&ring->state->tail, ring->state->tail + (uint64_t)n, __ATOMIC_RELEASE);
}

#endif
