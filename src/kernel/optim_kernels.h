/* optim_kernels.h - the projector's and the update rules' arithmetic.
 *
 * Layer 2.  Letters as in docs/method.md sections 2 to 4: W, G [n, m]; c slices of d, r directions each,
 * M = c r; P [d, r] row-major.  Kernels are serial and work on ranges; callers split outputs over
 * threads.  Each output is either overwritten or accumulated into.  Sizes may be 0; outputs overlap
 * no input unless said.
 *
 * Levels: the update kernels (update_*, adam*, moment, store_bf16) give the same bits at every level; the
 * others differ by the order of their sums and by fused products, within
 * 8 * sqrt(terms) * 2^-24 * sum |products|.
 *
 * Lagged sums.  The symmetric r x r products of each slice are kept by lag: entry
 * [l * M + k * r + q] belongs to the pair (q, q + l) of slice k and means nothing where q + l >= r
 * (weights are 0 there).  Any r makes contiguous loops this way, r = 1 included.
 */
#ifndef VLORPI_KERNEL_OPTIM_KERNELS_H
#define VLORPI_KERNEL_OPTIM_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#include <vlorp/rng.h>

/* One slice layout. */
typedef struct vlorpi_slices {
    int64_t c, d, r;
} vlorpi_slices;

/* The scalars of ProjFactor's pass over W for one row. */
typedef struct vlorpi_update {
    float a;    /* sqrt(v_r[i] / sum v_r) */
    float eps;
    float step; /* eta_t times the factor s of the back-projection */
    float decay; /* eta * lambda, after the step */
    float shrink; /* eta * lambda of the rules that decay before the step */
} vlorpi_update;

/* AdamW's scalars for one step (PyTorch's order). */
typedef struct vlorpi_adamw {
    float beta1, beta2;
    float fresh1, fresh2; /* 1 - beta, rounded once from double */
    float grad_scale; /* multiplies the accumulated gradient: mean and clipping */
    float decay;      /* lr * lambda */
    float step;       /* lr / (1 - beta1^t) */
    float rsqrt_bc2;  /* 1 / sqrt(1 - beta2^t) */
    float eps;
} vlorpi_adamw;

/* How bf16 results are stored: rng NULL rounds to nearest even, else the draws of (row, column). */
typedef struct vlorpi_rounding {
    const vlorp_rng *rng;
    uint32_t row;
} vlorpi_rounding;

/* 8-bit codes and the numbers they stand for (optim_codes.h). */
typedef struct vlorpi_code_map vlorpi_code_map;

enum {
    VLORPI_CODE_BLOCK = 256, /* numbers with one largest magnitude */
    VLORPI_OPTIM_PAD = 16,     /* floats that backproject_right may write beyond a row; a vector of any level */
    VLORPI_OPTIM_DRAWS = 128   /* bf16 rows are worked on from columns that are multiples of this */
};

typedef struct vlorpi_optim_kernels {
    /* z[t, k r + q] (+)= sum_j x[t, k d + j] pt[q ldp + j]              method.md 2 and 3, right
     *   z [T, M] row stride ldz, overwritten or accumulated; x [T, c d] row stride ldx; pt [r, ldp]: P
     *   transposed, ldp a multiple of VLORPI_OPTIM_PAD, zero beyond d
     * X gives the projected inputs; G itself (T = n) gives S. */
    void (*project_right)(float *z, int64_t ldz, bool accumulate, const float *x, int64_t ldx, const float *pt,
                          int64_t ldp, vlorpi_slices s, int64_t T);

    /* z[t, q c + b] = sum_a p[a r + q] y[t, a c + b]                    method.md 3, left
     *   z [T, M] row stride ldz, overwritten; y [T, c d] row stride ldy */
    void (*project_left)(float *z, int64_t ldz, const float *y, int64_t ldy, const float *p, vlorpi_slices s,
                         int64_t T);

    /* y[i] += a x[i] */
    void (*axpy)(float *y, float a, const float *x, int64_t n);

    /* Second-moment sums of rows of a right S [n, M] (contiguous), method.md 3:
     *   row[i] = sum_k S[i,k,:] K S[i,k,:]^T    overwritten; NULL: not wanted
     *   q [r * M] lagged, accumulated: sum_i S[i,k,q] S[i,k,q+l]
     *   kw [r * M] lagged weights: K[q, q + l], doubled for l > 0, 0 where q + l >= r */
    void (*sums_right)(float *row, float *q, const float *S, const float *kw, vlorpi_slices s, int64_t n);

    /* The mirror for columns [0, m) of a left S [M, m] row stride ldS (row q c + b):
     *   col[j] = sum_b S[:,b,j]^T K S[:,b,j]    overwritten; NULL: not wanted
     *   q as above with b for k, accumulated;  kw [r * M] lagged as above */
    void (*sums_left)(float *col, float *q, const float *S, int64_t ldS, const float *kw, vlorpi_slices s, int64_t m);

    /* out[k * k_stride + j * j_stride] = P[j,:] Q_k P[j,:]^T for k < c, j in [j0, j1)       method.md 3
     *   out overwritten; q [r * M] lagged, Q_k symmetric.  right: strides d, 1; left: strides 1, c */
    void (*quadratic)(float *out, int64_t k_stride, int64_t j_stride, const float *p, const float *q, vlorpi_slices s,
                      int64_t j0, int64_t j1);

    /* m[i] = beta m[i] + a g[i];  g[i] = 0          both in place */
    void (*moment)(float *m, float *g, float beta, float a, int64_t n);

    /* m[i] = beta1 m[i] + a1 g[i];  v[i] = beta2 v[i] + a2 (g[i] g[i])          both in place */
    void (*adam_moments)(float *m, float *v, const float *g, float beta1, float a1, float beta2, float a2, int64_t n);

    /* y[i] = m[i] / (sqrt(v[i]) + eps); y overwritten */
    void (*adam_direction)(float *y, const float *m, const float *v, float eps, int64_t n);

    /* y[i] = bf16 of x[i]; y overwritten; col0, the column of y[0], is a multiple of VLORPI_OPTIM_DRAWS */
    void (*store_bf16)(uint16_t *y, const float *x, int64_t n, vlorpi_rounding rounding, int64_t col0);

    /* mh[k d + j] = sum_q ms[k r + q] pt[q ldp + j]          back-projection of one row, right
     *   mh [c d] overwritten, with room for VLORPI_OPTIM_PAD more; pt as above */
    void (*backproject_right)(float *mh, const float *ms, const float *pt, int64_t ldp, vlorpi_slices s);

    /* mh[j] = sum_q p[q] ms[q ldq + j], j < n                back-projection of one row, left
     *   mh [n] overwritten; p [r], a row of P; ms: row b of the moment, its q-th part ldq further */
    void (*backproject_left)(float *mh, const float *p, const float *ms, int64_t ldq, int64_t r, int64_t n);

    /* u = (w[j] - shrink w[j]) - step mh[j] / (a b[j] + eps);  w[j] = u - decay u       method.md 4; w in place */
    void (*update_f32)(float *w, const float *mh, const float *b, vlorpi_update u, int64_t n);
    /* the same on bf16; col0, the column of w[0], is a multiple of VLORPI_OPTIM_DRAWS */
    void (*update_bf16)(uint16_t *w, const float *mh, const float *b, vlorpi_update u, int64_t n,
                        vlorpi_rounding rounding, int64_t col0);

    /* AdamW; w, m, v in place, g zeroed afterwards */
    void (*adamw_f32)(float *w, float *m, float *v, float *g, vlorpi_adamw u, int64_t n);
    void (*adamw_bf16)(uint16_t *w, float *m, float *v, float *g, vlorpi_adamw u, int64_t n, vlorpi_rounding rounding,
                       int64_t col0);

    /* AdamW's moments and step of one block, n <= VLORPI_CODE_BLOCK, whose moments are kept as codes; u.decay is not
     * read.  m8 (of the signed maps[0]), v8 (of maps[1]) and their largest magnitudes in place;
     *   g[i] = step m[i] / (sqrt(v[i]) rsqrt_bc2 + eps)          in place of the gradient, before m and v are rounded */
    void (*adamw8_block)(uint8_t *m8, uint8_t *v8, float *m_most, float *v_most, float *g,
                         const vlorpi_code_map *maps, vlorpi_adamw u, int64_t n);

    /* y[i] += x[i]^2; returns the sum of x[i]^2 as sum_squares does */
    double (*add_squares)(float *y, const float *x, int64_t n);
    /* sum of (x[i] / b[i])^2, in double; partial sums of at most 256 terms are kept in float */
    double (*sum_ratio_squares)(const float *x, const float *b, int64_t n);

    /* y[i] = sqrt(x[i]); y overwritten */
    void (*root)(float *y, const float *x, int64_t n);

    /* sum of x[i] and of x[i]^2, in double; partial sums of at most 256 terms are kept in float */
    double (*sum)(const float *x, int64_t n);
    double (*sum_squares)(const float *x, int64_t n);
} vlorpi_optim_kernels;

#endif
