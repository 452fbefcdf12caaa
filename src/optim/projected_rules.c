/* The rules vlorp_os, vlorp_ss and vlorp_sgd on the projected gradient, and sgd on the exact one
 * (docs/method.md section 4). */
#include <math.h>

#include "base/threads.h"
#include "optim/handle.h"

typedef struct job {
    vlorp_optimizer *o;
    vlorpi_slot *slot;
    float beta1, gain1, beta2, gain2; /* of the moments, on gradients as they are stored */
    float eps;
    vlorpi_update update;
    const vlorp_rng *rng;
} job;

/* What the three have in common; scale: of the numbers that the moments are fed with. */
static job make_job(vlorp_optimizer *o, vlorpi_slot *slot, const vlorpi_step *step, double scale, vlorp_rng *rng)
{
    const vlorp_optimizer_config *c = &o->config;
    double g = step->gradient_scale * scale;
    double lr = step->lr * slot->lr_factor;
    return (job){.o = o,
                 .slot = slot,
                 .beta1 = (float)c->beta1,
                 .gain1 = (float)((1 - c->beta1) * g),
                 .beta2 = (float)c->beta2,
                 .gain2 = (float)((1 - c->beta2) * g * g),
                 .eps = (float)c->eps,
                 /* a = 0 and eps = 1 leave the denominator out */
                 .update = {.a = 0, .eps = 1, .decay = (float)(lr * slot->weight_decay)},
                 .rng = vlorpi_rounding_rng(o, slot, step->t, rng)};
}

/* eta_t of a first moment that is t1 steps old and a second one of t2. */
static double eta(const vlorp_optimizer *o, const vlorpi_slot *slot, const vlorpi_step *step, int64_t t1, int64_t t2)
{
    const vlorp_optimizer_config *c = &o->config;
    return step->lr * slot->lr_factor * sqrt(1 - pow(c->beta2, (double)t2)) / (1 - pow(c->beta1, (double)t1));
}

static void plain_row(void *arg, int64_t row, int64_t col0, int64_t n, const float *mh, float *spare)
{
    (void)spare;
    const job *j = arg;
    vlorpi_update_row(j->o, j->slot, j->rng, row, col0, n, mh, mh, j->update);
}

static void forget_sums(const vlorp_optimizer *o, vlorpi_slot *slot)
{
    vlorpi_clear(o, slot->grad, (size_t)vlorpi_slot_gradient_elements(slot) * sizeof(float));
}

static void os_row(void *arg, int64_t row, int64_t col0, int64_t n, const float *ghat, float *spare)
{
    const job *j = arg;
    int64_t at = row * vlorpi_slot_stored_width(j->slot) + col0;
    float *m = j->slot->moment + at;
    float *v = j->slot->moment2 + at;
    j->o->kernels->adam_moments(m, v, ghat, j->beta1, j->gain1, j->beta2, j->gain2, n);
    j->o->kernels->root(spare, v, n);
    vlorpi_update_row(j->o, j->slot, j->rng, row, col0, n, m, spare, j->update);
}

void vlorpi_vlorp_os_step(vlorp_optimizer *o, vlorpi_slot *slot, const vlorpi_step *step)
{
    vlorp_rng rng;
    job j = make_job(o, slot, step, o->config.scale * vlorpi_slot_s(slot), &rng);
    j.update.a = 1;
    j.update.eps = j.eps;
    j.update.step = (float)eta(o, slot, step, step->t, step->t);
    vlorpi_open_sums(o, slot);
    vlorpi_prepare_projection(o, slot);
    vlorpi_backproject(o, slot, slot->grad, os_row, &j);
    forget_sums(o, slot);
}

/* Moments of S, and S becomes the direction. */
static void ss_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const job *j = arg;
    const vlorpi_slot *slot = j->slot;
    int64_t at = item * VLORPI_ELEMENTS_PER_ITEM;
    int64_t n = vlorpi_min(VLORPI_ELEMENTS_PER_ITEM, vlorpi_slot_gradient_elements(slot) - at);
    j->o->kernels->adam_moments(slot->moment + at, slot->moment2 + at, slot->grad + at, j->beta1, j->gain1, j->beta2,
                                j->gain2, n);
    j->o->kernels->adam_direction(slot->grad + at, slot->moment + at, slot->moment2 + at, j->eps, n);
}

void vlorpi_vlorp_ss_step(vlorp_optimizer *o, vlorpi_slot *slot, const vlorpi_step *step)
{
    vlorpi_momentum_step m = vlorpi_momentum_at(o, slot, step->t);
    vlorp_rng rng;
    job j = make_job(o, slot, step, 1, &rng);
    j.beta1 = m.forget ? 0.0f : j.beta1;
    j.update.step = (float)(eta(o, slot, step, m.t1, step->t - slot->since) * o->config.scale * vlorpi_slot_s(slot));
    vlorpi_open_sums(o, slot);
    vlorpi_open_moment(o, slot);
    vlorpi_prepare_projection(o, slot);
    if (m.refreshed && vlorpi_slot_momentum(o, slot) == VLORP_MOMENTUM_TRANSPORT) {
        vlorpi_prepare_bridge(o, slot);
        vlorpi_momentum_transport(o, slot);
    }
    int64_t n = vlorpi_slot_gradient_elements(slot);
    vlorpi_for_each(&o->config.exec, vlorpi_divide_up(n, VLORPI_ELEMENTS_PER_ITEM), ss_item, &j);
    vlorpi_backproject(o, slot, slot->grad, plain_row, &j);
    forget_sums(o, slot);
    vlorpi_close_moment(o, slot, step->t);
}

void vlorpi_vlorp_sgd_step(vlorp_optimizer *o, vlorpi_slot *slot, const vlorpi_step *step)
{
    vlorp_rng rng;
    job j = make_job(o, slot, step, 1, &rng);
    j.update.step =
        (float)(step->lr * slot->lr_factor * step->gradient_scale * o->config.scale * vlorpi_slot_s(slot));
    vlorpi_open_sums(o, slot);
    vlorpi_prepare_projection(o, slot);
    vlorpi_backproject(o, slot, slot->grad, plain_row, &j);
    forget_sums(o, slot);
}

static void sgd_item(void *arg, int64_t row, int thread)
{
    (void)thread;
    const job *j = arg;
    int64_t width = vlorpi_slot_stored_width(j->slot);
    plain_row(arg, row, 0, width, j->slot->grad + row * width, NULL);
}

void vlorpi_sgd_step(vlorp_optimizer *o, vlorpi_slot *slot, const vlorpi_step *step)
{
    vlorp_rng rng;
    job j = make_job(o, slot, step, 1, &rng);
    j.update.step = (float)(step->lr * slot->lr_factor * step->gradient_scale);
    vlorpi_for_each(&o->config.exec, vlorpi_slot_n_stored_rows(slot), sgd_item, &j);
    forget_sums(o, slot);
}
