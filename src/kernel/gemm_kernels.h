/* gemm_kernels.h - what one level brings to the matrix product; gemm.c schedules it.
 *
 * Layer 2, private to the product.  A plain level has block alone.  A packed level has the rest:
 *
 *   A [m, k] is cut in panels of mr rows, in one of two layouts, neither of which transposes.
 *     rows     element (i, p) of a panel at [i * S + p]   when A is contiguous along k
 *     columns  element (i, p) of a panel at [p * mr + i]  when A is contiguous along its rows' index
 *     A panel begins S floats times mr after the one before; rows beyond m are zero.  S is the level's own
 *     stride, or A's where its rows are used where they lie.
 *   B [k, n] is cut in panels of nr columns, element (p, j) at [p * nr + j]; a panel takes k * nr
 *   floats; columns beyond n are zero.
 *
 * Each output is one sum over k in ascending order per block of kc, so that neither tiles nor
 * threads change a bit.
 */
#ifndef VLORPI_KERNEL_GEMM_KERNELS_H
#define VLORPI_KERNEL_GEMM_KERNELS_H

#include "kernel/gemm.h"

typedef enum vlorpi_gemm_layout { VLORPI_GEMM_ROWS, VLORPI_GEMM_COLUMNS } vlorpi_gemm_layout;

/* A block of A in panels. */
typedef struct vlorpi_gemm_panels {
    const float *data;
    int64_t stride; /* S */
    vlorpi_gemm_layout layout;
} vlorpi_gemm_panels;

/* Where a block of C goes.  transposed: element (i, j) at data[j * ld + i]. */
typedef struct vlorpi_gemm_target {
    float *data;
    int64_t ld;
    bool accumulate; /* else overwritten, never read */
    bool transposed;
} vlorpi_gemm_target;

struct vlorpi_gemm_kernels {
    /* C [M, N] straight from the operands; NULL in a packed level. */
    void (*block)(float *c, int64_t ldc, bool accumulate, vlorpi_gemm_operand a, vlorpi_gemm_operand b, int64_t M,
                  int64_t N, int64_t K);

    int64_t mr, nr;    /* register tile: mr rows of A, nr columns of B */
    int64_t mc, kc;    /* cache block, upper bounds; mc a multiple of mr; fits VLORPI_GEMM_A_FLOATS */
    int64_t blas_side; /* an fp32 product with no side below it is offered to the BLAS; 0: never */

    /* A [m, k] (m <= mc, k <= kc) as panels, in `room` or where it lies. */
    vlorpi_gemm_panels (*pack_a)(float *room, vlorpi_gemm_operand a, int64_t m, int64_t k);
    void (*pack_b)(float *panels, vlorpi_gemm_operand b, int64_t k, int64_t n);
    /* C [m, n] from packed panels. */
    void (*multiply)(vlorpi_gemm_target c, vlorpi_gemm_panels a, const float *b, int64_t m, int64_t n, int64_t k);

    /* C[i,j] for few rows of A, each output one dot product read straight from both operands:
     *   a [M, K] f32, M <= VLORPI_GEMM_FEW_ROWS, row stride lda; b (j, k) at data[j * col_stride + k] */
    void (*dots)(float *c, int64_t ldc, bool accumulate, const float *a, int64_t lda, vlorpi_gemm_operand b, int64_t M,
                 int64_t N, int64_t K);

    /* The yardstick of bench: fma_loop_operations floating-point operations a round, in registers alone.
     * The result is of no use, but returned, so that the work is not dropped. */
    float (*fma_loop)(int64_t n_rounds);
    int64_t fma_loop_operations;
};

enum {
    VLORPI_GEMM_FEW_ROWS = 4,
    VLORPI_GEMM_A_FLOATS = 40 * 1024,  /* each thread's block of A: a third of a 512 KiB L2 */
    VLORPI_GEMM_B_FLOATS = 1024 * 1024 /* the shared block of B: 4 MiB of L3 */
};

/* The operand that starts at element (i, j). */
static inline vlorpi_gemm_operand vlorpi_gemm_at(vlorpi_gemm_operand x, int64_t i, int64_t j)
{
    int64_t bytes = (i * x.row_stride + j * x.col_stride) * (x.dtype == VLORP_F32 ? 4 : 2);
    x.data = (const unsigned char *)x.data + bytes;
    return x;
}

#endif
