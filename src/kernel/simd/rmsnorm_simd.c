#include "kernel/simd/model_simd.h"

enum { PANEL = 8 }; /* vectors of columns that bwd_w sums at once */

static float sum_of_squares(const float *x, int64_t n)
{
    vf sum[4] = {vf_zero(), vf_zero(), vf_zero(), vf_zero()};
    int64_t i = 0;
    for (; i + 4 * VF_N <= n; i += 4 * VF_N) {
        for (int v = 0; v < 4; v++) {
            vf x_v = vf_load(x + i + v * VF_N);
            sum[v] = vf_fma(x_v, x_v, sum[v]);
        }
    }
    for (; i < n; i += VF_N) {
        vf x_v = n - i >= VF_N ? vf_load(x + i) : vf_load_n(x + i, n - i);
        sum[0] = vf_fma(x_v, x_v, sum[0]);
    }
    return vf_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

void NAME(vlorpi_rmsnorm_fwd)(float *y, float *rstd, const float *x, const float *w, int64_t N, int64_t D, float eps)
{
    for (int64_t t = 0; t < N; t++) {
        const float *x_d = x + t * D;
        float *y_d = y + t * D;
        float r = 1.0f / sqrtf(sum_of_squares(x_d, D) / (float)D + eps);
        vf r_v = vf_set(r);
        int64_t d = 0;
        for (; d + VF_N <= D; d += VF_N) {
            vf_store(y_d + d, vf_load(x_d + d) * r_v * vf_load(w + d));
        }
        for (; d < D; d++) {
            y_d[d] = x_d[d] * r * w[d];
        }
        if (rstd != NULL) {
            rstd[t] = r;
        }
    }
}

/* sum_d a[d] b[d] c[d] */
static float triple_dot(const float *a, const float *b, const float *c, int64_t n)
{
    vf sum[4] = {vf_zero(), vf_zero(), vf_zero(), vf_zero()};
    int64_t i = 0;
    for (; i + 4 * VF_N <= n; i += 4 * VF_N) {
        for (int v = 0; v < 4; v++) {
            int64_t at = i + v * VF_N;
            sum[v] = vf_fma(vf_load(a + at) * vf_load(b + at), vf_load(c + at), sum[v]);
        }
    }
    for (; i + VF_N <= n; i += VF_N) {
        sum[0] = vf_fma(vf_load(a + i) * vf_load(b + i), vf_load(c + i), sum[0]);
    }
    if (i < n) {
        sum[1] = vf_fma(vf_load_n(a + i, n - i) * vf_load_n(b + i, n - i), vf_load_n(c + i, n - i), sum[1]);
    }
    return vf_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

void NAME(vlorpi_rmsnorm_bwd_x)(float *dx, const float *dy, const float *x, const float *w, const float *rstd,
                                int64_t N, int64_t D)
{
    for (int64_t t = 0; t < N; t++) {
        const float *x_d = x + t * D;
        const float *dy_d = dy + t * D;
        float *dx_d = dx + t * D;
        float r = rstd[t];
        float mean = triple_dot(dy_d, w, x_d, D) * r * r / (float)D;
        int64_t d = 0;
        for (; d + VF_N <= D; d += VF_N) {
            vf inner = vf_fma(vf_load(w + d), vf_load(dy_d + d), -(vf_load(x_d + d) * vf_set(mean)));
            vf_store(dx_d + d, vf_fma(inner, vf_set(r), vf_load(dx_d + d)));
        }
        for (; d < D; d++) {
            dx_d[d] += (w[d] * dy_d[d] - x_d[d] * mean) * r;
        }
    }
}

/* n_vec vectors of columns; n_vec is a constant at every call, so that the sums live in registers. */
static inline __attribute__((always_inline)) void sum_columns(const int n_vec, float *dw, const float *dy,
                                                              const float *x, const float *rstd, int64_t N, int64_t D)
{
    vf sum[PANEL];
    for (int v = 0; v < n_vec; v++) {
        sum[v] = vf_load(dw + v * VF_N);
    }
    for (int64_t t = 0; t < N; t++) {
        vf r = vf_set(rstd[t]);
        for (int v = 0; v < n_vec; v++) {
            int64_t at = t * D + v * VF_N;
            sum[v] = vf_fma(vf_load(dy + at) * r, vf_load(x + at), sum[v]);
        }
    }
    for (int v = 0; v < n_vec; v++) {
        vf_store(dw + v * VF_N, sum[v]);
    }
}

void NAME(vlorpi_rmsnorm_bwd_w)(float *dw, const float *dy, const float *x, const float *rstd, int64_t N, int64_t D,
                                int64_t d_begin, int64_t d_end)
{
    int64_t d = d_begin;
    for (; d + PANEL * VF_N <= d_end; d += PANEL * VF_N) {
        sum_columns(PANEL, dw + d, dy + d, x + d, rstd, N, D);
    }
    for (; d + VF_N <= d_end; d += VF_N) {
        sum_columns(1, dw + d, dy + d, x + d, rstd, N, D);
    }
    /* one element computes as a lane above does, so that the split of columns changes no bit */
    for (; d < d_end; d++) {
        float sum = dw[d];
        for (int64_t t = 0; t < N; t++) {
            sum = fmaf(dy[t * D + d] * rstd[t], x[t * D + d], sum);
        }
        dw[d] = sum;
    }
}
