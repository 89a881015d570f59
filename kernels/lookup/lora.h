/* Embedding-bag lookup with a LoRA term: out[b] = sum_{i in bag b} W[i] + (sum A[slot(i)]) B.
 *
 * The term is pooled in rank space: the A rows of a bag are added up and B is applied once a bag,
 * not once a row, and to four bags at a time, so that a vector of B is loaded once for four.
 * Slots are found for a group of bags before its base rows are summed, and their rows of A, asked
 * for then, are added after it. Groups are small, so that the base rows that are already on their
 * way from memory keep it busy while slots are looked for. Who may have a slot is noted without a
 * branch: at 5 % hits a branch would be mispredicted once in every twenty lookups.
 *
 * One index a bag needs no pooling: a row of A is the term, and base row and term are added up in
 * registers, four bags at a time.
 */
#ifndef LORABENCH_LORA_H
#define LORABENCH_LORA_H

#include "lookup/index.h"
#include "lookup/lookup.h"

#define LB_MAX_RANK 256

/* The adapter of one table: A [slots, rank], B [rank, dim], rows that have a slot.
 *
 * A small table has a plain delta instead, A [rows, dim], which is added as it is: the slot of a
 * row is its number, and there is neither B nor index. */
typedef struct {
  float *A;
  float *B;
  lb_index index;
  int32_t rank;  /* 0: there is no low-rank term */
  int32_t plain; /* A is a plain delta */
} lb_lora;

/* Floats of a row of A. */
LB_INLINE int64_t lb_width(const lb_lora *lora, int64_t dim) {
  return lora->plain ? dim : lora->rank;
}

/* Where a bag's LoRA term comes from and where it goes. */
typedef struct {
  const float *pooled; /* [rank] */
  float *out;          /* [dim] */
} lb_term;

enum { LB_TERMS = 4 };

/* As many vectors a block as the registers hold for four outputs. */
#if LB_LANES >= 16
#define LB_TERM_VECTORS 4
#else
#define LB_TERM_VECTORS 2
#endif

typedef lb_vec lb_tile[LB_TERMS][LB_TERM_VECTORS];

/* tile += pooled B, columns [column, column + vectors) */
LB_INLINE void lb_tile_add(lb_tile tile, const lb_term *term, int terms, const lb_lora *lora,
                           int64_t dim, int64_t column, int vectors) {
  for (int32_t j = 0; j < lora->rank; j++) {
    const float *direction = lora->B + (int64_t)j * dim + column;
    for (int v = 0; v < vectors; v++) {
      const lb_vec b = lb_load(direction + v * LB_LANES);
      for (int t = 0; t < terms; t++)
        tile[t][v] += term[t].pooled[j] * b;
    }
  }
}

/* out += pooled B for all terms, columns [column, column + vectors). */
LB_INLINE void lb_apply_block(const lb_term *term, int terms, const lb_lora *lora, int64_t dim,
                              int64_t column, int vectors) {
  lb_tile tile;
  for (int t = 0; t < terms; t++)
    for (int v = 0; v < vectors; v++)
      tile[t][v] = lb_load(term[t].out + column + v * LB_LANES);
  lb_tile_add(tile, term, terms, lora, dim, column, vectors);
  for (int t = 0; t < terms; t++)
    for (int v = 0; v < vectors; v++)
      lb_store(term[t].out + column + v * LB_LANES, tile[t][v]);
}

LB_INLINE void lb_apply_terms(const lb_term *term, int terms, const lb_lora *lora, int64_t dim) {
  int64_t column = 0;
  for (; column + LB_TERM_VECTORS * LB_LANES <= dim; column += LB_TERM_VECTORS * LB_LANES)
    lb_apply_block(term, terms, lora, dim, column, LB_TERM_VECTORS);
  for (; column + LB_LANES <= dim; column += LB_LANES)
    lb_apply_block(term, terms, lora, dim, column, 1);
  for (int32_t j = 0; column < dim && j < lora->rank; j++)
    for (int t = 0; t < terms; t++)
      for (int64_t d = column; d < dim; d++)
        term[t].out[d] += term[t].pooled[j] * lora->B[(int64_t)j * dim + d];
}

static inline void lb_apply(const lb_term *term, int32_t terms, const lb_lora *lora, int64_t dim) {
  int32_t t = 0;
  for (; t + LB_TERMS <= terms; t += LB_TERMS)
    lb_apply_terms(term + t, LB_TERMS, lora, dim);
  for (; t < terms; t++)
    lb_apply_terms(term + t, 1, lora, dim);
}

/* Positions whose slots are looked up together. */
#define LB_GROUP 128

/* A group's way from row numbers to slots. All positions are in the order of the batch. */
typedef struct {
  int64_t hashed, scanned; /* positions up to here have a key, are noted */
  uint32_t written, read;
  int filter;                  /* is the filter asked, or does every position count? */
  uint32_t keys[2 * LB_GROUP]; /* a ring over positions */
  struct {
    int64_t position;
    uint32_t key;
  } notes[2 * LB_GROUP]; /* a ring: positions that may have a slot */
  int32_t hits;
  int32_t slot[LB_GROUP];
  int64_t at[LB_GROUP]; /* positions that have one */
} lb_hits;

#define LB_KEY(hits, p) (hits)->keys[(p) & (2 * LB_GROUP - 1)]
#define LB_NOTE(hits, i) (hits)->notes[(i) & (2 * LB_GROUP - 1)]

/* Hash the positions up to `to` and ask for the words of the filter. */
LB_INLINE void lb_hash_rows(lb_hits *hits, const lb_index *index, const lb_bags *in, int64_t to,
                            int wide) {
  for (int64_t p = hits->hashed; p < to; p++) {
    const uint32_t key = lb_key((int32_t)lb_row(in, p, wide));
    LB_KEY(hits, p) = key;
    __builtin_prefetch(&index->filter[key >> (32 - index->filter_bits) >> 5], 0, 2);
  }
  hits->hashed = to > hits->hashed ? to : hits->hashed;
}

/* Note who may have a slot among the positions up to `to`, and ask for their buckets. */
LB_INLINE void lb_scan_keys(lb_hits *hits, const lb_index *index, int64_t to) {
  const uint32_t begin = hits->written;
  uint32_t written = begin;
  for (int64_t p = hits->scanned; p < to; p++) {
    const uint32_t key = LB_KEY(hits, p);
    LB_NOTE(hits, written).position = p;
    LB_NOTE(hits, written).key = key;
    written += hits->filter ? (uint32_t)lb_filter_has(index->filter, index->filter_bits, key) : 1;
  }
  for (uint32_t n = begin; n != written; n++)
    __builtin_prefetch(&index->buckets[lb_home(LB_NOTE(hits, n).key, index->capacity)], 0, 2);
  hits->scanned = to;
  hits->written = written;
}

/* Find the slots of the noted positions before `end` and ask for their rows of A. */
LB_INLINE void lb_find_hits(lb_hits *hits, const lb_lora *lora, int64_t end) {
  const int64_t row_bytes = (int64_t)lora->rank * 4;
  uint32_t read = hits->read;
  int32_t n = 0;
  for (; read != hits->written && LB_NOTE(hits, read).position < end; read++) {
    const int32_t slot = lb_index_slot(&lora->index, LB_NOTE(hits, read).key);
    hits->at[n] = LB_NOTE(hits, read).position;
    hits->slot[n] = slot;
    n += slot >= 0;
  }
  for (int32_t h = 0; h < n; h++)
    lb_prefetch_l2((const char *)lora->A + hits->slot[h] * row_bytes, row_bytes);
  hits->read = read;
  hits->hits = n;
}

/* Add the hits of each bag up in rank space and apply B. `bag` is that of the first position; a
 * bag that goes on behind the last one gets its term in parts, which is the same sum. */
static inline void lb_apply_hits(const lb_hits *found, const lb_lora *lora, int64_t dim,
                                 const lb_bags *in, int64_t bag, float *out, int64_t out_stride) {
  enum { MOST = 16 };
  float pooled[MOST][LB_MAX_RANK];
  lb_term term[MOST];
  const int32_t rank = lora->rank;
  int64_t end = lb_bag_end(in, bag);
  int32_t terms = 0, open = 0;
  for (int32_t h = 0; h < found->hits; h++) {
    const int64_t position = found->at[h];
    while (position >= end) {
      end = lb_bag_end(in, ++bag);
      open = 0;
    }
    if (!open) {
      if (terms == MOST) {
        lb_apply(term, terms, lora, dim);
        terms = 0;
      }
      memset(pooled[terms], 0, (size_t)rank * sizeof(float));
      term[terms].pooled = pooled[terms];
      term[terms++].out = out + bag * out_stride;
      open = 1;
    }
    float scale = lb_bag_weight(in, position);
    if (in->mean)
      scale /= (float)(end - lb_bag_begin(in, bag));
    lb_add_scaled(pooled[terms - 1], lora->A + (int64_t)found->slot[h] * rank, scale, rank);
  }
  lb_apply(term, terms, lora, dim);
}

/* What a lookup does beside writing `out`: with `base`, it hands out the pooled base rows as they
 * are before the term is added; with `given`, `out` holds them already and no base row is read. */
typedef struct {
  float *base; /* [bags, dim], rows `stride` floats apart; or NULL */
  int64_t stride;
  int given;
} lb_parts;

static inline void lb_hand_out(const lb_parts *parts, int64_t first, int64_t last, int64_t dim,
                               const float *out, int64_t out_stride) {
  for (int64_t b = first; parts->base && b < last; b++)
    memcpy(parts->base + b * parts->stride, out + b * out_stride, (size_t)dim * sizeof(float));
}

LB_INLINE void lb_lora_pooled(const lb_table *table, const lb_lora *lora, const lb_bags *in,
                              const lb_parts *parts, float *out, int64_t out_stride, int wide) {
  const int64_t limit = lb_bag_end(in, in->bags - 1);
  const lb_index index = lora->index;
  lb_hits hits;
  hits.hashed = hits.scanned = lb_bag_begin(in, 0);
  hits.written = hits.read = 0;
  hits.filter = 1;
  for (int64_t first = 0, last; first < in->bags; first = last) {
    /* As many bags as fit into a group, or one that does not. */
    int64_t begin = lb_bag_begin(in, first), end = lb_bag_end(in, first);
    for (last = first + 1; last < in->bags && last < first + LB_GROUP; last++) {
      if (lb_bag_end(in, last) > begin + LB_GROUP)
        break;
      end = lb_bag_end(in, last);
    }
    int summed = parts->given;
    do {
      const int64_t stop = end < begin + LB_GROUP ? end : begin + LB_GROUP;
      lb_hash_rows(&hits, &index, in, lb_least(stop + LB_GROUP, limit), wide);
      lb_scan_keys(&hits, &index, lb_least(stop + LB_GROUP, limit));
      lb_find_hits(&hits, lora, stop);
      lb_hash_rows(&hits, &index, in, lb_least(stop + 2 * LB_GROUP, limit), wide);
      if (!summed) {
        lb_lookup_some(table, in, first, last, out, out_stride);
        lb_hand_out(parts, first, last, table->dim, out, out_stride);
      }
      summed = 1;
      /* Where most have a slot, the filter would only be one more line to fetch. */
      hits.filter = hits.hits * 2 <= stop - begin;
      if (hits.hits)
        lb_apply_hits(&hits, lora, table->dim, in, first, out, out_stride);
      begin = stop;
    } while (begin < end);
  }
}

/* One index a bag. Popular rows come up again and again in a batch, and without weights the answer
 * is the same each time: a row that was looked up before is copied from there. The others are
 * fresh. */
#define LB_FRESH 256
#define LB_COPIES 256
#define LB_MEMO_BITS 10

typedef struct {
  uint32_t scanned;               /* bags up to here are fresh or copies */
  uint32_t written, probed, done; /* fresh ones noted, with a slot, with an answer */
  uint32_t copies, copied;
  struct {
    uint32_t key;
    int32_t row, bag, slot;
  } fresh[LB_FRESH]; /* a ring */
  struct {
    uint32_t to, from; /* bags */
  } copy[LB_COPIES];   /* a ring */
  int memo_shift; /* as many cells are used as a small batch needs: they are all cleared first */
  struct {
    uint32_t key, bag;
  } memo[1 << LB_MEMO_BITS]; /* the last row with this hash, and where its answer will be */
} lb_one_hot;

#define LB_FRESH_AT(run, i) (run)->fresh[(i) & (LB_FRESH - 1)]
#define LB_COPY_AT(run, i) (run)->copy[(i) & (LB_COPIES - 1)]

/* Tell fresh rows from copies up to bag `to` and ask for the buckets of the fresh ones. */
LB_INLINE void lb_one_hot_scan(lb_one_hot *run, const lb_index *index, const lb_bags *in,
                               uint32_t to, int64_t dim, const float *out, int64_t out_stride) {
  const uint32_t begin = run->written, weighted = in->weights != NULL;
  uint32_t written = begin, copies = run->copies;
  for (uint32_t bag = run->scanned; bag < to; bag++) {
    const int32_t row = (int32_t)lb_bag_row(in, bag);
    const uint32_t key = lb_key(row), cell = key >> run->memo_shift;
    const uint32_t again = (run->memo[cell].key == key) & !weighted;
    LB_COPY_AT(run, copies).to = bag;
    LB_COPY_AT(run, copies).from = run->memo[cell].bag;
    copies += again;
    LB_FRESH_AT(run, written).key = key;
    LB_FRESH_AT(run, written).row = row;
    LB_FRESH_AT(run, written).bag = (int32_t)bag;
    written += !again;
    run->memo[cell].key = key;
    run->memo[cell].bag = bag;
    /* Answers are not written in order, so the hardware does not see them coming. */
    for (int64_t d = 0; d < dim; d += LB_LINE / 4)
      __builtin_prefetch(out + bag * out_stride + d, 1, 2);
  }
  for (uint32_t f = begin; f != written; f++)
    __builtin_prefetch(&index->buckets[lb_home(LB_FRESH_AT(run, f).key, index->capacity)], 0, 2);
  run->scanned = to;
  run->written = written;
  run->copies = copies;
}

/* Find the slots of fresh rows up to number `to`, and ask for their rows of A and W. */
LB_INLINE void lb_one_hot_probe(lb_one_hot *run, const lb_table *table, const lb_lora *lora,
                                uint32_t to, int64_t dim, int bf16) {
  const int64_t row_bytes = (int64_t)lora->rank * 4;
  for (; run->probed != to; run->probed++) {
    lb_prefetch_row(table, LB_FRESH_AT(run, run->probed).row, dim, bf16);
    const int32_t slot = lb_index_slot(&lora->index, LB_FRESH_AT(run, run->probed).key);
    LB_FRESH_AT(run, run->probed).slot = slot;
    /* Where there is nothing to ask for, ask for what is there already. */
    lb_prefetch_l2(slot < 0 ? (const char *)run : (const char *)lora->A + slot * row_bytes,
                   row_bytes);
  }
}

/* Columns [column, column + vectors) of four bags, base row and term. */
LB_INLINE void lb_one_hot_block(const lb_lora *lora, const lb_term *term, int terms,
                                const void *const *rows, int64_t dim, int64_t column, int vectors,
                                int bf16, int hit) {
  lb_tile tile;
  for (int t = 0; t < terms; t++)
    for (int v = 0; v < vectors; v++)
      tile[t][v] = lb_load_row(rows[t], column + v * LB_LANES, bf16);
  if (hit)
    lb_tile_add(tile, term, terms, lora, dim, column, vectors);
  for (int t = 0; t < terms; t++)
    for (int v = 0; v < vectors; v++)
      lb_store(term[t].out + column + v * LB_LANES, tile[t][v]);
}

/* Answer the next `terms` fresh rows. */
LB_INLINE void lb_one_hot_terms(lb_one_hot *run, const lb_table *table, const lb_lora *lora,
                                const lb_bags *in, int terms, int64_t dim, int bf16, float *out,
                                int64_t out_stride) {
  static const float none[LB_MAX_RANK];
  lb_term term[LB_TERMS];
  const void *rows[LB_TERMS];
  int hit = 0;
  for (int t = 0; t < terms; t++) {
    const int32_t slot = LB_FRESH_AT(run, run->done + t).slot;
    rows[t] = lb_table_row(table, LB_FRESH_AT(run, run->done + t).row, dim, bf16);
    term[t].pooled = slot < 0 ? none : lora->A + (int64_t)slot * lora->rank;
    term[t].out = out + LB_FRESH_AT(run, run->done + t).bag * out_stride;
    hit |= slot >= 0;
  }
  int64_t column = 0;
  for (; column + LB_TERM_VECTORS * LB_LANES <= dim; column += LB_TERM_VECTORS * LB_LANES)
    lb_one_hot_block(lora, term, terms, rows, dim, column, LB_TERM_VECTORS, bf16, hit);
  for (; column + LB_LANES <= dim; column += LB_LANES)
    lb_one_hot_block(lora, term, terms, rows, dim, column, 1, bf16, hit);
  for (; column < dim; column++)
    for (int t = 0; t < terms; t++) {
      float sum = lb_element(rows[t], column, bf16);
      for (int32_t j = 0; j < lora->rank; j++)
        sum += term[t].pooled[j] * lora->B[(int64_t)j * dim + column];
      term[t].out[column] = sum;
    }
  for (int t = 0; in->weights && t < terms; t++)
    for (int64_t d = 0; d < dim; d++)
      term[t].out[d] *= lb_bag_weight(in, LB_FRESH_AT(run, run->done + t).bag);
  run->done += (uint32_t)terms;
}

/* Copy what lies before bag `end`: where it comes from lies before it and is done. */
LB_INLINE void lb_one_hot_copy(lb_one_hot *run, uint32_t end, int64_t dim, float *out,
                               int64_t out_stride) {
  for (; run->copied != run->copies && LB_COPY_AT(run, run->copied).to < end; run->copied++)
    memcpy(out + LB_COPY_AT(run, run->copied).to * out_stride,
           out + LB_COPY_AT(run, run->copied).from * out_stride, (size_t)dim * sizeof(float));
}

LB_INLINE void lb_lora_one_hot(const lb_table *table, const lb_lora *lora, const lb_bags *in,
                               int64_t any, int bf16, float *out, int64_t out_stride) {
  enum { STEP = 64 };
  const uint32_t bags = (uint32_t)in->bags;
  const int64_t dim = any ? any : table->dim;
  lb_one_hot run;
  run.scanned = run.written = run.probed = run.done = run.copies = run.copied = 0;
  int bits = 6;
  while (bits < LB_MEMO_BITS && 1u << bits < 2 * bags)
    bits++;
  run.memo_shift = 32 - bits;
  memset(run.memo, 0, sizeof run.memo[0] << bits);
  while (run.done != run.written || run.scanned < bags) {
    while (run.scanned < bags && run.written - run.done < 2 * STEP &&
           run.copies - run.copied <= LB_COPIES - STEP)
      lb_one_hot_scan(&run, &lora->index, in, (uint32_t)lb_least(run.scanned + STEP, bags), dim,
                      out, out_stride);
    const uint32_t ready = run.written - run.done;
    const uint32_t ahead = ready < LB_AHEAD + LB_TERMS ? ready : LB_AHEAD + LB_TERMS;
    lb_one_hot_probe(&run, table, lora, run.done + ahead, dim, bf16);
    if (ready >= LB_TERMS)
      lb_one_hot_terms(&run, table, lora, in, LB_TERMS, dim, bf16, out, out_stride);
    else if (ready)
      lb_one_hot_terms(&run, table, lora, in, 1, dim, bf16, out, out_stride);
    lb_one_hot_copy(
        &run, run.done == run.written ? run.scanned : (uint32_t)LB_FRESH_AT(&run, run.done).bag,
        dim, out, out_stride);
  }
}

static void lb_lora_one_hot_dims(const lb_table *table, const lb_lora *lora, const lb_bags *in,
                                 float *out, int64_t out_stride) {
#define LB_FP32(D) lb_lora_one_hot(table, lora, in, D, 0, out, out_stride)
#define LB_BF16(D) lb_lora_one_hot(table, lora, in, D, 1, out, out_stride)
  if (table->bf16) {
    LB_FOR_DIM(table->dim, LB_BF16)
  } else {
    LB_FOR_DIM(table->dim, LB_FP32)
  }
#undef LB_FP32
#undef LB_BF16
}

/* Ask for what a lookup of one index a bag begins with, while another table is worked on: the first
 * base rows, and the buckets in which their slots are looked for. */
static inline void lb_lora_ahead(const lb_table *table, const lb_lora *lora, const lb_bags *in) {
  lb_lookup_ahead(table, in);
  if (lora->rank == 0 || in->offsets != NULL)
    return;
  const int64_t some = lb_least(in->bags, 2 * LB_AHEAD);
  for (int64_t b = 0; b < some; b++) {
    const uint32_t key = lb_key((int32_t)lb_bag_row(in, b));
    __builtin_prefetch(&lora->index.buckets[lb_home(key, lora->index.capacity)], 0, 2);
  }
}

/* out += the plain deltas of the rows of bags [first, last). */
static inline void lb_add_deltas(const lb_lora *lora, const lb_bags *in, int64_t first,
                                 int64_t last, int64_t dim, float *out, int64_t out_stride) {
  for (int64_t b = first; b < last; b++) {
    const int64_t begin = lb_bag_begin(in, b), end = lb_bag_end(in, b);
    const float divisor = in->mean ? (float)(end - begin) : 1.0f;
    for (int64_t p = begin; p < end; p++)
      lb_add_scaled(out + b * out_stride, lora->A + lb_bag_row(in, p) * dim,
                    lb_bag_weight(in, p) / divisor, dim);
  }
}

/* One index a bag: base row and delta are added up in registers. */
static inline void lb_one_hot_plain(const lb_table *table, const lb_lora *lora, const lb_bags *in,
                                    float *out, int64_t out_stride) {
  const int64_t dim = table->dim;
  const int bf16 = table->bf16;
  for (int64_t b = 0; b < in->bags; b++) {
    const int64_t row = lb_bag_row(in, b);
    const void *base = lb_table_row(table, row, dim, bf16);
    const float *delta = lora->A + row * dim;
    float *to = out + b * out_stride;
    int64_t d = 0;
    for (; d + LB_LANES <= dim; d += LB_LANES)
      lb_store(to + d, lb_load_row(base, d, bf16) + lb_load(delta + d));
    for (; d < dim; d++)
      to[d] = lb_element(base, d, bf16) + delta[d];
  }
}

/* Some bags at a time, so that what the base rows summed up to is still at hand. */
static inline void lb_lookup_plain(const lb_table *table, const lb_lora *lora, const lb_bags *in,
                                   const lb_parts *parts, float *out, int64_t out_stride) {
  for (int64_t first = 0, last; first < in->bags; first = last) {
    last = lora->plain ? lb_least(first + LB_GROUP, in->bags) : in->bags;
    if (!parts->given) {
      lb_lookup_some(table, in, first, last, out, out_stride);
      lb_hand_out(parts, first, last, table->dim, out, out_stride);
    }
    if (lora->plain)
      lb_add_deltas(lora, in, first, last, table->dim, out, out_stride);
  }
}

static inline void lb_lookup_lora(const lb_table *table, const lb_lora *lora, const lb_bags *in,
                                  const lb_parts *parts, float *out, int64_t out_stride) {
  if (in->bags == 0)
    return;
  const int alone = in->offsets == NULL && parts->base == NULL && !parts->given;
  if (lora->plain && alone && in->weights == NULL)
    lb_one_hot_plain(table, lora, in, out, out_stride);
  else if (lora->rank == 0)
    lb_lookup_plain(table, lora, in, parts, out, out_stride);
  else if (alone)
    lb_lora_one_hot_dims(table, lora, in, out, out_stride);
  else if (in->wide_indices)
    lb_lora_pooled(table, lora, in, parts, out, out_stride, 1);
  else
    lb_lora_pooled(table, lora, in, parts, out, out_stride, 0);
}

#endif
