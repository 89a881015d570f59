/* All kernels for one instruction set. Built once for each, with LB_ISA its name and
 * LB_LANES the floats of a vector; see meson.build.
 */
#include "dispatch/kernels.h"

#define LB_STRING(x) #x
#define LB_QUOTE(x) LB_STRING(x)
#define LB_PASTE(a, b) a##b
#define LB_TABLE(isa) LB_PASTE(lb_kernels_, isa)

#define LB_CONCAT(a, b) LB_PASTE(a, b)
#define LB_DRAWS(function) LB_CONCAT(function, LB_ISA)

/* These are built in draws.c. */
void LB_DRAWS(lb_zipf_fill_)(const lb_zipf *law, lb_bitgen *random, int64_t *ranks, int64_t n);
void LB_DRAWS(lb_place_)(const lb_population *population, lb_bitgen *random,
                         const lb_clocks *clocks, const int64_t *ranks, int64_t n, int32_t *rows);
void LB_DRAWS(lb_plant_sums_)(const lb_plant *plant, const int32_t *rows, int64_t stride, int64_t n,
                              const lb_logits *sums);

const lb_kernels LB_TABLE(LB_ISA) = {
    .name = LB_QUOTE(LB_ISA),
    .bad_index = lb_bad_index,
    .bad_offset = lb_bad_offset,
    .find = lb_index_find_all,
    .ahead = lb_lookup_ahead,
    .ahead_lora = lb_lora_ahead,
    .lookup = lb_lookup,
    .lookup_lora = lb_lookup_lora,
    .lora_backward = lb_lora_backward,
    .table_step = lb_table_step,
    .put_rows = lb_put_rows,
    .top_rows = lb_top_rows,
    .gram = lb_gram,
    .zipf = LB_DRAWS(lb_zipf_fill_),
    .place = LB_DRAWS(lb_place_),
    .plant_sums = LB_DRAWS(lb_plant_sums_),
    .random_read = lb_random_read,
};
