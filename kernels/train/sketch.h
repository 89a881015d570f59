/* How often a row was met lately, for rows that have no slot: a count-min sketch that ages.
 *
 * Four places a row in one array of bytes, conservative update: only those at the minimum grow, so
 * a row is never counted too low and seldom too high (Estan and Varghese 2002). All counters are
 * halved after as many additions as there are of them, and whenever the owner asks, which keeps
 * the sketch about the recent past and its estimates from filling up with rows that are met once
 * (TinyLFU; Einziger, Friedman and Manes, ACM TOS 2017).
 */
#ifndef LORABENCH_SKETCH_H
#define LORABENCH_SKETCH_H

#include "dispatch/vector.h"

enum { LB_SKETCH_PLACES = 4 };

typedef struct {
  uint8_t *counters; /* [2^bits], or NULL: nothing is counted */
  int32_t bits;      /* 3 to 30 */
  int64_t added;     /* since all were last halved */
} lb_sketch;

/* A power of two of counters, two to four a slot. */
static inline int32_t lb_sketch_bits(int64_t slots) {
  int32_t bits = 3;
  while (bits < 30 && ((int64_t)1 << bits) < 2 * slots)
    bits++;
  return bits;
}

static inline void lb_sketch_halve(lb_sketch *sketch) {
  for (int64_t i = 0; i < (int64_t)1 << sketch->bits; i++)
    sketch->counters[i] >>= 1;
  sketch->added = 0;
}

/* Count `key`, the hash of a row; the estimate with it, at most 255. */
static inline int32_t lb_sketch_add(lb_sketch *sketch, uint32_t key) {
  uint8_t *place[LB_SKETCH_PLACES];
  int32_t least = 255;
  if (++sketch->added > (int64_t)1 << sketch->bits)
    lb_sketch_halve(sketch);
  for (int i = 0; i < LB_SKETCH_PLACES; i++) {
    key = (key ^ (key >> 16)) * 0x85ebca6bu + 0x9e3779b9u;
    place[i] = &sketch->counters[key >> (32 - sketch->bits)];
    least = *place[i] < least ? *place[i] : least;
  }
  if (least == 255)
    return least;
  for (int i = 0; i < LB_SKETCH_PLACES; i++)
    if (*place[i] == least)
      ++*place[i];
  return least + 1;
}

#endif
