/* The rules fira (arXiv 2410.01390, equations 4 to 8) and apollo (arXiv 2412.05270, algorithm 1): the whole
 * gradient g is summed, Adam runs on its projection R, and what Adam does to R's norms is done to g.
 *
 *   R = g P p,  p = 1 (svd) or 1/sqrt(r);   m, v: Adam's on R;   N = m / (sqrt(v) + eps)
 *   f_j = |N|_j / (|R|_j + 1e-8)             one number per entry j of u_dim, or one for the matrix
 *   U = f (g - alpha R P^T p)  (fira)   or   f g  (apollo), in place of g
 *   limited: U is shrunk to 1.01 times the norm of the last one
 *   W <- W - eta_t (alpha N P^T p + U)  (fira)   or   W - eta_t sqrt(alpha) U  (apollo);  then decay
 *
 * The sum of gradients stays unscaled in memory: `scale` below turns it into g. */
#include <math.h>

#include "base/threads.h"
#include "optim/handle.h"

enum { CHANNELS_PER_ITEM = 128 };
static const double LARGEST_GROWTH = 1.01;
static const double LEAST_NORM = 1e-8;

typedef struct job {
    vlorp_optimizer *o;
    vlorpi_slot *slot;
    int64_t n_sums;    /* elements of R */
    float *R, *N;
    double scale;      /* of the sums: mean and clipping */
    double p;          /* of P's entries */
    float beta1, gain1, beta2, gain2, eps;
    float back, own;   /* fira: of the back-projection and of g or U */
    vlorpi_update update;
    const vlorp_rng *rng;
} job;

static job make_job(vlorp_optimizer *o, vlorpi_slot *slot, const vlorpi_step *step, vlorp_rng *rng)
{
    const vlorp_optimizer_config *c = &o->config;
    double p = sqrt(vlorpi_slot_s(slot));
    double gain = step->gradient_scale * p; /* of R as it is in memory */
    double lr = step->lr * slot->lr_factor;
    double eta = lr * sqrt(1 - pow(c->beta2, (double)step->t)) / (1 - pow(c->beta1, (double)step->t));
    return (job){.o = o,
                 .slot = slot,
                 .n_sums = vlorpi_slot_elements(slot, VLORPI_SHAPE_SUMS),
                 .R = o->scratch.wide_grad,
                 .N = o->scratch.direction,
                 .scale = step->gradient_scale,
                 .p = p,
                 .beta1 = (float)c->beta1,
                 .gain1 = (float)((1 - c->beta1) * gain),
                 .beta2 = (float)c->beta2,
                 .gain2 = (float)((1 - c->beta2) * gain * gain),
                 .eps = (float)c->eps,
                 /* a = 0 and eps = 1 leave the denominator out */
                 .update = {.a = 0, .eps = 1, .step = (float)eta, .decay = (float)(lr * slot->weight_decay)},
                 .rng = vlorpi_rounding_rng(o, slot, step->t, rng)};
}

static void adam_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const job *j = arg;
    int64_t at = item * VLORPI_ELEMENTS_PER_ITEM;
    int64_t n = vlorpi_min(VLORPI_ELEMENTS_PER_ITEM, j->n_sums - at);
    float *m = j->slot->moment + at;
    float *v = j->slot->moment2 + at;
    j->o->kernels->adam_moments(m, v, j->R + at, j->beta1, j->gain1, j->beta2, j->gain2, n);
    j->o->kernels->adam_direction(j->N + at, m, v, j->eps, n);
}

static void project(const job *j)
{
    vlorp_optimizer *o = j->o;
    vlorpi_clear(o, j->R, (size_t)j->n_sums * sizeof(float));
    vlorpi_prepare_projection(o, j->slot);
    vlorpi_project(o, j->slot, j->R, j->slot->grad, vlorpi_slot_stored_width(j->slot));
}

static void adam(const job *j, int64_t t)
{
    vlorp_optimizer *o = j->o;
    vlorpi_open_moment(o, j->slot);
    int64_t n_items = vlorpi_divide_up(j->n_sums, VLORPI_ELEMENTS_PER_ITEM);
    vlorpi_for_each(&o->config.exec, n_items, adam_item, (void *)(uintptr_t)j);
    vlorpi_close_moment(o, j->slot, t);
}

/* f of two sums of squares, of N and of R as they are in memory. */
static float factor(const job *j, double n_squares, double r_squares)
{
    return (float)(sqrt(n_squares) / (j->scale * j->p * sqrt(r_squares) + LEAST_NORM));
}

/* Sums of squares of s_like for channels [begin, begin + n): of rows (right), or of columns. */
static void channel_squares(double *squares, const vlorpi_slot *slot, const float *s_like, int64_t begin, int64_t n)
{
    int64_t M = slot->proj.M;
    bool right = vlorpi_slot_is_right(slot);
    for (int64_t i = 0; i < n; i++) {
        squares[i] = 0;
    }
    for (int64_t e = 0; e < M; e++) {
        const float *x = right ? s_like + begin * M + e : s_like + e * slot->proj.u_dim + begin;
        int64_t stride = right ? M : 1;
        for (int64_t i = 0; i < n; i++) {
            squares[i] += (double)x[i * stride] * (double)x[i * stride];
        }
    }
}

static void channel_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const job *j = arg;
    double of_n[CHANNELS_PER_ITEM];
    double of_r[CHANNELS_PER_ITEM];
    int64_t begin = item * CHANNELS_PER_ITEM;
    int64_t n = vlorpi_min(CHANNELS_PER_ITEM, j->slot->proj.u_dim - begin);
    channel_squares(of_n, j->slot, j->N, begin, n);
    channel_squares(of_r, j->slot, j->R, begin, n);
    for (int64_t i = 0; i < n; i++) {
        j->o->scratch.u_sums[begin + i] = factor(j, of_n[i], of_r[i]);
    }
}

/* scratch.u_sums = f. */
static void channel_factors(job *j)
{
    vlorpi_for_each(&j->o->config.exec, vlorpi_divide_up(j->slot->proj.u_dim, CHANNELS_PER_ITEM), channel_item, j);
}

static void tensor_factor(job *j)
{
    float f = factor(j, vlorpi_sum_squares(j->o, j->N, j->n_sums), vlorpi_sum_squares(j->o, j->R, j->n_sums));
    for (int64_t i = 0; i < j->slot->proj.u_dim; i++) {
        j->o->scratch.u_sums[i] = f;
    }
}

/* g [n], columns from col0 on of a row as stored: multiplied by their f. */
static void scale_piece(const job *j, float *g, int64_t row, int64_t col0, int64_t n)
{
    const float *f = j->o->scratch.u_sums;
    bool by_row = vlorpi_slot_is_right(j->slot) != j->slot->transposed;
    for (int64_t i = 0; i < n; i++) {
        g[i] *= by_row ? f[row] : f[col0 + i];
    }
}

/* Takes the limiter's note of U, and returns what U is multiplied by. */
static double limit(const job *j)
{
    const vlorpi_slot *slot = j->slot;
    double norm = j->scale * sqrt(vlorpi_sum_squares(j->o, slot->grad, slot->n * slot->m));
    double last = (double)*slot->update_norm;
    double shrink = last > 0 ? fmax(norm / (last + LEAST_NORM), LARGEST_GROWTH) / LARGEST_GROWTH : 1;
    *slot->update_norm = (float)(norm / shrink);
    return 1 / shrink;
}

static void forget_gradient(const job *j)
{
    const vlorpi_slot *slot = j->slot;
    vlorpi_clear(j->o, slot->grad, (size_t)vlorpi_slot_gradient_elements(slot) * sizeof(float));
}

static void scale_row_item(void *arg, int64_t row, int thread)
{
    (void)thread;
    const job *j = arg;
    int64_t width = vlorpi_slot_stored_width(j->slot);
    scale_piece(j, j->slot->grad + row * width, row, 0, width);
}

static void apollo_row_item(void *arg, int64_t row, int thread)
{
    (void)thread;
    const job *j = arg;
    int64_t width = vlorpi_slot_stored_width(j->slot);
    const float *u = j->slot->grad + row * width;
    vlorpi_update_row(j->o, j->slot, j->rng, row, 0, width, u, u, j->update);
}

static void apollo(vlorp_optimizer *o, vlorpi_slot *slot, const vlorpi_step *step, void (*factors)(job *))
{
    vlorp_rng rng;
    job j = make_job(o, slot, step, &rng);
    int64_t n_rows = vlorpi_slot_n_stored_rows(slot);
    project(&j);
    adam(&j, step->t);
    factors(&j);
    vlorpi_for_each(&o->config.exec, n_rows, scale_row_item, &j);
    j.update.step *= (float)(j.scale * sqrt(o->config.scale) * limit(&j));
    vlorpi_for_each(&o->config.exec, n_rows, apollo_row_item, &j);
    forget_gradient(&j);
}

void vlorpi_apollo_step(vlorp_optimizer *o, vlorpi_slot *slot, const vlorpi_step *step)
{
    apollo(o, slot, step, channel_factors);
}

void vlorpi_apollo_mini_step(vlorp_optimizer *o, vlorpi_slot *slot, const vlorpi_step *step)
{
    apollo(o, slot, step, tensor_factor);
}

/* g becomes f (g - alpha R P^T p). */
static void residual_row(void *arg, int64_t row, int64_t col0, int64_t n, const float *r_back, float *spare)
{
    (void)spare;
    const job *j = arg;
    float *g = j->slot->grad + row * vlorpi_slot_stored_width(j->slot) + col0;
    j->o->kernels->axpy(g, -j->back, r_back, n);
    scale_piece(j, g, row, col0, n);
}

static void fira_row(void *arg, int64_t row, int64_t col0, int64_t n, const float *n_back, float *spare)
{
    const job *j = arg;
    const float *u = j->slot->grad + row * vlorpi_slot_stored_width(j->slot) + col0;
    for (int64_t i = 0; i < n; i++) {
        spare[i] = j->back * n_back[i] + j->own * u[i];
    }
    vlorpi_update_row(j->o, j->slot, j->rng, row, col0, n, spare, spare, j->update);
}

void vlorpi_fira_step(vlorp_optimizer *o, vlorpi_slot *slot, const vlorpi_step *step)
{
    vlorp_rng rng;
    job j = make_job(o, slot, step, &rng);
    project(&j);
    adam(&j, step->t);
    channel_factors(&j);
    j.back = (float)(o->config.scale * j.p * j.p);
    vlorpi_backproject(o, slot, j.R, residual_row, &j);
    j.own = (float)(j.scale * limit(&j));
    j.back = (float)(o->config.scale * j.p);
    vlorpi_backproject(o, slot, j.N, fira_row, &j);
    forget_gradient(&j);
}
