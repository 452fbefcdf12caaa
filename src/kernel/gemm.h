/* gemm.h - the matrix product, for fp32 and bf16 operands in any orientation.
 *
 * Layer 2.  Knows: pointers, sizes, strides, an exec to run on.  Does not know: layers, memory
 * accounts (the caller brings the scratch).
 *
 *     C[i,j] = (accumulate ? C[i,j] : 0) + sum_k A[i,k] * B[k,j]
 *
 * Math is fp32.  bf16 operands expand inside the packing, never as a whole copy.  Work is split
 * over outputs only: our own kernels give the same bits for any thread count; products large enough
 * to be handed to the BLAS are exempt.
 */
#ifndef VLORPI_KERNEL_GEMM_H
#define VLORPI_KERNEL_GEMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vlorp/dtype.h>
#include <vlorp/exec.h>

/* One operand: element (i, j) is at data[i * row_stride + j * col_stride]; one stride must be 1. */
typedef struct vlorpi_gemm_operand {
    const void *data;
    vlorp_dtype dtype; /* VLORP_F32 or VLORP_BF16 */
    int64_t row_stride;
    int64_t col_stride;
} vlorpi_gemm_operand;

typedef struct vlorpi_gemm_kernels vlorpi_gemm_kernels; /* micro-kernels and packers of one ISA */

/* Offers one fp32 product to a BLAS; c, a, b and the sizes as in vlorpi_gemm.  false: declined (a
 * size beyond the BLAS's integers), and nothing was written. */
typedef bool vlorpi_gemm_blas_fn(float *c, int64_t ldc, bool accumulate, vlorpi_gemm_operand a, vlorpi_gemm_operand b,
                                 int64_t M, int64_t N, int64_t K);

/* Where a product runs.  scratch holds vlorpi_gemm_scratch_bytes(n_threads) bytes, 64-byte aligned,
 * used only during a call.  The program that links a BLAS sets blas (kernel/blas/blas.h); libvlorp,
 * which needs libc and libm alone, leaves it NULL. */
typedef struct vlorpi_gemm_ctx {
    const vlorpi_gemm_kernels *kernels;
    vlorp_exec exec;
    void *scratch;
    vlorpi_gemm_blas_fn *blas; /* takes the large fp32 products where it is faster; NULL: none */
} vlorpi_gemm_ctx;

size_t vlorpi_gemm_scratch_bytes(int n_threads);

/* A row-major matrix and its transpose as operands; ld in elements. */
vlorpi_gemm_operand vlorpi_gemm_rows(const void *data, vlorp_dtype dtype, int64_t ld);
vlorpi_gemm_operand vlorpi_gemm_transposed(const void *data, vlorp_dtype dtype, int64_t ld);

/*   c  [M, N] f32  row stride ldc >= N; overwritten, or accumulated into when accumulate
 *   a  [M, K], b [K, N] in; must not overlap c.  M, N, K may each be 0. */
void vlorpi_gemm(const vlorpi_gemm_ctx *ctx, float *c, int64_t ldc, bool accumulate, vlorpi_gemm_operand a,
                 vlorpi_gemm_operand b, int64_t M, int64_t N, int64_t K);

#endif
