/* Projection, back-projection and second-moment sums with vectors; formulas in optim_kernels.h. */
#include "kernel/simd/optim_project.h"

/* Dot product of x and a padded row of pt; full reads whole vectors of x beyond d (times zero). */
static inline float dot_slice(const float *x, const float *pt, int64_t d, bool full)
{
    vf sum = vf_zero();
    int64_t j = 0;
    for (; j + VF_N <= d; j += VF_N) {
        sum = vf_fma(vf_load(x + j), vf_load(pt + j), sum);
    }
    if (j < d) {
        vf rest = full ? vf_load(x + j) : vf_load_n(x + j, d - j);
        sum = vf_fma(rest, vf_load(pt + j), sum);
    }
    return vf_sum(sum);
}

void NAME(vlorpi_project_right)(float *z, int64_t ldz, bool accumulate, const float *x, int64_t ldx, const float *pt,
                                int64_t ldp, vlorpi_slices s, int64_t T)
{
    int64_t s_dim = s.c * s.d;
    for (int64_t t = 0; t < T; t++) {
        const float *x_t = x + t * ldx;
        float *z_t = z + t * ldz;
        for (int64_t k = 0; k < s.c; k++) {
            bool full = k * s.d + (s.d + VF_N - 1) / VF_N * VF_N <= s_dim;
            for (int64_t q = 0; q < s.r; q++) {
                float sum = dot_slice(x_t + k * s.d, pt + q * ldp, s.d, full);
                z_t[k * s.r + q] = accumulate ? z_t[k * s.r + q] + sum : sum;
            }
        }
    }
}

/* Columns b .. b + VF_N of one token, directions q0 .. q0 + n. */
static inline void left_columns(float *z, const float *y, const float *p, vlorpi_slices s, int64_t q0, int n)
{
    vf sum[4] = {vf_zero(), vf_zero(), vf_zero(), vf_zero()};
    for (int64_t a = 0; a < s.d; a++) {
        vf y_a = vf_load(y + a * s.c);
        for (int q = 0; q < n; q++) {
            sum[q] = vf_fma(vf_set(p[a * s.r + q0 + q]), y_a, sum[q]);
        }
    }
    for (int q = 0; q < n; q++) {
        vf_store(z + (q0 + q) * s.c, sum[q]);
    }
}

/* Directions q .. q + VF_N of column b of one token: for c below a vector's width. */
static inline void left_directions(float *z, const float *y, const float *p, vlorpi_slices s)
{
    vf sum = vf_zero();
    for (int64_t a = 0; a < s.d; a++) {
        sum = vf_fma(vf_set(y[a * s.c]), vf_load(p + a * s.r), sum);
    }
    float lane[VF_N];
    vf_store(lane, sum);
    for (int q = 0; q < VF_N; q++) {
        z[q * s.c] = lane[q];
    }
}

static inline float left_one(const float *y, const float *p, vlorpi_slices s)
{
    float sum = 0;
    for (int64_t a = 0; a < s.d; a++) {
        sum += p[a * s.r] * y[a * s.c];
    }
    return sum;
}

void NAME(vlorpi_project_left)(float *z, int64_t ldz, const float *y, int64_t ldy, const float *p, vlorpi_slices s,
                               int64_t T)
{
    for (int64_t t = 0; t < T; t++) {
        const float *y_t = y + t * ldy;
        float *z_t = z + t * ldz;
        int64_t b = 0;
        for (; b + VF_N <= s.c; b += VF_N) {
            int64_t q = 0;
            for (; q + 4 <= s.r; q += 4) {
                left_columns(z_t + b, y_t + b, p, s, q, 4);
            }
            for (; q < s.r; q++) {
                left_columns(z_t + b, y_t + b, p, s, q, 1);
            }
        }
        for (; b < s.c; b++) {
            int64_t q = 0;
            for (; q + VF_N <= s.r; q += VF_N) {
                left_directions(z_t + q * s.c + b, y_t + b, p + q, s);
            }
            for (; q < s.r; q++) {
                z_t[q * s.c + b] = left_one(y_t + b, p + q, s);
            }
        }
    }
}

void NAME(vlorpi_axpy)(float *y, float a, const float *x, int64_t n)
{
    int64_t i = 0;
    for (; i + VF_N <= n; i += VF_N) {
        vf_store(y + i, vf_fma(vf_set(a), vf_load(x + i), vf_load(y + i)));
    }
    for (; i < n; i++) {
        y[i] += a * x[i];
    }
}

/* Rows of S that one visit to the lagged sums takes in. */
enum { ROWS_OF_SUMS = 4 };

/* One lag of n_rows rows, which is a constant at each call: q[e] += S[i,e] S[i,e+lag], row by row;
 * row[i] += sum over e of kw[e] S[i,e] S[i,e+lag]. */
static inline __attribute__((always_inline)) void rows_lag(float *row, float *q, const float *S, int64_t M,
                                                           const float *kw, int64_t lag, int n_rows)
{
    vf sum[ROWS_OF_SUMS];
    int64_t n = M - lag;
    int64_t e = 0;
    for (int i = 0; i < n_rows; i++) {
        sum[i] = vf_zero();
    }
    for (; e + VF_N <= n; e += VF_N) {
        vf weight = vf_load(kw + e);
        vf total = vf_load(q + e);
        for (int i = 0; i < n_rows; i++) {
            vf product = vf_load(S + i * M + e) * vf_load(S + i * M + e + lag);
            total += product;
            sum[i] = vf_fma(weight, product, sum[i]);
        }
        vf_store(q + e, total);
    }
    for (int i = 0; i < n_rows; i++) {
        float rest = vf_sum(sum[i]);
        for (int64_t k = e; k < n; k++) {
            float product = S[i * M + k] * S[i * M + k + lag];
            q[k] += product;
            rest += kw[k] * product;
        }
        row[i] += rest;
    }
}

void NAME(vlorpi_sums_right)(float *row, float *q, const float *S, const float *kw, vlorpi_slices s, int64_t n)
{
    int64_t M = s.c * s.r;
    for (int64_t i = 0; i < n; i += ROWS_OF_SUMS) {
        float sums[ROWS_OF_SUMS] = {0};
        int64_t here = n - i < ROWS_OF_SUMS ? n - i : ROWS_OF_SUMS;
        for (int64_t lag = 0; lag < s.r; lag++) {
            if (here == ROWS_OF_SUMS) {
                rows_lag(sums, q + lag * M, S + i * M, M, kw + lag * M, lag, ROWS_OF_SUMS);
                continue;
            }
            for (int64_t t = 0; t < here; t++) {
                rows_lag(sums + t, q + lag * M, S + (i + t) * M, M, kw + lag * M, lag, 1);
            }
        }
        for (int64_t t = 0; row != NULL && t < here; t++) {
            row[i + t] = sums[t];
        }
    }
}

/* One pair of rows of a left S: col[j] += weight u[j] v[j]; returns sum u[j] v[j]. */
static inline float pair_sum(float *col, const float *u, const float *v, float weight, int64_t m)
{
    vf sum = vf_zero();
    int64_t j = 0;
    if (col != NULL) {
        for (; j + VF_N <= m; j += VF_N) {
            vf product = vf_load(u + j) * vf_load(v + j);
            vf_store(col + j, vf_fma(vf_set(weight), product, vf_load(col + j)));
            sum = sum + product;
        }
    } else {
        for (; j + VF_N <= m; j += VF_N) {
            sum = vf_fma(vf_load(u + j), vf_load(v + j), sum);
        }
    }
    float total = vf_sum(sum);
    for (; j < m; j++) {
        float product = u[j] * v[j];
        total += product;
        if (col != NULL) {
            col[j] += weight * product;
        }
    }
    return total;
}

void NAME(vlorpi_sums_left)(float *col, float *q, const float *S, int64_t ldS, const float *kw, vlorpi_slices s,
                            int64_t m)
{
    int64_t M = s.c * s.r;
    if (col != NULL && m > 0) {
        memset(col, 0, (size_t)m * sizeof *col);
    }
    for (int64_t b = 0; b < s.c; b++) {
        for (int64_t first = 0; first < s.r; first++) {
            for (int64_t lag = 0; first + lag < s.r; lag++) {
                const float *u = S + (first * s.c + b) * ldS;
                const float *v = S + ((first + lag) * s.c + b) * ldS;
                int64_t e = lag * M + b * s.r + first;
                q[e] += pair_sum(col, u, v, kw[e], m);
            }
        }
    }
}

/* Slices are written in rising order, each as whole vectors: what runs over into the next slice is
 * overwritten by it, and what runs over the row's end is the caller's padding. */
void NAME(vlorpi_backproject_right)(float *mh, const float *ms, const float *pt, int64_t ldp, vlorpi_slices s)
{
    if (s.d == 1 && s.r == 1) {
        for (int64_t k = 0; k < s.c; k++) {
            mh[k] = ms[k] * pt[0];
        }
        return;
    }
    for (int64_t k = 0; k < s.c; k++) {
        for (int64_t j = 0; j < s.d; j += VF_N) {
            vf sum = vf_set(ms[k * s.r]) * vf_load(pt + j);
            for (int64_t q = 1; q < s.r; q++) {
                sum = vf_fma(vf_set(ms[k * s.r + q]), vf_load(pt + q * ldp + j), sum);
            }
            vf_store(mh + k * s.d + j, sum);
        }
    }
}

void NAME(vlorpi_backproject_left)(float *mh, const float *p, const float *ms, int64_t ldq, int64_t r, int64_t n)
{
    int64_t j = 0;
    for (; j + VF_N <= n; j += VF_N) {
        vf sum = vf_set(p[0]) * vf_load(ms + j);
        for (int64_t q = 1; q < r; q++) {
            sum = vf_fma(vf_set(p[q]), vf_load(ms + q * ldq + j), sum);
        }
        vf_store(mh + j, sum);
    }
    for (; j < n; j++) {
        float sum = p[0] * ms[j];
        for (int64_t q = 1; q < r; q++) {
            sum += p[q] * ms[q * ldq + j];
        }
        mh[j] = sum;
    }
}

/* sum over i < n of p[i] p[i + lag] q[i] */
static inline float lag_product(const float *p, const float *q, int64_t lag, int64_t n)
{
    vf sum = vf_zero();
    int64_t i = 0;
    for (; i + VF_N <= n; i += VF_N) {
        sum = vf_fma(vf_load(p + i) * vf_load(p + i + lag), vf_load(q + i), sum);
    }
    float total = i > 0 ? vf_sum(sum) : 0.0f;
    for (; i < n; i++) {
        total += p[i] * p[i + lag] * q[i];
    }
    return total;
}

void NAME(vlorpi_quadratic)(float *out, int64_t k_stride, int64_t j_stride, const float *p, const float *q,
                            vlorpi_slices s, int64_t j0, int64_t j1)
{
    int64_t M = s.c * s.r;
    for (int64_t k = 0; k < s.c; k++) {
        for (int64_t j = j0; j < j1; j++) {
            const float *p_j = p + j * s.r;
            float sum = lag_product(p_j, q + k * s.r, 0, s.r);
            for (int64_t lag = 1; lag < s.r; lag++) {
                sum += 2.0f * lag_product(p_j, q + lag * M + k * s.r, lag, s.r - lag);
            }
            out[k * k_stride + j * j_stride] = sum;
        }
    }
}

double NAME(vlorpi_sum)(const float *x, int64_t n)
{
    double total = 0;
    for (int64_t i = 0; i < n; i++) {
        total += (double)x[i];
    }
    return total;
}

double NAME(vlorpi_sum_squares)(const float *x, int64_t n)
{
    enum { PART = 16 * VF_N };
    double total = 0;
    for (int64_t i = 0; i < n; i += PART) {
        int64_t end = i + PART < n ? i + PART : n;
        vf sum = vf_zero();
        int64_t j = i;
        for (; j + VF_N <= end; j += VF_N) {
            sum = vf_fma(vf_load(x + j), vf_load(x + j), sum);
        }
        float part = vf_sum(sum);
        for (; j < end; j++) {
            part += x[j] * x[j];
        }
        total += (double)part;
    }
    return total;
}

double NAME(vlorpi_add_squares)(float *y, const float *x, int64_t n)
{
    int64_t i = 0;
    for (; i + VF_N <= n; i += VF_N) {
        vf square = vf_load(x + i) * vf_load(x + i);
        vf_store(y + i, vf_load(y + i) + square);
    }
    for (; i < n; i++) {
        y[i] += x[i] * x[i];
    }
    return NAME(vlorpi_sum_squares)(x, n);
}

double NAME(vlorpi_sum_ratio_squares)(const float *x, const float *b, int64_t n)
{
    enum { PART = 16 * VF_N };
    double total = 0;
    for (int64_t i = 0; i < n; i += PART) {
        int64_t end = i + PART < n ? i + PART : n;
        vf sum = vf_zero();
        int64_t j = i;
        for (; j + VF_N <= end; j += VF_N) {
            vf ratio = vf_load(x + j) / vf_load(b + j);
            sum = vf_fma(ratio, ratio, sum);
        }
        float part = vf_sum(sum);
        for (; j < end; j++) {
            float ratio = x[j] / b[j];
            part += ratio * ratio;
        }
        total += (double)part;
    }
    return total;
}
