/* Left-right publication: one writer, wait-free-in-practice readers in other processes.
 *
 * Two sides hold the same kind of data. Readers read the active side; the writer works in the
 * idle one and then makes it active ("flip"). A reader announces the side it reads in a pin line
 * of its own, so a reader never writes to a line that another reader uses. The writer may write
 * to the idle side only when no pin names it.
 *
 * After Ramalhete and Correia, "Left-Right: A Concurrency Control Technique with Wait-Free
 * Population Oblivious Reads" (2015), reduced to one writer that defers instead of waiting.
 *
 * Why these memory orders. The reader's announcement (a store) and its re-check of `active` (a
 * load) are the store-load pattern of Dekker's algorithm: only sequential consistency keeps the
 * load from passing the store. Either the writer's scan of the pins sees the announcement, or the
 * reader's re-check sees the flip that came before that scan. The release in leave() orders the
 * reader's last read before the writer's next write.
 *
 * LB_BREAK_FENCE, LB_BREAK_RECHECK and LB_BREAK_DEFER each take one of these guards away. They
 * exist so that the stress test can show that it would notice.
 */
#ifndef LORABENCH_LEFTRIGHT_H
#define LORABENCH_LEFTRIGHT_H

#include <stdbool.h>
#include <stdint.h>

/* Two cache lines: the adjacent-line prefetcher would otherwise pull in a neighbour's pin. */
#define LB_PIN_BYTES 128

typedef struct {
  int64_t side; /* 0: reads nothing; v + 1: reads side v */
  char pad[LB_PIN_BYTES - sizeof(int64_t)];
} lb_pin;

_Static_assert(sizeof(lb_pin) == LB_PIN_BYTES, "a pin fills its line");

/* Pin the active side and return it (0 or 1). Retries only when a flip came in between. */
static inline int64_t lb_reader_enter(const int64_t *active, lb_pin *pin) {
  int64_t side = __atomic_load_n(active, __ATOMIC_ACQUIRE);
  for (;;) {
#ifdef LB_BREAK_FENCE
    __atomic_store_n(&pin->side, side + 1, __ATOMIC_RELAXED);
    const int64_t now = __atomic_load_n(active, __ATOMIC_RELAXED);
#else
    __atomic_exchange_n(&pin->side, side + 1, __ATOMIC_SEQ_CST);
    const int64_t now = __atomic_load_n(active, __ATOMIC_SEQ_CST);
#endif
#ifdef LB_BREAK_RECHECK
    (void)now;
    return side;
#else
    if (now == side)
      return side;
    side = now;
#endif
  }
}

static inline void lb_reader_leave(lb_pin *pin) {
  __atomic_store_n(&pin->side, 0, __ATOMIC_RELEASE);
}

/* May the writer write to `side`? Meaningful only while `side` is idle, and then it stays true
 * until the next flip: a reader that pins it later finds on its re-check that it is not active. */
static inline bool lb_side_is_free(const lb_pin *pins, int64_t readers, int64_t side) {
#ifdef LB_BREAK_DEFER
  (void)pins, (void)readers, (void)side;
#else
  for (int64_t i = 0; i < readers; i++)
    if (__atomic_load_n(&pins[i].side, __ATOMIC_SEQ_CST) == side + 1)
      return false;
#endif
  return true;
}

/* Publish `side`: all writes to it happen before any read by a reader that enters from now on. */
static inline void lb_flip(int64_t *active, int64_t side) {
  __atomic_store_n(active, side, __ATOMIC_SEQ_CST);
}

#endif
