/* The rule projfactor: arXiv 2505.01744, algorithm 2; DESIGN sections 3 and 4.
 *
 *   first pass, over chunks of u_dim of S:    v of u_dim's sums, Q, and m_s
 *   then, small:                              v of s_dim's sums from P and Q
 *   second pass, over W:                      the update, with Mhat made row by row
 */
#include <math.h>

#include "base/threads.h"
#include "optim/handle.h"

enum { ROWS_PER_ITEM = 16, QUADRATIC_PER_ITEM = 64 };

/* Scalars of one matrix's step. */
typedef struct job {
    vlorp_optimizer *o;
    vlorpi_slot *slot;
    float moment_beta, moment_gain; /* m <- beta m + gain S */
    float v_beta, v_gain;           /* v <- beta v + gain * (sum from unscaled S) */
    vlorpi_update update;           /* a is filled per row */
    double v_r_total;
    const vlorp_rng *rng;
    int64_t tile; /* columns of a left row worked on at once */
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
        int64_t at = e * slot->m + begin;
        j->o->kernels->moment(slot->moment + at, slot->grad + at, j->moment_beta, j->moment_gain, end - begin);
    }
}

static void quadratic_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const job *j = arg;
    const vlorp_projection_used *p = &j->slot->proj;
    bool right = vlorpi_slot_is_right(j->slot);
    int64_t begin = item * QUADRATIC_PER_ITEM;
    j->o->kernels->quadratic(j->o->scratch.s_sums, right ? p->d : 1, right ? 1 : p->c, j->o->scratch.p,
                             j->o->scratch.q, vlorpi_slot_slices(j->slot), begin,
                             vlorpi_min(p->d, begin + QUADRATIC_PER_ITEM));
}

/* Row and column sums, m_s, and S = 0. */
static void first_pass(job *j)
{
    vlorp_optimizer *o = j->o;
    vlorpi_slot *slot = j->slot;
    vlorpi_projected_sums(o, slot, true, moment_chunk, j);
    vlorpi_for_each(&o->config.exec, vlorpi_divide_up(slot->proj.d, QUADRATIC_PER_ITEM), quadratic_item, j);
    bool right = vlorpi_slot_is_right(slot);
    float *u_state = right ? slot->row_sums : slot->col_sums;
    float *s_state = right ? slot->col_sums : slot->row_sums;
    o->kernels->moment(u_state, o->scratch.u_sums, j->v_beta, j->v_gain, slot->proj.u_dim);
    o->kernels->moment(s_state, o->scratch.s_sums, j->v_beta, j->v_gain, slot->proj.s_dim);
    double total = o->kernels->sum(slot->row_sums, slot->n);
    j->v_r_total = total > 1e-30 ? total : 1e-30;
    o->kernels->root(o->scratch.root, slot->col_sums, slot->m);
}

/* One row of W, columns [j0, j0 + n), from mh [n]. */
static void update_row(const job *j, int64_t i, const float *mh, int64_t j0, int64_t n)
{
    const vlorpi_slot *slot = j->slot;
    vlorpi_update u = j->update;
    u.a = (float)sqrt((double)slot->row_sums[i] / j->v_r_total);
    const float *b = j->o->scratch.root + j0;
    int64_t at = i * slot->ld + j0;
    if (slot->dtype == VLORP_BF16) {
        j->o->kernels->update_bf16((uint16_t *)slot->weight + at, mh, b, u, n,
                                   (vlorpi_rounding){j->rng, (uint32_t)i}, j0);
    } else {
        j->o->kernels->update_f32((float *)slot->weight + at, mh, b, u, n);
    }
}

static void right_item(void *arg, int64_t item, int thread)
{
    const job *j = arg;
    const vlorpi_slot *slot = j->slot;
    const vlorpi_scratch *s = &j->o->scratch;
    float *mh = s->rows + thread * s->row_stride;
    int64_t end = vlorpi_min(slot->n, (item + 1) * ROWS_PER_ITEM);
    for (int64_t i = item * ROWS_PER_ITEM; i < end; i++) {
        j->o->kernels->backproject_right(mh, slot->moment + i * slot->proj.M, s->pt, vlorpi_padded(slot->proj.d),
                                         vlorpi_slot_slices(slot));
        update_row(j, i, mh, 0, slot->m);
    }
}

/* Rows a c + b of one b share r rows of m_s, so an item takes ROWS_PER_ITEM values of a for one b and
 * goes tile by tile over the columns: that part of m_s stays in the cache. */
static void left_item(void *arg, int64_t item, int thread)
{
    const job *j = arg;
    const vlorpi_slot *slot = j->slot;
    const vlorpi_scratch *s = &j->o->scratch;
    const vlorp_projection_used *p = &slot->proj;
    int64_t per_slice = vlorpi_divide_up(p->d, ROWS_PER_ITEM);
    int64_t b = item / per_slice;
    int64_t begin = item % per_slice * ROWS_PER_ITEM;
    int64_t end = vlorpi_min(p->d, begin + ROWS_PER_ITEM);
    float *mh = s->rows + thread * s->row_stride;
    for (int64_t j0 = 0; j0 < slot->m; j0 += j->tile) {
        int64_t n = vlorpi_min(j->tile, slot->m - j0);
        for (int64_t a = begin; a < end; a++) {
            j->o->kernels->backproject_left(mh, s->p + a * p->r, slot->moment + b * slot->m + j0, p->c * slot->m,
                                            p->r, n);
            update_row(j, a * p->c + b, mh, j0, n);
        }
    }
}

static void second_pass(job *j)
{
    enum { TILE_FLOATS = 1 << 15, MOST = 2048 };
    const vlorpi_slot *slot = j->slot;
    if (vlorpi_slot_is_right(slot)) {
        vlorpi_for_each(&j->o->config.exec, vlorpi_divide_up(slot->n, ROWS_PER_ITEM), right_item, j);
        return;
    }
    int64_t tile = TILE_FLOATS / slot->proj.r / VLORPI_OPTIM_DRAWS * VLORPI_OPTIM_DRAWS;
    j->tile = vlorpi_max(VLORPI_OPTIM_DRAWS, vlorpi_min(tile, MOST));
    int64_t n_items = slot->proj.c * vlorpi_divide_up(slot->proj.d, ROWS_PER_ITEM);
    vlorpi_for_each(&j->o->config.exec, n_items, left_item, j);
}

/* m <- m with each slice's r numbers multiplied by the bridge (DESIGN section 2, transport). */
static void transport(vlorp_optimizer *o, vlorpi_slot *slot)
{
    const vlorp_projection_used *p = &slot->proj;
    vlorpi_prepare_bridge(o, slot);
    bool right = vlorpi_slot_is_right(slot);
    int64_t n_groups = right ? slot->n * p->c : p->c * slot->m;
    int64_t stride = right ? 1 : p->c * slot->m; /* between the r numbers of a group */
    float *old = o->scratch.kw;                  /* r numbers; kw is remade afterwards */
    for (int64_t group = 0; group < n_groups; group++) {
        float *m = slot->moment + (right ? group * p->r : group);
        for (int64_t q = 0; q < p->r; q++) {
            old[q] = m[q * stride];
        }
        for (int64_t e = 0; e < p->r; e++) {
            float sum = 0;
            for (int64_t q = 0; q < p->r; q++) {
                sum += old[q] * o->scratch.bridge[q * p->r + e];
            }
            m[e * stride] = sum;
        }
    }
}

void vlorpi_projfactor_step(vlorp_optimizer *o, vlorpi_slot *slot, const vlorpi_step *step)
{
    const vlorp_optimizer_config *c = &o->config;
    int64_t since_refresh = (step->t - 1) % c->update_gap;
    bool resets = c->momentum == VLORP_MOMENTUM_RESET && !slot->proj.exact;
    bool refreshed = since_refresh == 0 && step->t > 1 && !slot->proj.exact;
    int64_t t1 = resets ? since_refresh + 1 : step->t;
    double lr = step->lr * slot->lr_factor;
    double eta = lr * sqrt(1 - pow(c->beta2, (double)step->t)) / (1 - pow(c->beta1, (double)t1));
    double s = c->scale / (double)slot->proj.r;
    double g = step->gradient_scale;
    vlorp_rng rng;
    job j = {.o = o,
             .slot = slot,
             .moment_beta = resets && since_refresh == 0 ? 0.0f : (float)c->beta1,
             .moment_gain = (float)((1 - c->beta1) * g),
             .v_beta = (float)c->beta2,
             .v_gain = (float)((1 - c->beta2) * g * g * s * s),
             .update = {.eps = (float)c->eps, .step = (float)(eta * s), .decay = (float)(lr * slot->weight_decay)},
             .rng = vlorpi_rounding_rng(o, slot, step->t, &rng)};
    vlorpi_prepare_projection(o, slot);
    if (refreshed && c->momentum == VLORP_MOMENTUM_TRANSPORT) {
        transport(o, slot);
    }
    vlorpi_prepare_gram(o, slot);
    first_pass(&j);
    second_pass(&j);
}
