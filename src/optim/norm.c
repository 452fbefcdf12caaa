/* The end of accumulation: the sum over ranks, the global norm, and finiteness (docs/method.md section 5).
 *
 * With E = S of one slice row and g its gradient, S = g P, so for normal P
 *     E[ S K^-1 S^T ] = (r / d) ||g||^2,  K = P^T P
 * because g P K^-1 P^T g^T is g projected onto a random r-dimensional subspace of d.  Summed over
 * rows and slices: ||G||^2 ~ (d / r) tr(K^-1 Q), Q = sum of the r x r products of S. */
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "base/threads.h"
#include "optim/handle.h"

/* K = L L^T in place (lower triangle); false when it is not safely positive definite. */
static bool cholesky(double *k, int64_t r)
{
    for (int64_t j = 0; j < r; j++) {
        double pivot = k[j * r + j];
        double diagonal = pivot;
        for (int64_t e = 0; e < j; e++) {
            pivot -= k[j * r + e] * k[j * r + e];
        }
        if (!(pivot > 1e-12 * diagonal)) {
            return false;
        }
        double root = sqrt(pivot);
        k[j * r + j] = root;
        for (int64_t i = j + 1; i < r; i++) {
            double sum = k[i * r + j];
            for (int64_t e = 0; e < j; e++) {
                sum -= k[i * r + e] * k[j * r + e];
            }
            k[i * r + j] = sum / root;
        }
    }
    return true;
}

/* Row i of a becomes L^-1 times it (as a column), its first n elements. */
static void forward(double *row, const double *l, int64_t r, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double sum = row[i];
        for (int64_t e = 0; e < i; e++) {
            sum -= l[i * r + e] * row[e];
        }
        row[i] = sum / l[i * r + i];
    }
}

/* tr(K^-1 Q) = tr(L^-1 Q L^-T), Q symmetric; q is overwritten. */
static double trace_solve(double *q, const double *l, int64_t r)
{
    for (int64_t i = 0; i < r; i++) {
        forward(q + i * r, l, r, r); /* row i of Q is its column i */
    }
    for (int64_t i = 0; i < r; i++) {
        for (int64_t e = i + 1; e < r; e++) {
            double swap = q[i * r + e];
            q[i * r + e] = q[e * r + i];
            q[e * r + i] = swap;
        }
    }
    double trace = 0;
    for (int64_t i = 0; i < r; i++) {
        forward(q + i * r, l, r, i + 1);
        trace += q[i * r + i];
    }
    return trace;
}

/* scratch.gram = sum over slices of the lagged sums, as a symmetric matrix; returns its trace. */
static double gather_gram(const vlorp_optimizer *o, const vlorpi_slot *slot)
{
    const vlorpi_scratch *s = &o->scratch;
    int64_t r = slot->proj.r;
    int64_t M = slot->proj.M;
    double trace = 0;
    for (int64_t lag = 0; lag < r; lag++) {
        for (int64_t q = 0; q + lag < r; q++) {
            double sum = 0;
            for (int64_t k = 0; k < slot->proj.c; k++) {
                sum += (double)s->q[lag * M + k * r + q];
            }
            s->gram[q * r + q + lag] = sum;
            s->gram[(q + lag) * r + q] = sum;
            trace += lag == 0 ? sum : 0;
        }
    }
    return trace;
}

static double projected_norm(vlorp_optimizer *o, const vlorpi_slot *slot)
{
    int64_t r = slot->proj.r;
    vlorpi_open_sums(o, slot);
    vlorpi_prepare_projection(o, slot);
    vlorpi_prepare_gram(o, slot);
    vlorpi_projected_sums(o, slot, false, NULL, NULL);
    double trace = gather_gram(o, slot);
    if (vlorpi_slot_is_svd(slot)) {
        return trace;
    }
    if (!isfinite(trace) || slot->distribution == VLORP_RADEMACHER || slot->proj.exact ||
        !cholesky(o->scratch.k, r)) {
        return trace / (double)r;
    }
    return (double)slot->proj.d / (double)r * trace_solve(o->scratch.gram, o->scratch.k, r);
}

typedef struct squares {
    const vlorp_optimizer *o;
    const vlorpi_slot *lender; /* NULL: x holds them */
    const float *x;
    int64_t n;
} squares;

static void squares_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const squares *q = arg;
    int64_t begin = item * VLORPI_SQUARES_PER_PART;
    int64_t end = vlorpi_min(q->n, begin + VLORPI_SQUARES_PER_PART);
    double sum = 0;
    if (q->lender == NULL) {
        sum = q->o->kernels->sum_squares(q->x + begin, end - begin);
    }
    for (int64_t at = begin; q->lender != NULL && at < end; at += VLORPI_LENT_PIECE) {
        float piece[VLORPI_LENT_PIECE];
        int64_t n = vlorpi_min(VLORPI_LENT_PIECE, end - at);
        vlorpi_read_lent(piece, q->lender, at, n);
        sum += q->o->kernels->sum_squares(piece, n);
    }
    q->o->scratch.partial[item] = sum;
}

static double add_up(squares *q)
{
    const vlorp_optimizer *o = q->o;
    int64_t n_parts = vlorpi_divide_up(q->n, VLORPI_SQUARES_PER_PART);
    vlorpi_for_each(&o->config.exec, n_parts, squares_item, q);
    double sum = 0;
    for (int64_t i = 0; i < n_parts; i++) {
        sum += o->scratch.partial[i];
    }
    return sum;
}

double vlorpi_sum_squares(const vlorp_optimizer *o, const float *x, int64_t n)
{
    squares q = {.o = o, .x = x, .n = n};
    return add_up(&q);
}

double vlorpi_exact_squares(const vlorp_optimizer *o, const vlorpi_slot *slot)
{
    squares q = {.o = o, .lender = slot->is_lent ? slot : NULL, .x = slot->grad, .n = slot->n * slot->m};
    return add_up(&q);
}

/* Sums over ranks once, then takes the norm of the sums. */
static vlorp_status reduce(vlorp_optimizer *o, vlorp_err *err)
{
    if (o->config.all_reduce != NULL) {
        for (vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
            if (slot->is_lent || vlorpi_slot_is_absent(slot)) {
                continue;
            }
            vlorpi_open_sums(o, slot);
            VLORP_TRY(o->config.all_reduce(o->config.all_reduce_ctx, slot->grad, vlorpi_slot_gradient_elements(slot),
                                           err));
            vlorpi_close_sums(o, slot);
        }
    }
    o->norm_sum = o->taken_squares;
    o->bad_slot = -1;
    for (vlorpi_slot *slot = o->first; slot != NULL; slot = slot->next) {
        if (vlorpi_slot_is_absent(slot)) {
            continue;
        }
        double squared = vlorpi_slot_keeps_sums(slot) ? projected_norm(o, slot) : vlorpi_exact_squares(o, slot);
        if (!isfinite(squared) && o->bad_slot < 0) {
            o->bad_slot = slot->id;
        }
        slot->squared = squared;
        o->norm_sum += squared;
    }
    o->reduced = true;
    return VLORP_OK;
}

vlorp_status vlorp_optimizer_norm(vlorp_optimizer *o, double grad_scale, double *norm, vlorp_err *err)
{
    if (!o->committed) {
        VLORP_FAIL(err, VLORP_E_STATE, "the optimizer is not committed yet");
    }
    if (o->n_probes > 0) {
        VLORP_FAIL(err, VLORP_E_STATE, "%d probes were begun and not ended", o->n_probes);
    }
    if (!(grad_scale >= 0) || !isfinite(grad_scale)) {
        VLORP_FAIL(err, VLORP_E_ARG, "grad_scale %g: it must be finite and not negative", grad_scale);
    }
    if (!o->reduced) {
        VLORP_TRY(reduce(o, err));
    }
    if (o->bad_slot >= 0) {
        VLORP_FAIL(err, VLORP_E_NUMERIC, "%s: its gradient has a value that is not finite, or too large to square",
                   o->slots[o->bad_slot]->name);
    }
    *norm = sqrt(o->norm_sum > 0 ? o->norm_sum : 0) * grad_scale;
    return VLORP_OK;
}
