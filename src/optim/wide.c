/* S and m_s kept in bfloat16: they are widened into buffers that all parameters share, worked on in
 * fp32, and stored back with stochastic rounding.  The draws are defined in rng.h. */
#include "base/threads.h"
#include "kernel/half.h"
#include "optim/handle.h"

enum { ROW_ELEMENTS = 1 << 20 }; /* of rng.h's element (row, column) */
static const uint64_t SUM_STEP = 0xD1342543DE82EF95u;

typedef struct job {
    const vlorp_optimizer *o;
    float *wide;
    uint16_t *narrow;
    int64_t n;
    const vlorp_rng *rng;
} job;

static void widen_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const job *j = arg;
    int64_t end = vlorpi_min(j->n, (item + 1) * VLORPI_ELEMENTS_PER_ITEM);
    for (int64_t i = item * VLORPI_ELEMENTS_PER_ITEM; i < end; i++) {
        j->wide[i] = vlorpi_bf16_to_f32(j->narrow[i]);
    }
}

static void store_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const job *j = arg;
    int64_t begin = item * VLORPI_ELEMENTS_PER_ITEM;
    j->o->kernels->store_bf16(j->narrow + begin, j->wide + begin, vlorpi_min(VLORPI_ELEMENTS_PER_ITEM, j->n - begin),
                              (vlorpi_rounding){j->rng, (uint32_t)(begin / ROW_ELEMENTS)}, begin % ROW_ELEMENTS);
}

static void run(const vlorp_optimizer *o, const vlorpi_slot *slot, float *wide, uint16_t *narrow, const vlorp_rng *rng)
{
    job j = {o, wide, narrow, vlorpi_slot_elements(slot, VLORPI_SHAPE_SUMS), rng};
    vlorpi_for_each(&o->config.exec, vlorpi_divide_up(j.n, VLORPI_ELEMENTS_PER_ITEM),
                    rng != NULL ? store_item : widen_item, &j);
}

void vlorpi_open_sums(vlorp_optimizer *o, const vlorpi_slot *slot)
{
    if (slot->grad16 != NULL) {
        run(o, slot, slot->grad, slot->grad16, NULL);
    }
}

void vlorpi_close_sums(vlorp_optimizer *o, vlorpi_slot *slot)
{
    if (slot->grad16 != NULL) {
        vlorp_rng rng = vlorp_rng_make(o->config.seed, slot->name_hash + slot->n_sums++ * SUM_STEP, VLORP_STREAM_SUMS,
                                       (uint64_t)o->steps_taken + 1);
        run(o, slot, slot->grad, slot->grad16, &rng);
    }
}

void vlorpi_open_moment(vlorp_optimizer *o, const vlorpi_slot *slot)
{
    if (slot->moment16 != NULL) {
        run(o, slot, slot->moment, slot->moment16, NULL);
    }
}

void vlorpi_close_moment(vlorp_optimizer *o, const vlorpi_slot *slot, int64_t step)
{
    if (slot->moment16 != NULL) {
        vlorp_rng rng = vlorp_rng_make(o->config.seed, slot->name_hash, VLORP_STREAM_MOMENTS, (uint64_t)step);
        run(o, slot, slot->moment, slot->moment16, &rng);
    }
}
