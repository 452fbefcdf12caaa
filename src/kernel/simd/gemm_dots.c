/* Few rows of A against a B that is contiguous along k: every weight is read once, from where it
 * lies, and used for all rows.  Several sums per output hide the latency of the additions; their
 * number is fixed, so the bits depend on M and K alone. */
#include "kernel/half.h"
#include "kernel/simd/gemm_pack.h"

enum { N_SUMS = 4 };

INLINE vf load_w(const void *w, int64_t at, bool bf16)
{
    return bf16 ? vf_load_bf16((const uint16_t *)w + at) : vf_load((const float *)w + at);
}

INLINE float load_w1(const void *w, int64_t at, bool bf16)
{
    if (!bf16) {
        return ((const float *)w)[at];
    }
    return vlorpi_bf16_to_f32(((const uint16_t *)w)[at]);
}

/* out[i] = sum_k a[i,k] w[k]  for the n_rows rows of a; n_rows and bf16 are constants at each call. */
INLINE void dots(float *out, const float *a, int64_t lda, const void *w, int64_t K, int n_rows, bool bf16)
{
    vf acc[VLORPI_GEMM_FEW_ROWS][N_SUMS];
#pragma GCC unroll 4
    for (int i = 0; i < n_rows; i++) {
#pragma GCC unroll 4
        for (int s = 0; s < N_SUMS; s++) {
            acc[i][s] = vf_zero();
        }
    }
    int64_t k = 0;
    for (; k + N_SUMS * VF_N <= K; k += N_SUMS * VF_N) {
#pragma GCC unroll 4
        for (int s = 0; s < N_SUMS; s++) {
            vf x = load_w(w, k + s * VF_N, bf16);
#pragma GCC unroll 4
            for (int i = 0; i < n_rows; i++) {
                acc[i][s] = vf_fma(vf_load(a + i * lda + k + s * VF_N), x, acc[i][s]);
            }
        }
    }
    for (; k + VF_N <= K; k += VF_N) {
        vf x = load_w(w, k, bf16);
#pragma GCC unroll 4
        for (int i = 0; i < n_rows; i++) {
            acc[i][0] = vf_fma(vf_load(a + i * lda + k), x, acc[i][0]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < n_rows; i++) {
        float sum = vf_sum((acc[i][0] + acc[i][1]) + (acc[i][2] + acc[i][3]));
        for (int64_t p = k; p < K; p++) {
            sum = fmaf(a[i * lda + p], load_w1(w, p, bf16), sum);
        }
        out[i] = sum;
    }
}

INLINE void columns(float *c, int64_t ldc, bool accumulate, const float *a, int64_t lda, vlorpi_gemm_operand b,
                    int64_t N, int64_t K, int n_rows, bool bf16)
{
    for (int64_t j = 0; j < N; j++) {
        float out[VLORPI_GEMM_FEW_ROWS];
        dots(out, a, lda, vlorpi_gemm_at(b, 0, j).data, K, n_rows, bf16);
        for (int i = 0; i < n_rows; i++) {
            float *to = c + i * ldc + j;
            *to = accumulate ? *to + out[i] : out[i];
        }
    }
}

void NAME(vlorpi_gemm_dots)(float *c, int64_t ldc, bool accumulate, const float *a, int64_t lda, vlorpi_gemm_operand b,
                            int64_t M, int64_t N, int64_t K)
{
    bool bf16 = b.dtype == VLORP_BF16;
    switch (M) {
    case 1:
        if (bf16) {
            columns(c, ldc, accumulate, a, lda, b, N, K, 1, true);
        } else {
            columns(c, ldc, accumulate, a, lda, b, N, K, 1, false);
        }
        break;
    case 2:
        if (bf16) {
            columns(c, ldc, accumulate, a, lda, b, N, K, 2, true);
        } else {
            columns(c, ldc, accumulate, a, lda, b, N, K, 2, false);
        }
        break;
    case 3:
        if (bf16) {
            columns(c, ldc, accumulate, a, lda, b, N, K, 3, true);
        } else {
            columns(c, ldc, accumulate, a, lda, b, N, K, 3, false);
        }
        break;
    default:
        if (bf16) {
            columns(c, ldc, accumulate, a, lda, b, N, K, 4, true);
        } else {
            columns(c, ldc, accumulate, a, lda, b, N, K, 4, false);
        }
        break;
    }
}
