/* The rule adamw, in PyTorch's order of operations; its gradient is exact. */
#include <math.h>

#include "base/threads.h"
#include "optim/handle.h"

enum { ELEMENTS_PER_ITEM = 1 << 15 };

typedef struct job {
    const vlorp_optimizer *o;
    vlorpi_slot *slot;
    int64_t n_rows, width; /* as the weight is stored */
    int64_t rows_per_item;
    vlorpi_adamw scalars;
    const vlorp_rng *rng;
} job;

static void adamw_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const job *j = arg;
    const vlorpi_slot *slot = j->slot;
    int64_t end = vlorpi_min(j->n_rows, (item + 1) * j->rows_per_item);
    for (int64_t i = item * j->rows_per_item; i < end; i++) {
        int64_t at = i * j->width;
        float *m = slot->moment + at;
        float *v = slot->moment2 + at;
        float *g = slot->grad + at;
        if (slot->dtype == VLORP_BF16) {
            j->o->kernels->adamw_bf16((uint16_t *)slot->weight + i * slot->ld, m, v, g, j->scalars, j->width,
                                      (vlorpi_rounding){j->rng, (uint32_t)i}, 0);
        } else {
            j->o->kernels->adamw_f32((float *)slot->weight + i * slot->ld, m, v, g, j->scalars, j->width);
        }
    }
}

void vlorpi_adamw_step(vlorp_optimizer *o, vlorpi_slot *slot, const vlorpi_step *step)
{
    const vlorp_optimizer_config *c = &o->config;
    double lr = step->lr * slot->lr_factor;
    vlorp_rng rng;
    job j = {.o = o,
             .slot = slot,
             .n_rows = slot->transposed ? slot->m : slot->n,
             .width = slot->transposed ? slot->n : slot->m,
             .scalars = {.beta1 = (float)c->beta1,
                         .beta2 = (float)c->beta2,
                         .fresh1 = (float)(1 - c->beta1),
                         .fresh2 = (float)(1 - c->beta2),
                         .grad_scale = (float)step->gradient_scale,
                         .decay = (float)(lr * slot->weight_decay),
                         .step = (float)(lr / (1 - pow(c->beta1, (double)step->t))),
                         .rsqrt_bc2 = (float)(1 / sqrt(1 - pow(c->beta2, (double)step->t))),
                         .eps = (float)c->adamw_eps},
             .rng = vlorpi_rounding_rng(o, slot, step->t, &rng)};
    j.rows_per_item = vlorpi_max(1, ELEMENTS_PER_ITEM / j.width);
    vlorpi_for_each(&c->exec, vlorpi_divide_up(j.n_rows, j.rows_per_item), adamw_item, &j);
}
