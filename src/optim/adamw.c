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

/* Columns [col0, col0 + n) of row i; g is zero afterwards. */
static void adamw_piece(const job *j, int64_t i, int64_t col0, int64_t n, float *g)
{
    const vlorpi_slot *slot = j->slot;
    int64_t at = i * slot->ld + col0;
    float *m = slot->moment + i * j->width + col0;
    float *v = slot->moment2 + i * j->width + col0;
    if (slot->dtype == VLORP_BF16) {
        j->o->kernels->adamw_bf16((uint16_t *)slot->weight + at, m, v, g, j->scalars, n,
                                  (vlorpi_rounding){j->rng, (uint32_t)i}, col0);
    } else {
        j->o->kernels->adamw_f32((float *)slot->weight + at, m, v, g, j->scalars, n);
    }
}

static void adamw_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const job *j = arg;
    int64_t end = vlorpi_min(j->n_rows, (item + 1) * j->rows_per_item);
    for (int64_t i = item * j->rows_per_item; i < end; i++) {
        if (!j->slot->is_lent) {
            adamw_piece(j, i, 0, j->width, j->slot->grad + i * j->width);
        }
        for (int64_t col0 = 0; j->slot->is_lent && col0 < j->width; col0 += VLORPI_LENT_PIECE) {
            float g[VLORPI_LENT_PIECE];
            int64_t n = vlorpi_min(VLORPI_LENT_PIECE, j->width - col0);
            vlorpi_read_lent(g, j->slot, i * j->width + col0, n);
            adamw_piece(j, i, col0, n, g);
        }
    }
}

vlorpi_adamw vlorpi_adamw_scalars(const vlorp_optimizer *o, const vlorpi_slot *slot, const vlorpi_step *step)
{
    const vlorp_optimizer_config *c = &o->config;
    double lr = step->lr * slot->lr_factor;
    return (vlorpi_adamw){.beta1 = (float)c->beta1,
                          .beta2 = (float)c->beta2,
                          .fresh1 = (float)(1 - c->beta1),
                          .fresh2 = (float)(1 - c->beta2),
                          .grad_scale = (float)step->gradient_scale,
                          .decay = (float)(lr * slot->weight_decay),
                          .step = (float)(lr / (1 - pow(c->beta1, (double)step->t))),
                          .rsqrt_bc2 = (float)(1 / sqrt(1 - pow(c->beta2, (double)step->t))),
                          .eps = (float)c->adamw_eps};
}

void vlorpi_adamw_step(vlorp_optimizer *o, vlorpi_slot *slot, const vlorpi_step *step)
{
    vlorp_rng rng;
    job j = {.o = o,
             .slot = slot,
             .n_rows = slot->transposed ? slot->m : slot->n,
             .width = slot->transposed ? slot->n : slot->m,
             .scalars = vlorpi_adamw_scalars(o, slot, step),
             .rng = vlorpi_rounding_rng(o, slot, step->t, &rng)};
    j.rows_per_item = vlorpi_max(1, ELEMENTS_PER_ITEM / j.width);
    vlorpi_for_each(&o->config.exec, vlorpi_divide_up(j.n_rows, j.rows_per_item), adamw_item, &j);
}
