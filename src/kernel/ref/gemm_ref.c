/* C[i,j] = (accumulate ? C[i,j] : 0) + sum_k A[i,k] * B[k,j], k ascending, one rounding per
 * operation: the specification of every other level. */
#include "kernel/gemm_kernels.h"
#include "kernel/half.h"
#include "kernel/levels.h"

static float element(vlorpi_gemm_operand x, int64_t i, int64_t j)
{
    int64_t at = i * x.row_stride + j * x.col_stride;
    if (x.dtype == VLORP_F32) {
        return ((const float *)x.data)[at];
    }
    return vlorpi_bf16_to_f32(((const uint16_t *)x.data)[at]);
}

static void gemm_block_ref(float *c, int64_t ldc, bool accumulate, vlorpi_gemm_operand a, vlorpi_gemm_operand b,
                           int64_t M, int64_t N, int64_t K)
{
    for (int64_t i = 0; i < M; i++) {
        for (int64_t j = 0; j < N; j++) {
            float sum = 0;
            for (int64_t k = 0; k < K; k++) {
                sum += element(a, i, k) * element(b, k, j);
            }
            c[i * ldc + j] = accumulate ? c[i * ldc + j] + sum : sum;
        }
    }
}

static float fma_loop_ref(int64_t n_rounds)
{
    float acc[4] = {0, 1, 2, 3};
    for (int64_t round = 0; round < n_rounds; round++) {
        for (int i = 0; i < 4; i++) {
            acc[i] = acc[i] * 0.999f + 1e-3f;
        }
    }
    return acc[0] + acc[1] + acc[2] + acc[3];
}

const vlorpi_gemm_kernels vlorpi_gemm_kernels_ref = {
    .block = gemm_block_ref, .fma_loop = fma_loop_ref, .fma_loop_operations = 8};
