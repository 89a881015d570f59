/* The Zipf draws for one instruction set. Apart from isa.c, since they are built without
 * contraction to FMA: a seed gives the same ranks on every machine.
 */
#include "zipf.h"

#define LB_PASTE(a, b) a##b
#define LB_NAME(isa) LB_PASTE(lb_zipf_fill_, isa)

void LB_NAME(LB_ISA)(const lb_zipf *law, lb_bitgen *random, int64_t *ranks, int64_t n);

void LB_NAME(LB_ISA)(const lb_zipf *law, lb_bitgen *random, int64_t *ranks, int64_t n) {
  lb_zipf_fill(law, random, ranks, n);
}
