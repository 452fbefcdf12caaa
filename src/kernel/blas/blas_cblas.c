/* C = A B + beta C in row-major order.  A row-major C needs no copy: each operand is either
 * row-major itself (NoTrans) or the transpose of a row-major matrix (Trans). */
#include "kernel/blas/blas.h"

#include <cblas.h>
#include <limits.h>

/* Fills the transposition and leading dimension; false when the stride is beyond CBLAS's integer.
 * A matrix with one row or column may have any stride, but CBLAS wants one >= its width. */
static bool orient(vlorpi_gemm_operand x, int64_t n_rows, int64_t n_cols, CBLAS_TRANSPOSE *trans, int *ld)
{
    bool row_major = x.col_stride == 1;
    int64_t stride = row_major ? x.row_stride : x.col_stride;
    int64_t width = row_major ? n_cols : n_rows;
    stride = stride < width ? width : stride;
    if (stride > INT_MAX) {
        return false;
    }
    *trans = row_major ? CblasNoTrans : CblasTrans;
    *ld = stride > 0 ? (int)stride : 1;
    return true;
}

static bool cblas_gemm(float *c, int64_t ldc, bool accumulate, vlorpi_gemm_operand a, vlorpi_gemm_operand b, int64_t M,
                       int64_t N, int64_t K)
{
    CBLAS_TRANSPOSE trans_a;
    CBLAS_TRANSPOSE trans_b;
    int lda;
    int ldb;
    if (a.dtype != VLORP_F32 || b.dtype != VLORP_F32 || M > INT_MAX || N > INT_MAX || K > INT_MAX || ldc > INT_MAX ||
        !orient(a, M, K, &trans_a, &lda) || !orient(b, K, N, &trans_b, &ldb)) {
        return false;
    }
    cblas_sgemm(CblasRowMajor, trans_a, trans_b, (int)M, (int)N, (int)K, 1.0f, a.data, lda, b.data, ldb,
                accumulate ? 1.0f : 0.0f, c, (int)ldc);
    return true;
}

vlorpi_gemm_blas_fn *vlorpi_blas_gemm(void)
{
    return cblas_gemm;
}

const char *vlorpi_blas_name(void)
{
    return openblas_get_config();
}
