/* What a seed decides, for one instruction set: Zipf draws and the planted model. Apart from isa.c,
 * since they are built without contraction to FMA: a seed gives the same rows on every machine.
 */
#include "generate/plant.h"
#include "generate/zipf.h"

#define LB_PASTE(a, b) a##b
#define LB_CONCAT(a, b) LB_PASTE(a, b)
#define LB_NAME(function) LB_CONCAT(function, LB_ISA)

void LB_NAME(lb_zipf_fill_)(const lb_zipf *law, lb_bitgen *random, int64_t *ranks, int64_t n);
void LB_NAME(lb_zipf_fill_)(const lb_zipf *law, lb_bitgen *random, int64_t *ranks, int64_t n) {
  lb_zipf_fill(law, random, ranks, n);
}

void LB_NAME(lb_place_)(const lb_population *population, lb_bitgen *random, const lb_clocks *clocks,
                        const int64_t *ranks, int64_t n, int32_t *rows);
void LB_NAME(lb_place_)(const lb_population *population, lb_bitgen *random, const lb_clocks *clocks,
                        const int64_t *ranks, int64_t n, int32_t *rows) {
  lb_place(population, random, clocks, ranks, n, rows);
}

void LB_NAME(lb_plant_sums_)(const lb_plant *plant, const int32_t *rows, int64_t stride, int64_t n,
                             const lb_logits *sums);
void LB_NAME(lb_plant_sums_)(const lb_plant *plant, const int32_t *rows, int64_t stride, int64_t n,
                             const lb_logits *sums) {
  lb_plant_sums(plant, rows, stride, n, sums);
}
