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

const vlorpi_gemm_kernels vlorpi_gemm_kernels_ref = {.block = gemm_block_ref};
