/* All kernels for one instruction set. Built once for each, with LB_ISA its name and
 * LB_LANES the floats of a vector; see meson.build.
 */
#include "kernels.h"

#define LB_STRING(x) #x
#define LB_QUOTE(x) LB_STRING(x)
#define LB_PASTE(a, b) a##b
#define LB_TABLE(isa) LB_PASTE(lb_kernels_, isa)

#define LB_ZIPF(isa) LB_PASTE(lb_zipf_fill_, isa)

void LB_ZIPF(LB_ISA)(const lb_zipf *law, lb_bitgen *random, int64_t *ranks, int64_t n); /* zipf.c */

const lb_kernels LB_TABLE(LB_ISA) = {
    .name = LB_QUOTE(LB_ISA),
    .bad_index = lb_bad_index,
    .bad_offset = lb_bad_offset,
    .find = lb_index_find_all,
    .ahead = lb_lookup_ahead,
    .lookup = lb_lookup,
    .lookup_lora = lb_lookup_lora,
    .lora_backward = lb_lora_backward,
    .top_rows = lb_top_rows,
    .gram = lb_gram,
    .zipf = LB_ZIPF(LB_ISA),
    .random_read = lb_random_read,
};
