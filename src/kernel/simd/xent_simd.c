/* A row of logits fits in the second cache for any vocabulary in use, so the passes after the first
 * read it there: one for the maximum, one for exponentials and their sum, one to divide. */
#include "kernel/simd/model_simd.h"

enum { UNROLL = 4 }; /* independent partial results, to hide latency */

/* NaN may be passed over: the exponentials find it. */
static float row_max(const float *x, int64_t n)
{
    vf m[UNROLL];
    for (int u = 0; u < UNROLL; u++) {
        m[u] = vf_set(-INFINITY);
    }
    int64_t i = 0;
    for (; i + UNROLL * VF_N <= n; i += UNROLL * VF_N) {
        for (int u = 0; u < UNROLL; u++) {
            m[u] = vf_max(vf_load(x + i + u * VF_N), m[u]);
        }
    }
    for (; i + VF_N <= n; i += VF_N) {
        m[0] = vf_max(vf_load(x + i), m[0]);
    }
    float best = vf_hmax(vf_max(vf_max(m[0], m[1]), vf_max(m[2], m[3])));
    for (; i < n; i++) {
        best = x[i] > best ? x[i] : best;
    }
    return best;
}

/* sum exp(x - m); keep: x becomes exp(x - m).  write is x where keep, else not used. */
static inline __attribute__((always_inline)) float exp_sum(const bool keep, float *write, const float *x, float m,
                                                           int64_t n)
{
    vf sum[UNROLL] = {vf_zero(), vf_zero(), vf_zero(), vf_zero()};
    vf m_v = vf_set(m);
    int64_t i = 0;
    for (; i + UNROLL * VF_N <= n; i += UNROLL * VF_N) {
        for (int u = 0; u < UNROLL; u++) {
            vf e = vf_exp(vf_load(x + i + u * VF_N) - m_v);
            if (keep) {
                vf_store(write + i + u * VF_N, e);
            }
            sum[u] += e;
        }
    }
    for (; i + VF_N <= n; i += VF_N) {
        vf e = vf_exp(vf_load(x + i) - m_v);
        if (keep) {
            vf_store(write + i, e);
        }
        sum[0] += e;
    }
    float total = vf_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
    if (i < n) {
        float lane[VF_N];
        vf_store(lane, vf_exp(vf_load_n(x + i, n - i) - m_v));
        for (int64_t l = 0; l < n - i; l++) {
            total += lane[l];
            if (keep) {
                write[i + l] = lane[l];
            }
        }
    }
    return total;
}

void NAME(vlorpi_xent_fwd)(float *loss, const float *logits, const int32_t *target, int64_t N, int64_t V)
{
    for (int64_t t = 0; t < N; t++) {
        const float *x = logits + t * V;
        float m = row_max(x, V);
        float sum = exp_sum(false, NULL, x, m, V);
        loss[t] = logf(sum) + (m - x[target[t]]);
    }
}

void NAME(vlorpi_xent_fwd_bwd)(float *loss, float *logits, const int32_t *target, int64_t N, int64_t V)
{
    for (int64_t t = 0; t < N; t++) {
        float *x = logits + t * V;
        float m = row_max(x, V);
        float x_target = x[target[t]];
        float sum = exp_sum(true, x, x, m, V);
        loss[t] = logf(sum) + (m - x_target);
        float inverse = 1.0f / sum;
        int64_t i = 0;
        for (; i + VF_N <= V; i += VF_N) {
            vf_store(x + i, vf_load(x + i) * vf_set(inverse));
        }
        for (; i < V; i++) {
            x[i] *= inverse;
        }
        x[target[t]] -= 1.0f;
    }
}
