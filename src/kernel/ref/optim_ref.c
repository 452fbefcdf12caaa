/* The projector's and the update rules' arithmetic in plain C: what the other levels must equal. */
#include <math.h>
#include <string.h>

#include "kernel/levels.h"
#include "kernel/optim_codes.h"
#include "kernel/optim_elements.h"

static void project_right(float *z, int64_t ldz, bool accumulate, const float *x, int64_t ldx, const float *pt,
                          int64_t ldp, vlorpi_slices s, int64_t T)
{
    for (int64_t t = 0; t < T; t++) {
        for (int64_t k = 0; k < s.c; k++) {
            const float *x_k = x + t * ldx + k * s.d;
            float *z_k = z + t * ldz + k * s.r;
            for (int64_t q = 0; q < s.r; q++) {
                float sum = 0;
                for (int64_t j = 0; j < s.d; j++) {
                    sum += x_k[j] * pt[q * ldp + j];
                }
                z_k[q] = accumulate ? z_k[q] + sum : sum;
            }
        }
    }
}

static void project_left(float *z, int64_t ldz, const float *y, int64_t ldy, const float *p, vlorpi_slices s, int64_t T)
{
    for (int64_t t = 0; t < T; t++) {
        for (int64_t q = 0; q < s.r; q++) {
            for (int64_t b = 0; b < s.c; b++) {
                float sum = 0;
                for (int64_t a = 0; a < s.d; a++) {
                    sum += p[a * s.r + q] * y[t * ldy + a * s.c + b];
                }
                z[t * ldz + q * s.c + b] = sum;
            }
        }
    }
}

static void axpy(float *y, float a, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] += a * x[i];
    }
}

static void sums_right(float *row, float *q, const float *S, const float *kw, vlorpi_slices s, int64_t n)
{
    int64_t M = s.c * s.r;
    for (int64_t i = 0; i < n; i++) {
        const float *S_i = S + i * M;
        float sum = 0;
        for (int64_t lag = 0; lag < s.r; lag++) {
            for (int64_t e = 0; e < M; e++) {
                if (e % s.r + lag < s.r) {
                    float product = S_i[e] * S_i[e + lag];
                    q[lag * M + e] += product;
                    sum += row != NULL ? kw[lag * M + e] * product : 0;
                }
            }
        }
        if (row != NULL) {
            row[i] = sum;
        }
    }
}

static void sums_left(float *col, float *q, const float *S, int64_t ldS, const float *kw, vlorpi_slices s, int64_t m)
{
    int64_t M = s.c * s.r;
    if (col != NULL && m > 0) {
        memset(col, 0, (size_t)m * sizeof *col);
    }
    for (int64_t lag = 0; lag < s.r; lag++) {
        for (int64_t e = 0; e < M; e++) {
            int64_t first = e % s.r;
            int64_t b = e / s.r;
            if (first + lag >= s.r) {
                continue;
            }
            const float *u = S + (first * s.c + b) * ldS;
            const float *v = S + ((first + lag) * s.c + b) * ldS;
            float sum = 0;
            for (int64_t j = 0; j < m; j++) {
                float product = u[j] * v[j];
                sum += product;
                if (col != NULL) {
                    col[j] += kw[lag * M + e] * product;
                }
            }
            q[lag * M + e] += sum;
        }
    }
}

static void quadratic(float *out, int64_t k_stride, int64_t j_stride, const float *p, const float *q, vlorpi_slices s,
                      int64_t j0, int64_t j1)
{
    int64_t M = s.c * s.r;
    for (int64_t k = 0; k < s.c; k++) {
        for (int64_t j = j0; j < j1; j++) {
            float sum = 0;
            for (int64_t lag = 0; lag < s.r; lag++) {
                float weight = lag == 0 ? 1.0f : 2.0f;
                for (int64_t i = 0; i + lag < s.r; i++) {
                    sum += weight * (p[j * s.r + i] * p[j * s.r + i + lag] * q[lag * M + k * s.r + i]);
                }
            }
            out[k * k_stride + j * j_stride] = sum;
        }
    }
}

static void moment(float *m, float *g, float beta, float a, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        m[i] = beta * m[i] + a * g[i];
        g[i] = 0;
    }
}

static void adam_moments(float *m, float *v, const float *g, float beta1, float a1, float beta2, float a2, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        m[i] = beta1 * m[i] + a1 * g[i];
        v[i] = beta2 * v[i] + a2 * (g[i] * g[i]);
    }
}

static void adam_direction(float *y, const float *m, const float *v, float eps, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = m[i] / (sqrtf(v[i]) + eps);
    }
}

static void store_bf16(uint16_t *y, const float *x, int64_t n, vlorpi_rounding rounding, int64_t col0)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = vlorpi_round_bf16(x[i], rounding, col0 + i);
    }
}

static void backproject_right(float *mh, const float *ms, const float *pt, int64_t ldp, vlorpi_slices s)
{
    for (int64_t k = 0; k < s.c; k++) {
        for (int64_t j = 0; j < s.d; j++) {
            float sum = ms[k * s.r] * pt[j];
            for (int64_t q = 1; q < s.r; q++) {
                sum += ms[k * s.r + q] * pt[q * ldp + j];
            }
            mh[k * s.d + j] = sum;
        }
    }
}

static void backproject_left(float *mh, const float *p, const float *ms, int64_t ldq, int64_t r, int64_t n)
{
    for (int64_t j = 0; j < n; j++) {
        float sum = p[0] * ms[j];
        for (int64_t q = 1; q < r; q++) {
            sum += p[q] * ms[q * ldq + j];
        }
        mh[j] = sum;
    }
}

static void update_f32(float *w, const float *mh, const float *b, vlorpi_update u, int64_t n)
{
    for (int64_t j = 0; j < n; j++) {
        w[j] = vlorpi_updated(w[j], mh[j], b[j], u);
    }
}

static void update_bf16(uint16_t *w, const float *mh, const float *b, vlorpi_update u, int64_t n,
                        vlorpi_rounding rounding, int64_t col0)
{
    for (int64_t j = 0; j < n; j++) {
        w[j] = vlorpi_round_bf16(vlorpi_updated(vlorpi_bf16_to_f32(w[j]), mh[j], b[j], u), rounding, col0 + j);
    }
}

static void adamw_f32(float *w, float *m, float *v, float *g, vlorpi_adamw u, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        w[i] = vlorpi_adamw_element(w[i], m + i, v + i, g + i, u);
    }
}

static void adamw_bf16(uint16_t *w, float *m, float *v, float *g, vlorpi_adamw u, int64_t n, vlorpi_rounding rounding,
                       int64_t col0)
{
    for (int64_t i = 0; i < n; i++) {
        float updated = vlorpi_adamw_element(vlorpi_bf16_to_f32(w[i]), m + i, v + i, g + i, u);
        w[i] = vlorpi_round_bf16(updated, rounding, col0 + i);
    }
}

static void root(float *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = sqrtf(x[i]);
    }
}

static double sum(const float *x, int64_t n)
{
    double total = 0;
    for (int64_t i = 0; i < n; i++) {
        total += (double)x[i];
    }
    return total;
}

static double sum_squares(const float *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    return sum;
}

static double add_squares(float *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] += x[i] * x[i];
    }
    return sum_squares(x, n);
}

static double sum_ratio_squares(const float *x, const float *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        double ratio = (double)x[i] / (double)b[i];
        sum += ratio * ratio;
    }
    return sum;
}

const vlorpi_optim_kernels vlorpi_optim_kernels_ref = {
    .project_right = project_right,
    .project_left = project_left,
    .axpy = axpy,
    .sums_right = sums_right,
    .sums_left = sums_left,
    .quadratic = quadratic,
    .moment = moment,
    .adam_moments = adam_moments,
    .adam_direction = adam_direction,
    .store_bf16 = store_bf16,
    .backproject_right = backproject_right,
    .backproject_left = backproject_left,
    .update_f32 = update_f32,
    .update_bf16 = update_bf16,
    .adamw_f32 = adamw_f32,
    .adamw_bf16 = adamw_bf16,
    .adamw8_block = vlorpi_adamw8_block_ref,
    .add_squares = add_squares,
    .sum_ratio_squares = sum_ratio_squares,
    .root = root,
    .sum = sum,
    .sum_squares = sum_squares,
};
