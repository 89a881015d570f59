/* The LoRA adapter of a table set, in shared memory: two sides, one flip for all tables.
 *
 * Everything a reader needs to interpret a side (epoch, rank, offsets, index) lies in that side,
 * so a later epoch may use another layout and no reader ever mixes two. What only the writer
 * needs (slot -> row, Adagrad accumulators, dirty marks) is private to it; see adapt.h.
 *
 * The writer trains in the idle side, so there is no third copy. After a flip the two sides
 * differ in just the slots that were marked dirty; the writer copies those over when it next
 * begins, which is the first moment at which it is sure that nobody reads them.
 */
#ifndef LORABENCH_ADAPTER_H
#define LORABENCH_ADAPTER_H

#include "shared/leftright.h"
#include "train/adapt.h"

/* One table in one side; offsets in bytes from the start of the side. With slots but rank 0 it has
 * a plain delta, a slot for each row: no B, no index. */
typedef struct {
  int64_t a, b, buckets, filter;
  int64_t capacity; /* of the index, in buckets */
  int32_t rank, slots, used, filter_bits;
} lb_side_table;

typedef struct {
  int64_t epoch;
  int64_t tables, dim;
  int64_t bytes; /* that this layout takes, of the side's room */
  lb_side_table table[];
} lb_side;

typedef struct {
  int64_t active; /* the only word that a flip changes */
  char pad[LB_PIN_BYTES - sizeof(int64_t)];
  int64_t side_bytes; /* the sides follow this header, one after the other */
  int64_t tables, dim;
  char rest[LB_PIN_BYTES - 3 * sizeof(int64_t)];
} lb_adapter;

static inline int64_t lb_round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

static inline int64_t lb_table_bytes(int64_t slots, int64_t rank, int64_t dim) {
  if (slots == 0)
    return 0;
  if (rank == 0)
    return lb_round_up(slots * dim * 4, 64);
  return lb_round_up(slots * rank * 4, 64) + lb_round_up(rank * dim * 4, 64) +
         lb_index_capacity(slots) * (int64_t)sizeof(lb_bucket) +
         lb_round_up(lb_filter_bytes(lb_index_filter_bits(slots)), 64);
}

static inline int64_t lb_side_header_bytes(int64_t tables) {
  return lb_round_up((int64_t)(sizeof(lb_side) + (size_t)tables * sizeof(lb_side_table)), 64);
}

/* Bytes of one side laid out for `slots` and `ranks` of each table. */
static inline int64_t lb_side_bytes(int64_t tables, int64_t dim, const int64_t *ranks,
                                    const int64_t *slots) {
  int64_t side = lb_side_header_bytes(tables);
  for (int64_t t = 0; t < tables; t++)
    side += lb_table_bytes(slots[t], ranks[t], dim);
  return lb_round_up(side, LB_PIN_BYTES);
}

static inline int64_t lb_adapter_bytes(int64_t tables, int64_t dim, const int64_t *ranks,
                                       const int64_t *slots) {
  return (int64_t)sizeof(lb_adapter) + 2 * lb_side_bytes(tables, dim, ranks, slots);
}

static inline lb_side *lb_adapter_side(lb_adapter *adapter, int64_t side) {
  return (lb_side *)((char *)(adapter + 1) + side * adapter->side_bytes);
}

/* Lay one side out, with no row in it. Its epoch stays. */
static inline void lb_side_format(lb_side *side, int64_t tables, int64_t dim, const int64_t *ranks,
                                  const int64_t *slots) {
  side->tables = tables;
  side->dim = dim;
  side->bytes = lb_side_bytes(tables, dim, ranks, slots);
  int64_t at = lb_side_header_bytes(tables);
  for (int64_t t = 0; t < tables; t++) {
    lb_side_table *table = &side->table[t];
    const int indexed = slots[t] && ranks[t];
    table->rank = indexed ? (int32_t)ranks[t] : 0;
    table->slots = (int32_t)slots[t];
    table->used = 0;
    table->capacity = indexed ? lb_index_capacity(slots[t]) : 0;
    table->filter_bits = lb_index_filter_bits(slots[t]);
    table->a = at;
    table->b = table->a + lb_round_up(slots[t] * table->rank * 4, 64);
    table->buckets = table->b + lb_round_up(table->rank * dim * 4, 64);
    table->filter = table->buckets + table->capacity * (int64_t)sizeof(lb_bucket);
    at += lb_table_bytes(slots[t], ranks[t], dim);
    if (indexed) {
      memset((char *)side + table->buckets, 0,
             (size_t)table->capacity * sizeof(lb_bucket) +
                 (size_t)lb_filter_bytes(table->filter_bits));
    }
  }
}

/* Lay out an empty adapter in `bytes` of memory, lb_adapter_bytes() or more. */
static inline void lb_adapter_format(lb_adapter *adapter, int64_t bytes, int64_t tables,
                                     int64_t dim, const int64_t *ranks, const int64_t *slots) {
  const int64_t room = (bytes - (int64_t)sizeof(lb_adapter)) / 2;
  adapter->active = 0;
  adapter->tables = tables;
  adapter->dim = dim;
  adapter->side_bytes = room / LB_PIN_BYTES * LB_PIN_BYTES;
  for (int64_t s = 0; s < 2; s++) {
    lb_side *side = lb_adapter_side(adapter, s);
    side->epoch = 0;
    lb_side_format(side, tables, dim, ranks, slots);
  }
}

static inline lb_lora lb_side_lora(lb_side *side, int64_t t) {
  const lb_side_table *table = &side->table[t];
  char *base = (char *)side;
  const lb_lora lora = {
      .A = (float *)(base + table->a),
      .B = (float *)(base + table->b),
      .index = {(lb_bucket *)(base + table->buckets), table->capacity,
                (uint32_t *)(base + table->filter), table->filter_bits},
      .rank = table->rank,
      .plain = table->slots && !table->rank,
  };
  return lora;
}

/* The same for a reader: a table without a single slot in use costs it no probe. */
static inline lb_lora lb_side_view(lb_side *side, int64_t t) {
  lb_lora lora = lb_side_lora(side, t);
  if (side->table[t].used == 0)
    lora.rank = lora.plain = 0;
  return lora;
}

/* Bring table `t` of the idle side up to the active one: copy the slots that differ. */
static inline void lb_sync_table(lb_side *from, lb_side *to, int64_t t, lb_slots *slots) {
  const lb_lora source = lb_side_lora(from, t), target = lb_side_lora(to, t);
  const int64_t width = lb_width(&source, from->dim);
  for (int32_t i = 0; i < slots->evicted; i++)
    lb_index_erase(&target.index, slots->gone[i]);
  slots->evicted = 0;
  for (int32_t slot = 0; slot < slots->used; slot++) {
    if (!slots->dirty[slot])
      continue;
    if (slots->dirty[slot] & LB_GIVEN)
      lb_index_put(&target.index, slots->slot_row[slot], slot);
    memcpy(target.A + slot * width, source.A + slot * width, (size_t)width * sizeof(float));
    slots->dirty[slot] = 0;
  }
  to->table[t].used = slots->used;
}

static inline void lb_sync_all(lb_adapter *adapter, int64_t from, int64_t to) {
  const lb_side *source = lb_adapter_side(adapter, from);
  memcpy(lb_adapter_side(adapter, to), source, (size_t)source->bytes);
}

#endif
