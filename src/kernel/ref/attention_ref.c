#include <math.h>

#include "kernel/ref/model_ref.h"

static double dot(const real *a, const real *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)a[i] * (double)b[i];
    }
    return sum;
}

/* One past the last key that query row i sees. */
static int64_t seen_end(const vlorpi_attention_shape *shape, int64_t i)
{
    return shape->q_offset + i + 1;
}

/* log sum_j exp(scale q.k_j) over the keys that query row i sees, in one pass. */
static double log_sum_exp(const real *q, const real *k, int64_t i, const vlorpi_attention_shape *shape)
{
    double largest = -INFINITY;
    double sum = 0;
    for (int64_t j = vlorpi_attention_first(shape, i); j < seen_end(shape, i); j++) {
        double s = (double)shape->scale * dot(q, k + vlorpi_attention_key_row(shape, j) * shape->ldk, shape->E);
        if (s > largest) {
            sum = sum * exp(largest - s) + 1;
            largest = s;
        } else {
            sum += exp(s - largest);
        }
    }
    return largest + log(sum);
}

void REF(vlorpi_attention_fwd)(real *o, real *lse, const real *q, const real *k, const real *v,
                               const vlorpi_attention_shape *shape, real *scratch)
{
    (void)scratch;
    for (int64_t i = 0; i < shape->n_q; i++) {
        const real *q_e = q + i * shape->ldq;
        real *o_e = o + i * shape->ldo;
        double l = log_sum_exp(q_e, k, i, shape);
        for (int64_t e = 0; e < shape->E; e++) {
            o_e[e] = 0;
        }
        for (int64_t j = vlorpi_attention_first(shape, i); j < seen_end(shape, i); j++) {
            int64_t row = vlorpi_attention_key_row(shape, j);
            double p = exp((double)shape->scale * dot(q_e, k + row * shape->ldk, shape->E) - l);
            for (int64_t e = 0; e < shape->E; e++) {
                o_e[e] = (real)((double)o_e[e] + p * (double)v[row * shape->ldv + e]);
            }
        }
        if (lse != NULL) {
            lse[i] = (real)l;
        }
    }
}

void REF(vlorpi_attention_bwd)(real *dq, real *dk, real *dv, const real *q, const real *k, const real *v,
                               const real *o, const real *d_o, const real *lse, const vlorpi_attention_shape *shape,
                               real *scratch)
{
    (void)scratch;
    int64_t E = shape->E;
    for (int64_t i = 0; i < shape->n_q; i++) {
        const real *q_e = q + i * shape->ldq;
        const real *do_e = d_o + i * shape->ldo;
        real *dq_e = dq + i * shape->ldq;
        double delta = dot(do_e, o + i * shape->ldo, E);
        for (int64_t e = 0; e < E; e++) {
            dq_e[e] = 0;
        }
        for (int64_t j = vlorpi_attention_first(shape, i); j < seen_end(shape, i); j++) {
            const real *k_e = k + j * shape->ldk;
            real *dk_e = dk + j * shape->ldk;
            real *dv_e = dv + j * shape->ldv;
            double p = exp((double)shape->scale * dot(q_e, k_e, E) - (double)lse[i]);
            double ds = p * (dot(do_e, v + j * shape->ldv, E) - delta) * (double)shape->scale;
            for (int64_t e = 0; e < E; e++) {
                dq_e[e] = (real)((double)dq_e[e] + ds * (double)k_e[e]);
                dk_e[e] = (real)((double)dk_e[e] + ds * (double)q_e[e]);
                dv_e[e] = (real)((double)dv_e[e] + p * (double)do_e[e]);
            }
        }
    }
}

/* The reference needs none. */
int64_t REF(vlorpi_attention_scratch_floats)(int64_t E)
{
    (void)E;
    return 0;
}
