/* The rule flora (arXiv 2402.03293, algorithms 1 and 2): gradients are summed under a P of their own in every step,
 * read back, divided by the root of factored second moments, and then enter a momentum that is kept under a P' which
 * changes every update_gap steps.  vlorp_rule in optimizer.h has the formulas.
 *
 * scratch.whole holds u and then z, as long as the whole update decides how it is scaled.  m is kept for P' with
 * entries N(0,1), so that its back-projection has the factor s = 1/r and what enters it has none. */
#include <math.h>

#include "base/threads.h"
#include "kernel/half.h"
#include "optim/handle.h"

static const double DECAY_RATE = -0.8;
static const double LEAST_SQUARE = 1e-30;
static const double LEAST_RMS = 1e-3; /* of a weight */
static const double LARGEST_RMS = 1;  /* of an update */

typedef struct job {
    vlorp_optimizer *o;
    vlorpi_slot *slot;
    int64_t width;       /* of a row as stored */
    float gain;          /* from S's back-projection to the mean gradient */
    float own, back;     /* z = own u + back (m's back-projection) */
    const float *by_row; /* R or C, whichever the stored rows have; scratch.root: 1 / sqrt of the other */
    double mean;         /* of either: they have the same */
    vlorpi_update update;
    const vlorp_rng *rng;
} job;

/* sums <- beta sums + fresh (mean square + 1e-30), with squares holding the unscaled sums of n_terms squares. */
static void take_sums(const vlorp_optimizer *o, float *sums, float *squares, int64_t n, int64_t n_terms, double beta,
                      double gain)
{
    float least = (float)((1 - beta) * LEAST_SQUARE);
    o->kernels->moment(sums, squares, (float)beta, (float)((1 - beta) * gain * gain / (double)n_terms), n);
    for (int64_t i = 0; i < n; i++) {
        sums[i] += least;
    }
}

/* R and C of the step's mean gradient. */
static void second_moments(vlorp_optimizer *o, vlorpi_slot *slot, double beta, double gain)
{
    bool right = vlorpi_slot_is_right(slot);
    vlorpi_square_sums(o, slot, NULL, NULL);
    take_sums(o, slot->row_sums, right ? o->scratch.u_sums : o->scratch.s_sums, slot->n, slot->m, beta, gain);
    take_sums(o, slot->col_sums, right ? o->scratch.s_sums : o->scratch.u_sums, slot->m, slot->n, beta, gain);
}

/* u, one piece of a stored row: the mean gradient over the root of V. */
static void normalised_row(void *arg, int64_t row, int64_t col0, int64_t n, const float *back, float *spare)
{
    (void)spare;
    const job *j = arg;
    float *u = j->o->scratch.whole + row * j->width + col0;
    float of_row = (float)((double)j->gain / sqrt((double)j->by_row[row] / j->mean));
    for (int64_t i = 0; i < n; i++) {
        u[i] = back[i] * of_row * j->o->scratch.root[col0 + i];
    }
}

/* scratch.whole = u. */
static void normalise(job *j)
{
    vlorp_optimizer *o = j->o;
    const vlorpi_slot *slot = j->slot;
    const float *by_column = slot->transposed ? slot->row_sums : slot->col_sums;
    j->by_row = slot->transposed ? slot->col_sums : slot->row_sums;
    j->mean = o->kernels->sum(slot->row_sums, slot->n) / (double)slot->n;
    for (int64_t i = 0; i < j->width; i++) {
        o->scratch.root[i] = (float)(1 / sqrt((double)by_column[i]));
    }
    vlorpi_backproject(o, slot, slot->grad, normalised_row, j);
}

static void blend_row(void *arg, int64_t row, int64_t col0, int64_t n, const float *back, float *spare)
{
    (void)spare;
    const job *j = arg;
    float *z = j->o->scratch.whole + row * j->width + col0;
    for (int64_t i = 0; i < n; i++) {
        z[i] = j->own * z[i] + j->back * back[i];
    }
}

typedef struct averaging {
    const job *j;
    float beta;
} averaging;

static void average_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const averaging *a = arg;
    const vlorpi_slot *slot = a->j->slot;
    int64_t at = item * VLORPI_ELEMENTS_PER_ITEM;
    int64_t n = vlorpi_min(VLORPI_ELEMENTS_PER_ITEM, vlorpi_slot_gradient_elements(slot) - at);
    a->j->o->kernels->moment(slot->moment + at, slot->grad + at, a->beta, 1 - a->beta, n);
}

/* z from u and m, and m from u; P' of step t (from 1) has the number t / update_gap. */
static void enter_momentum(job *j, int64_t t)
{
    vlorp_optimizer *o = j->o;
    vlorpi_slot *slot = j->slot;
    float beta = (float)o->config.beta1;
    int64_t n_sums = vlorpi_slot_gradient_elements(slot);
    int64_t number = t / o->config.update_gap;
    int64_t last = (t - 1) / o->config.update_gap;
    vlorpi_prepare_projection_of(o, slot, VLORP_STREAM_MOMENTUM, number);
    vlorpi_clear(o, slot->grad, (size_t)n_sums * sizeof(float));
    vlorpi_project(o, slot, slot->grad, o->scratch.whole, j->width);
    vlorpi_prepare_projection_of(o, slot, VLORP_STREAM_MOMENTUM, last);
    j->own = 1 - beta;
    j->back = beta * (float)vlorpi_slot_s(slot);
    vlorpi_backproject(o, slot, slot->moment, blend_row, j);
    if (number != last && !slot->proj.exact) {
        vlorpi_projection_make(o, slot, VLORP_STREAM_MOMENTUM, o->scratch.p_old, last, 0, slot->proj.d);
        vlorpi_prepare_projection_of(o, slot, VLORP_STREAM_MOMENTUM, number);
        vlorpi_bridge_rows(o, slot, o->scratch.p_old, o->scratch.p, slot->proj.d, false);
        for (int64_t e = 0; e < slot->proj.r * slot->proj.r; e++) {
            o->scratch.bridge[e] *= (float)vlorpi_slot_s(slot);
        }
        vlorpi_momentum_transport(o, slot);
    }
    averaging a = {j, beta};
    vlorpi_for_each(&o->config.exec, vlorpi_divide_up(n_sums, VLORPI_ELEMENTS_PER_ITEM), average_item, &a);
}

static void update_item(void *arg, int64_t row, int thread)
{
    (void)thread;
    const job *j = arg;
    const float *z = j->o->scratch.whole + row * j->width;
    vlorpi_update_row(j->o, j->slot, j->rng, row, 0, j->width, z, z, j->update);
}

/* The chunk's part of the sum of squares of W. */
static void weight_item(void *arg, int64_t chunk, int thread)
{
    (void)thread;
    const job *j = arg;
    const vlorpi_slot *slot = j->slot;
    int64_t n_rows = vlorpi_slot_n_stored_rows(slot);
    int64_t begin = chunk * n_rows / VLORPI_WEIGHT_CHUNKS;
    int64_t end = (chunk + 1) * n_rows / VLORPI_WEIGHT_CHUNKS;
    double sum = 0;
    for (int64_t at = begin * slot->ld; at < end * slot->ld; at += slot->ld) {
        if (slot->dtype == VLORP_F32) {
            sum += j->o->kernels->sum_squares((const float *)slot->weight + at, j->width);
            continue;
        }
        const uint16_t *w = (const uint16_t *)slot->weight + at;
        for (int64_t i = 0; i < j->width; i++) {
            double x = (double)vlorpi_bf16_to_f32(w[i]);
            sum += x * x;
        }
    }
    j->o->scratch.partial[chunk] = sum;
}

static double weight_rms(const job *j)
{
    double sum = 0;
    vlorpi_for_each(&j->o->config.exec, VLORPI_WEIGHT_CHUNKS, weight_item, (void *)(uintptr_t)j);
    for (int chunk = 0; chunk < VLORPI_WEIGHT_CHUNKS; chunk++) {
        sum += j->o->scratch.partial[chunk];
    }
    return sqrt(sum / ((double)j->slot->n * (double)j->slot->m));
}

static void update(job *j, const vlorpi_step *step)
{
    const vlorpi_slot *slot = j->slot;
    double n = (double)slot->n * (double)slot->m;
    double rms = sqrt(vlorpi_sum_squares(j->o, j->o->scratch.whole, slot->n * slot->m) / n);
    double lr = step->lr * slot->lr_factor * fmax(LEAST_RMS, weight_rms(j));
    j->update = (vlorpi_update){.a = 0, /* a = 0 and eps = 1 leave the denominator out */
                                .eps = 1,
                                .step = (float)(lr / fmax(1, rms / LARGEST_RMS)),
                                .shrink = (float)(lr * slot->weight_decay)};
    vlorpi_for_each(&j->o->config.exec, vlorpi_slot_n_stored_rows(slot), update_item, j);
}

void vlorpi_flora_step(vlorp_optimizer *o, vlorpi_slot *slot, const vlorpi_step *step)
{
    double beta = 1 - pow((double)step->t, DECAY_RATE);
    double gain = step->gradient_scale * vlorpi_slot_s(slot);
    vlorp_rng rng;
    job j = {.o = o,
             .slot = slot,
             .width = vlorpi_slot_stored_width(slot),
             .gain = (float)gain,
             .rng = vlorpi_rounding_rng(o, slot, step->t, &rng)};
    vlorpi_open_sums(o, slot);
    vlorpi_open_moment(o, slot);
    vlorpi_prepare_projection(o, slot);
    second_moments(o, slot, beta, gain);
    normalise(&j);
    enter_momentum(&j, step->t);
    update(&j, step);
    vlorpi_close_moment(o, slot, step->t);
}
