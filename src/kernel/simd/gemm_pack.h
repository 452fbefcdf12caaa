/* gemm_pack.h - the register tile of one instruction set, shared by packers and micro-kernels.
 *
 * Layer 2, included by simd sources only.  The tile is MR rows by NV vectors: MR * NV accumulators
 * and NV + 1 operands fill the register file (16 registers, or 32).
 */
#ifndef VLORPI_KERNEL_SIMD_GEMM_PACK_H
#define VLORPI_KERNEL_SIMD_GEMM_PACK_H

#include "kernel/gemm_kernels.h"
#include "kernel/simd/vec.h"

/* BLAS_SIDE: with AVX2 and sides of 1024 and more OpenBLAS 0.3.21 was measured 2 to 6 % faster; below,
 * and with AVX-512, it was not.  Not measured on arm64. */
#if defined(VLORPI_ISA_avx2)
enum { MR = 4, BLAS_SIDE = 1024 };
#elif defined(VLORPI_ISA_avx512)
enum { MR = 8, BLAS_SIDE = 0 };
#else
enum { MR = 8, BLAS_SIDE = 1024 };
#endif

enum {
    NV = 3,
    NR = NV * VF_N,
    MC = 96,
    KC = 384,
    A_STRIDE = KC + 16, /* an odd number of cache lines: MR rows fall into different sets */
    FMA_LOOP_CHAINS = 12
};

_Static_assert(MC * A_STRIDE <= VLORPI_GEMM_A_FLOATS, "a block of A must fit its scratch");
_Static_assert(MC % MR == 0, "a block of A is whole panels");

#define INLINE static inline __attribute__((always_inline))

typedef float v4 __attribute__((vector_size(16)));
typedef uint32_t u4 __attribute__((vector_size(16)));

/* The 4 x 4 transpose of rows r. */
INLINE void transpose_4(v4 r[4])
{
#if defined(__clang__)
    v4 a = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5);
    v4 b = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
    v4 c = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
    v4 d = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
    r[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
    r[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
    r[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
    r[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
#else
    const u4 low = {0, 4, 1, 5};
    const u4 high = {2, 6, 3, 7};
    const u4 first = {0, 1, 4, 5};
    const u4 second = {2, 3, 6, 7};
    v4 a = __builtin_shuffle(r[0], r[1], low);
    v4 b = __builtin_shuffle(r[0], r[1], high);
    v4 c = __builtin_shuffle(r[2], r[3], low);
    v4 d = __builtin_shuffle(r[2], r[3], high);
    r[0] = __builtin_shuffle(a, c, first);
    r[1] = __builtin_shuffle(a, c, second);
    r[2] = __builtin_shuffle(b, d, first);
    r[3] = __builtin_shuffle(b, d, second);
#endif
}

vlorpi_gemm_panels NAME(vlorpi_gemm_pack_a)(float *room, vlorpi_gemm_operand a, int64_t m, int64_t k);
void NAME(vlorpi_gemm_pack_b)(float *panels, vlorpi_gemm_operand b, int64_t k, int64_t n);
void NAME(vlorpi_gemm_dots)(float *c, int64_t ldc, bool accumulate, const float *a, int64_t lda, vlorpi_gemm_operand b,
                            int64_t M, int64_t N, int64_t K);
float NAME(vlorpi_fma_loop)(int64_t n_rounds);

#endif
