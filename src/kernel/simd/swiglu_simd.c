#include "kernel/simd/model_simd.h"

/* s(z) = 1 / (1 + exp(-z)) and s(-z) = 1 - s(z), each to full precision: exp of -|z| only. */
static inline vf logistic(vf *of_minus_z, vf z)
{
    vi negative = z < vf_zero();
    vf e = vf_exp(vf_select(negative, z, -z));
    vf larger = vf_set(1.0f) / (vf_set(1.0f) + e);
    vf smaller = e * larger;
    *of_minus_z = vf_select(negative, larger, smaller);
    return vf_select(negative, smaller, larger);
}

static inline vf forward(vf gate, vf up)
{
    vf unused;
    return gate * logistic(&unused, gate) * up;
}

void NAME(vlorpi_swiglu_fwd)(float *y, const float *gate, const float *up, int64_t n)
{
    int64_t i = 0;
    for (; i + VF_N <= n; i += VF_N) {
        vf_store(y + i, forward(vf_load(gate + i), vf_load(up + i)));
    }
    if (i < n) {
        vf_store_n(y + i, forward(vf_load_n(gate + i, n - i), vf_load_n(up + i, n - i)), n - i);
    }
}

/* silu'(z) = s(z) (1 + z s(-z)); returns dgate. */
static inline vf backward(vf *dup, vf dy, vf z, vf up)
{
    vf s_minus;
    vf s = logistic(&s_minus, z);
    *dup = dy * (z * s);
    return dy * up * (s * vf_fma(z, s_minus, vf_set(1.0f)));
}

void NAME(vlorpi_swiglu_bwd)(float *dgate, float *dup, const float *dy, const float *gate, const float *up, int64_t n)
{
    int64_t i = 0;
    vf dup_v;
    for (; i + VF_N <= n; i += VF_N) {
        vf dgate_v = backward(&dup_v, vf_load(dy + i), vf_load(gate + i), vf_load(up + i));
        vf_store(dgate + i, dgate_v);
        vf_store(dup + i, dup_v);
    }
    if (i < n) {
        int64_t rest = n - i;
        vf dgate_v =
            backward(&dup_v, vf_load_n(dy + i, rest), vf_load_n(gate + i, rest), vf_load_n(up + i, rest));
        vf_store_n(dgate + i, dgate_v, rest);
        vf_store_n(dup + i, dup_v, rest);
    }
}
