/* Stress of the adapter's publication: one writer flips a tiny adapter under reading processes.
 *
 * usage: publication torn READERS READS SECONDS   exit 0: no read mixed two epochs; 1: some did
 *        publication kill READERS READS SECONDS   exit 0: a reader killed with its pin set held
 *                                                 up the writer only until it was reaped
 *
 * Every A of epoch e holds e and B is the identity, so a lookup through the real kernel must give
 * one number in all places. "torn" stops at READS reads in all, or, so that a build that is
 * expected to fail can look longer, at the first torn read or after SECONDS.
 */
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sys/mman.h>

#include "shared/adapter.h"

enum { DIM = 8, RANK = 8, SLOTS = 8, MAX_READERS = 16, REST = 256 };

typedef struct {
  lb_pin pins[MAX_READERS];
  struct {
    int64_t reads, torn;
    char pad[LB_PIN_BYTES - 2 * sizeof(int64_t)];
  } count[MAX_READERS];
  int64_t stop, hold;
  _Alignas(LB_PIN_BYTES) char adapter[1 << 16];
} lb_shared;

static lb_shared *shared;

static lb_adapter *adapter(void) { return (lb_adapter *)shared->adapter; }

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Read for ever. With `hold`, stop for good while the pin is set. */
static void read_on(int me) {
  static const float weights[SLOTS * DIM];
  static const int32_t rows[SLOTS] = {0, 1, 2, 3, 4, 5, 6, 7};
  const lb_bags bags = {.indices = rows, .index_stride = 1, .bags = SLOTS};
  const lb_table table = {weights, SLOTS, DIM, 0};
  float out[SLOTS * DIM];
  uint32_t random = 2463534242u + (uint32_t)me;
  while (!__atomic_load_n(&shared->stop, __ATOMIC_RELAXED)) {
    const int64_t at = lb_reader_enter(&adapter()->active, &shared->pins[me]);
    lb_side *side = lb_adapter_side(adapter(), at);
    const lb_lora lora = lb_side_view(side, 0);
    const float first = (float)__atomic_load_n(&side->epoch, __ATOMIC_RELAXED);
    lb_lookup_lora(&table, &lora, &bags, &(lb_parts){0}, out, DIM);
    const float last = (float)__atomic_load_n(&side->epoch, __ATOMIC_RELAXED);
    while (me == 0 && __atomic_load_n(&shared->hold, __ATOMIC_RELAXED))
      pause();
    lb_reader_leave(&shared->pins[me]);
    /* Rest a moment, each time another one: the writer must find the idle side free now and then,
     * and meet the reader at every point of its way in. */
    random ^= random << 13, random ^= random >> 17, random ^= random << 5;
    for (volatile uint32_t i = random % REST; i > 0; i--)
      ;
    int torn = first != last;
    for (int i = 0; i < SLOTS * DIM; i++)
      torn |= out[i] != first;
    shared->count[me].torn += torn;
    __atomic_store_n(&shared->count[me].reads, shared->count[me].reads + 1, __ATOMIC_RELAXED);
  }
  _exit(0);
}

typedef struct {
  lb_slots slots;
  int64_t epoch, flips, deferred;
} lb_writer;

static float accumulator[SLOTS];
static int32_t slot_row[SLOTS];
static uint16_t lookup_counts[SLOTS];
static uint8_t dirty[SLOTS];

/* One epoch, the way the trainer does it: is the idle side free? sync it, train in it, flip. */
static int publish(lb_writer *w) {
  const int64_t active = adapter()->active, idle = 1 - active;
  if (!lb_side_is_free(shared->pins, MAX_READERS, idle)) {
    w->deferred++;
    return 0;
  }
  lb_side *side = lb_adapter_side(adapter(), idle);
  lb_sync_table(lb_adapter_side(adapter(), active), side, 0, &w->slots);
  lb_lora lora = lb_side_lora(side, 0);
  w->epoch = (w->epoch + 1) % (1 << 24); /* a float holds it exactly */
  side->epoch = w->epoch;
  for (int32_t row = 0; row < SLOTS; row++) {
    const int32_t slot = lb_admit(&lora, &w->slots, row);
    for (int j = 0; j < RANK; j++)
      ((volatile float *)lora.A)[slot * RANK + j] = (float)w->epoch;
    w->slots.dirty[slot] |= LB_CHANGED;
  }
  side->table[0].used = w->slots.used;
  lb_flip(&adapter()->active, idle);
  w->flips++;
  return 1;
}

static int64_t total(int readers, int torn) {
  int64_t sum = 0;
  for (int i = 0; i < readers; i++)
    sum +=
        torn ? shared->count[i].torn : __atomic_load_n(&shared->count[i].reads, __ATOMIC_RELAXED);
  return sum;
}

static int kill_one(lb_writer *w, pid_t victim, int readers) {
  shared->hold = 1;
  while (__atomic_load_n(&shared->pins[0].side, __ATOMIC_RELAXED) == 0 ||
         publish(w)) /* until the victim holds a side and the writer meets it */
    ;
  kill(victim, SIGKILL);
  waitpid(victim, NULL, 0);
  const int64_t flips = w->flips, deferred = w->deferred, reads = total(readers, 0);
  while (total(readers, 0) < reads + 100000)
    publish(w);
  printf("held: flips +%lld deferred +%lld\n", (long long)(w->flips - flips),
         (long long)(w->deferred - deferred));
  if (w->flips - flips > 1 || w->deferred == deferred)
    return 1; /* a dead reader's pin must be respected: it may be a slow reader's */
  lb_reader_leave(&shared->pins[0]); /* what the parent does once it has reaped the victim */
  const int64_t resumed = w->flips;
  while (w->flips < resumed + 1000)
    publish(w);
  return 0;
}

int main(int argc, char **argv) {
  assert(argc == 5);
  const int readers = atoi(argv[2]);
  const int64_t reads = atoll(argv[3]);
  const double deadline = now() + atof(argv[4]);
  const int killing = argv[1][0] == 'k';
  assert(readers >= 1 && readers <= MAX_READERS);
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert(shared != MAP_FAILED);
  const int64_t slots = SLOTS, rank = RANK;
  assert(lb_adapter_bytes(1, DIM, &rank, &slots) <= (int64_t)sizeof shared->adapter);
  lb_adapter_format(adapter(), sizeof shared->adapter, 1, DIM, &rank, &slots);
  for (int side = 0; side < 2; side++)
    for (int j = 0; j < RANK; j++)
      lb_side_lora(lb_adapter_side(adapter(), side), 0).B[j * DIM + j] = 1.0f;
  lb_writer w = {.slots = {.accumulator = accumulator,
                           .slot_row = slot_row,
                           .lookup_counts = lookup_counts,
                           .dirty = dirty,
                           .slots = SLOTS}};
  publish(&w); /* the first readers find epoch 1 */
  pid_t children[MAX_READERS];
  for (int i = 0; i < readers; i++) {
    children[i] = fork();
    if (children[i] == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      read_on(i);
    }
  }
  int failed = 0;
  if (killing)
    failed = kill_one(&w, children[0], readers);
  for (int64_t i = 0; total(readers, 0) < reads && now() < deadline; i++) {
    publish(&w);
    if ((i & 1023) == 0 && total(readers, 1) > 0 && getenv("STOP_AT_FIRST"))
      break;
  }
  shared->stop = 1;
  for (int i = killing; i < readers; i++)
    waitpid(children[i], NULL, 0);
  printf("reads %lld torn %lld flips %lld deferred %lld\n", (long long)total(readers, 0),
         (long long)total(readers, 1), (long long)w.flips, (long long)w.deferred);
  return failed || total(readers, 1) > 0;
}
