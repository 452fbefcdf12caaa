/* The micro-kernel: C tile [MR, NV vectors] += sum_p A[:,p] B[p,:], the tile kept in registers. */
#include "kernel/levels.h"
#include "kernel/simd/gemm_pack.h"

/* Element (i, p) of the panel of A is at a[i * row_step + p * column_step]; column_step is a constant at each
 * call. */
INLINE void tile(float *c, int64_t ldc, bool accumulate, const float *a, int64_t row_step, int64_t column_step,
                 const float *b, int64_t k, int n_vec)
{
    vf acc[MR][NV];
#pragma GCC unroll 8
    for (int i = 0; i < MR; i++) {
        __builtin_prefetch(c + i * ldc, 1);
#pragma GCC unroll 3
        for (int v = 0; v < n_vec; v++) {
            acc[i][v] = vf_zero();
        }
    }
#pragma GCC unroll 4
    for (int64_t p = 0; p < k; p++) {
        vf row[NV];
#pragma GCC unroll 3
        for (int v = 0; v < n_vec; v++) {
            row[v] = vf_load(b + v * VF_N);
        }
#pragma GCC unroll 8
        for (int i = 0; i < MR; i++) {
            vf x = vf_set(a[i * row_step]);
#pragma GCC unroll 3
            for (int v = 0; v < n_vec; v++) {
                acc[i][v] = vf_fma(x, row[v], acc[i][v]);
            }
        }
        a += column_step;
        b += NR;
    }
#pragma GCC unroll 8
    for (int i = 0; i < MR; i++) {
#pragma GCC unroll 3
        for (int v = 0; v < n_vec; v++) {
            float *to = c + i * ldc + v * VF_N;
            vf_store(to, accumulate ? vf_load(to) + acc[i][v] : acc[i][v]);
        }
    }
}

typedef void tile_fn(float *c, int64_t ldc, bool accumulate, const float *a, int64_t stride, const float *b, int64_t k);

static void rows_1(float *c, int64_t ldc, bool accumulate, const float *a, int64_t stride, const float *b, int64_t k)
{
    tile(c, ldc, accumulate, a, stride, 1, b, k, 1);
}

static void rows_2(float *c, int64_t ldc, bool accumulate, const float *a, int64_t stride, const float *b, int64_t k)
{
    tile(c, ldc, accumulate, a, stride, 1, b, k, 2);
}

static void rows_3(float *c, int64_t ldc, bool accumulate, const float *a, int64_t stride, const float *b, int64_t k)
{
    tile(c, ldc, accumulate, a, stride, 1, b, k, 3);
}

static void columns_1(float *c, int64_t ldc, bool accumulate, const float *a, int64_t stride, const float *b, int64_t k)
{
    (void)stride;
    tile(c, ldc, accumulate, a, 1, MR, b, k, 1);
}

static void columns_2(float *c, int64_t ldc, bool accumulate, const float *a, int64_t stride, const float *b, int64_t k)
{
    (void)stride;
    tile(c, ldc, accumulate, a, 1, MR, b, k, 2);
}

static void columns_3(float *c, int64_t ldc, bool accumulate, const float *a, int64_t stride, const float *b, int64_t k)
{
    (void)stride;
    tile(c, ldc, accumulate, a, 1, MR, b, k, 3);
}

static tile_fn *const tiles[2][NV] = {
    [VLORPI_GEMM_ROWS] = {rows_1, rows_2, rows_3},
    [VLORPI_GEMM_COLUMNS] = {columns_1, columns_2, columns_3},
};

/* Writes the first m rows and n columns of a finished tile [MR, NR]. */
static void put_part(vlorpi_gemm_target c, const float *from, int64_t m, int64_t n)
{
    int64_t row_step = c.transposed ? 1 : c.ld;
    int64_t column_step = c.transposed ? c.ld : 1;
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) {
            float x = from[i * NR + j];
            float *to = c.data + i * row_step + j * column_step;
            *to = c.accumulate ? *to + x : x;
        }
    }
}

/* Writes rows, a multiple of 4, and n columns, a multiple of 4, into a transposed target. */
INLINE void put_transposed(float *c, int64_t ld, const float *from, int64_t rows, int64_t n, bool accumulate)
{
    for (int64_t j = 0; j < n; j += 4) {
        for (int64_t i = 0; i < rows; i += 4) {
            v4 r[4];
            for (int q = 0; q < 4; q++) {
                memcpy(&r[q], from + (i + q) * NR + j, sizeof r[q]);
            }
            transpose_4(r);
            for (int q = 0; q < 4; q++) {
                float *to = c + (j + q) * ld + i;
                if (accumulate) {
                    v4 old;
                    memcpy(&old, to, sizeof old);
                    r[q] = old + r[q];
                }
                memcpy(to, &r[q], sizeof r[q]);
            }
        }
    }
}

static void put(vlorpi_gemm_target c, const float *from, int64_t m, int64_t n)
{
    if (!c.transposed || m % 4 != 0 || n % 4 != 0) {
        put_part(c, from, m, n);
    } else if (c.accumulate) {
        put_transposed(c.data, c.ld, from, m, n, true);
    } else {
        put_transposed(c.data, c.ld, from, m, n, false);
    }
}

/* Rows that one visit to a transposed target covers: a whole cache line of each of its rows, which
 * may all fall into one set of the first-level cache. */
enum { GROUP = 16 };

static void NAME(gemm_multiply)(vlorpi_gemm_target c, vlorpi_gemm_panels a, const float *b, int64_t m, int64_t n,
                                int64_t k)
{
    _Alignas(64) float block[GROUP * NR];
    for (int64_t j = 0; j < n; j += NR) {
        int64_t n_cols = n - j < NR ? n - j : NR;
        const float *b_panel = b + j * k;
        tile_fn *run = tiles[a.layout][(n_cols + VF_N - 1) / VF_N - 1];
        int64_t step = c.transposed ? GROUP : MR;
        for (int64_t i = 0; i < m; i += step) {
            int64_t n_rows = m - i < step ? m - i : step;
            vlorpi_gemm_target part = c;
            part.data += c.transposed ? j * c.ld + i : i * c.ld + j;
            if (n_rows == MR && n_cols % VF_N == 0 && !c.transposed) {
                run(part.data, c.ld, c.accumulate, a.data + i * a.stride, a.stride, b_panel, k);
                continue;
            }
            for (int64_t q = 0; q < n_rows; q += MR) {
                run(block + q * NR, NR, false, a.data + (i + q) * a.stride, a.stride, b_panel, k);
            }
            put(part, block, n_rows, n_cols);
        }
    }
}

const vlorpi_gemm_kernels NAME(vlorpi_gemm_kernels) = {
    .mr = MR,
    .nr = NR,
    .mc = MC,
    .kc = KC,
    .blas_side = BLAS_SIDE,
    .pack_a = NAME(vlorpi_gemm_pack_a),
    .pack_b = NAME(vlorpi_gemm_pack_b),
    .multiply = NAME(gemm_multiply),
    .dots = NAME(vlorpi_gemm_dots),
    .fma_loop = NAME(vlorpi_fma_loop),
    .fma_loop_operations = 2 * FMA_LOOP_CHAINS * VF_N,
};
