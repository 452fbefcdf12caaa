/* The rule projfactor: arXiv 2505.01744, algorithm 2; docs/method.md sections 3 and 4.
 *
 *   first pass, over chunks of u_dim of S:    v of u_dim's sums, Q, and m_s
 *   then, small:                              v of s_dim's sums from P and Q
 *   second pass, over W:                      the update, with Mhat made row by row
 */
#include <math.h>

#include "base/threads.h"
#include "optim/handle.h"

enum { QUADRATIC_PER_ITEM = 64 };

/* Scalars of one matrix's step. */
typedef struct job {
    vlorp_optimizer *o;
    vlorpi_slot *slot;
    float moment_beta, moment_gain; /* m <- beta m + gain S */
    float v_beta, v_gain;           /* v <- beta v + gain * (sum from unscaled S) */
    vlorpi_update update;           /* a is filled per row */
    double v_r_total;
    const vlorp_rng *rng;
} job;

/* m_s of one chunk of u_dim; S is zero afterwards.  Left: one piece of each of M rows. */
static void moment_chunk(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    const vlorpi_slot *slot = j->slot;
    int64_t M = slot->proj.M;
    if (vlorpi_slot_is_right(slot)) {
        j->o->kernels->moment(slot->moment + begin * M, slot->grad + begin * M, j->moment_beta, j->moment_gain,
                              (end - begin) * M);
        return;
    }
    for (int64_t e = 0; e < M; e++) {
        int64_t at = e * slot->proj.u_dim + begin;
        j->o->kernels->moment(slot->moment + at, slot->grad + at, j->moment_beta, j->moment_gain, end - begin);
    }
}

typedef struct quadratic_job {
    const vlorp_optimizer *o;
    const vlorpi_slot *slot;
} quadratic_job;

static void quadratic_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const quadratic_job *j = arg;
    const vlorp_projection_used *p = &j->slot->proj;
    bool right = vlorpi_slot_is_right(j->slot);
    int64_t begin = item * QUADRATIC_PER_ITEM;
    j->o->kernels->quadratic(j->o->scratch.s_sums, right ? p->d : 1, right ? 1 : p->c, j->o->scratch.p,
                             j->o->scratch.q, vlorpi_slot_slices(j->slot), begin,
                             vlorpi_min(p->d, begin + QUADRATIC_PER_ITEM));
}

void vlorpi_square_sums(vlorp_optimizer *o, const vlorpi_slot *slot, vlorpi_chunk_task *after_chunk, void *arg)
{
    quadratic_job j = {o, slot};
    vlorpi_prepare_gram(o, slot);
    vlorpi_projected_sums(o, slot, true, after_chunk, arg);
    vlorpi_for_each(&o->config.exec, vlorpi_divide_up(slot->proj.d, QUADRATIC_PER_ITEM), quadratic_item, &j);
}

static void moment_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const job *j = arg;
    int64_t begin = item * VLORPI_ELEMENTS_PER_ITEM;
    int64_t n = vlorpi_min(VLORPI_ELEMENTS_PER_ITEM, vlorpi_slot_gradient_elements(j->slot) - begin);
    j->o->kernels->moment(j->slot->moment + begin, j->slot->grad + begin, j->moment_beta, j->moment_gain, n);
}

/* A factor below one: the sums' closed form would need a Gram matrix of every piece of P. */
static void coarse_first_pass(job *j)
{
    vlorp_optimizer *o = j->o;
    vlorpi_slot *slot = j->slot;
    vlorpi_coarse_sums(o, slot);
    int64_t n_items = vlorpi_divide_up(vlorpi_slot_gradient_elements(slot), VLORPI_ELEMENTS_PER_ITEM);
    vlorpi_for_each(&o->config.exec, n_items, moment_item, j);
    o->kernels->moment(slot->row_sums, o->scratch.u_sums, j->v_beta, j->v_gain, slot->n);
    o->kernels->moment(slot->col_sums, o->scratch.s_sums, j->v_beta, j->v_gain, slot->m);
}

/* Row and column sums, m_s, and S = 0. */
static void first_pass(job *j)
{
    vlorp_optimizer *o = j->o;
    vlorpi_slot *slot = j->slot;
    vlorpi_square_sums(o, slot, moment_chunk, j);
    bool right = vlorpi_slot_is_right(slot);
    float *u_state = right ? slot->row_sums : slot->col_sums;
    float *s_state = right ? slot->col_sums : slot->row_sums;
    o->kernels->moment(u_state, o->scratch.u_sums, j->v_beta, j->v_gain, slot->proj.u_dim);
    o->kernels->moment(s_state, o->scratch.s_sums, j->v_beta, j->v_gain, slot->proj.s_dim);
}

/* A row of W as stored: of G, or a column of it where W is transposed. */
static void update_row(void *arg, int64_t row, int64_t col0, int64_t n, const float *mh, float *spare)
{
    (void)spare;
    const job *j = arg;
    const vlorpi_slot *slot = j->slot;
    vlorpi_update u = j->update;
    u.a = (float)sqrt((double)(slot->transposed ? slot->col_sums : slot->row_sums)[row] / j->v_r_total);
    vlorpi_update_row(j->o, slot, j->rng, row, col0, n, mh, j->o->scratch.root + col0, u);
}

static void second_pass(job *j)
{
    const vlorpi_slot *slot = j->slot;
    double total = j->o->kernels->sum(slot->row_sums, slot->n);
    j->v_r_total = total > 1e-30 ? total : 1e-30;
    j->o->kernels->root(j->o->scratch.root, slot->transposed ? slot->row_sums : slot->col_sums,
                        vlorpi_slot_stored_width(slot));
    vlorpi_backproject(j->o, slot, slot->moment, update_row, j);
}

void vlorpi_projfactor_step(vlorp_optimizer *o, vlorpi_slot *slot, const vlorpi_step *step)
{
    const vlorp_optimizer_config *c = &o->config;
    vlorpi_momentum_step m = vlorpi_momentum_at(o, slot, step->t);
    double lr = step->lr * slot->lr_factor;
    double eta = lr * sqrt(1 - pow(c->beta2, (double)step->t)) / (1 - pow(c->beta1, (double)m.t1));
    double s = c->scale * vlorpi_slot_s(slot);
    double g = step->gradient_scale;
    vlorp_rng rng;
    job j = {.o = o,
             .slot = slot,
             .moment_beta = m.forget ? 0.0f : (float)c->beta1,
             .moment_gain = (float)((1 - c->beta1) * g),
             .v_beta = (float)c->beta2,
             .v_gain = (float)((1 - c->beta2) * g * g * s * s),
             .update = {.eps = (float)c->eps, .step = (float)(eta * s), .decay = (float)(lr * slot->weight_decay)},
             .rng = vlorpi_rounding_rng(o, slot, step->t, &rng)};
    vlorpi_open_sums(o, slot);
    vlorpi_open_moment(o, slot);
    vlorpi_prepare_projection(o, slot);
    if (m.refreshed && vlorpi_slot_momentum(o, slot) == VLORP_MOMENTUM_TRANSPORT) {
        vlorpi_prepare_bridge(o, slot);
        vlorpi_momentum_transport(o, slot);
    }
    if (vlorpi_slot_is_coarse(slot)) {
        coarse_first_pass(&j);
    } else {
        first_pass(&j);
    }
    second_pass(&j);
    vlorpi_close_moment(o, slot, step->t);
}
