/* tile_product.h - products of small tiles that sit in the first caches, straight from their rows.
 *
 * Layer 2, included by simd sources only.  No packing: the left factor is broadcast element by
 * element, so its strides are free; the right factor and the result are read in vectors along
 * contiguous rows whose width is a whole number of vectors.
 *
 *     C[r, x] = (accumulate ? C[r, x] : 0) + sum_k A(r, k) * B[k, x]     x in [0, n_vec * VF_N)
 *
 * _rows: A(r, k) = a[r * lda + k];  _columns: A(r, k) = a[k * lda + r].
 */
#ifndef VLORPI_KERNEL_SIMD_TILE_PRODUCT_H
#define VLORPI_KERNEL_SIMD_TILE_PRODUCT_H

#include <stdbool.h>

#include "kernel/simd/vec.h"

/* Rows and vectors of the register tile: 12 accumulators of 16 registers on AVX2, 16 of 32 elsewhere. */
#if defined(VLORPI_ISA_avx2)
enum { TILE_ROWS = 6, TILE_VECS = 2 };
#else
enum { TILE_ROWS = 8, TILE_VECS = 2 };
#endif

#define TILE_INLINE static inline __attribute__((always_inline))

/* n_rows and n_vec are constants at every call, so that acc lives in registers. */
TILE_INLINE void tile_block(const int n_rows, const int n_vec, float *c, int64_t ldc, bool accumulate, const float *a,
                            int64_t a_row, int64_t a_k, const float *b, int64_t ldb, int64_t K)
{
    vf acc[TILE_ROWS][TILE_VECS];
    for (int r = 0; r < n_rows; r++) {
        for (int v = 0; v < n_vec; v++) {
            acc[r][v] = accumulate ? vf_load(c + r * ldc + v * VF_N) : vf_zero();
        }
    }
    for (int64_t k = 0; k < K; k++) {
        vf b_v[TILE_VECS];
        for (int v = 0; v < n_vec; v++) {
            b_v[v] = vf_load(b + k * ldb + v * VF_N);
        }
        for (int r = 0; r < n_rows; r++) {
            vf a_r = vf_set(a[r * a_row + k * a_k]);
            for (int v = 0; v < n_vec; v++) {
                acc[r][v] = vf_fma(a_r, b_v[v], acc[r][v]);
            }
        }
    }
    for (int r = 0; r < n_rows; r++) {
        for (int v = 0; v < n_vec; v++) {
            vf_store(c + r * ldc + v * VF_N, acc[r][v]);
        }
    }
}

/* M rows of a result that is n_vec <= TILE_VECS vectors wide. */
TILE_INLINE void tile_panel(const int n_vec, float *c, int64_t ldc, bool accumulate, const float *a, int64_t a_row,
                            int64_t a_k, const float *b, int64_t ldb, int64_t M, int64_t K)
{
    int64_t r = 0;
    for (; r + TILE_ROWS <= M; r += TILE_ROWS) {
        tile_block(TILE_ROWS, n_vec, c + r * ldc, ldc, accumulate, a + r * a_row, a_row, a_k, b, ldb, K);
    }
    if (M - r >= 4) {
        tile_block(4, n_vec, c + r * ldc, ldc, accumulate, a + r * a_row, a_row, a_k, b, ldb, K);
        r += 4;
    }
    if (M - r >= 2) {
        tile_block(2, n_vec, c + r * ldc, ldc, accumulate, a + r * a_row, a_row, a_k, b, ldb, K);
        r += 2;
    }
    if (M - r >= 1) {
        tile_block(1, n_vec, c + r * ldc, ldc, accumulate, a + r * a_row, a_row, a_k, b, ldb, K);
    }
}

TILE_INLINE void tile_product(float *c, int64_t ldc, bool accumulate, const float *a, int64_t a_row, int64_t a_k,
                              const float *b, int64_t ldb, int64_t M, int64_t n_vec, int64_t K)
{
    int64_t v = 0;
    for (; v + TILE_VECS <= n_vec; v += TILE_VECS) {
        tile_panel(TILE_VECS, c + v * VF_N, ldc, accumulate, a, a_row, a_k, b + v * VF_N, ldb, M, K);
    }
    if (v < n_vec) {
        tile_panel(1, c + v * VF_N, ldc, accumulate, a, a_row, a_k, b + v * VF_N, ldb, M, K);
    }
}

static __attribute__((noinline)) void tile_product_rows(float *c, int64_t ldc, bool accumulate, const float *a,
                                                        int64_t lda, const float *b, int64_t ldb, int64_t M,
                                                        int64_t n_vec, int64_t K)
{
    tile_product(c, ldc, accumulate, a, lda, 1, b, ldb, M, n_vec, K);
}

static __attribute__((noinline)) void tile_product_columns(float *c, int64_t ldc, bool accumulate, const float *a,
                                                           int64_t lda, const float *b, int64_t ldb, int64_t M,
                                                           int64_t n_vec, int64_t K)
{
    tile_product(c, ldc, accumulate, a, 1, lda, b, ldb, M, n_vec, K);
}

#endif
