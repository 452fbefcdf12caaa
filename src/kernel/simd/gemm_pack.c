/* Copies blocks of A and B into panels, expanding bf16 on the way.  Sources are read along the
 * direction in which they are contiguous. */
#include "kernel/half.h"
#include "kernel/simd/gemm_pack.h"

#include <stddef.h>

typedef uint16_t h4 __attribute__((vector_size(8)));

INLINE float load_1(const void *from, int64_t at, bool bf16)
{
    if (!bf16) {
        return ((const float *)from)[at];
    }
    return vlorpi_bf16_to_f32(((const uint16_t *)from)[at]);
}

INLINE v4 load_4(const void *from, int64_t at, bool bf16)
{
    if (!bf16) {
        v4 x;
        memcpy(&x, (const float *)from + at, sizeof x);
        return x;
    }
    h4 half;
    memcpy(&half, (const uint16_t *)from + at, sizeof half);
    return (v4)(__builtin_convertvector(half, u4) << 16);
}

INLINE vf load_v(const void *from, int64_t at, bool bf16)
{
    return bf16 ? vf_load_bf16((const uint16_t *)from + at) : vf_load((const float *)from + at);
}

/* to[0..n) = from[at..at+n) */
INLINE void expand(float *to, const void *from, int64_t at, int64_t n, bool bf16)
{
    int64_t i = 0;
    for (; i + VF_N <= n; i += VF_N) {
        vf_store(to + i, load_v(from, at + i, bf16));
    }
    for (; i < n; i++) {
        to[i] = load_1(from, at + i, bf16);
    }
}

/* A contiguous along k: each row is copied as it is. */
INLINE void pack_a_rows(float *panels, const void *from, int64_t ld, int64_t m, int64_t k, bool bf16)
{
    for (int64_t i = 0; i < m; i++) {
        expand(panels + i * A_STRIDE, from, i * ld, k, bf16);
    }
    int64_t m_padded = (m + MR - 1) / MR * MR;
    for (int64_t i = m; i < m_padded; i++) {
        memset(panels + i * A_STRIDE, 0, (size_t)k * sizeof *panels);
    }
}

/* A contiguous along its rows' index: step p holds MR neighbours of each panel. */
INLINE void pack_a_columns(float *panels, const void *from, int64_t ld, int64_t m, int64_t k, bool bf16)
{
    for (int64_t p = 0; p < k; p++) {
        int64_t i = 0;
        for (; i + MR <= m; i += MR) {
            float *to = panels + i * A_STRIDE + p * MR;
            for (int q = 0; q < MR; q += 4) {
                v4 x = load_4(from, p * ld + i + q, bf16);
                memcpy(to + q, &x, sizeof x);
            }
        }
        if (i < m) {
            float *to = panels + i * A_STRIDE + p * MR;
            for (int64_t q = 0; q < MR; q++) {
                to[q] = i + q < m ? load_1(from, p * ld + i + q, bf16) : 0;
            }
        }
    }
}

/* Rows can be read where they lie when they are whole panels of fp32, and far enough from multiples of the page
 * that the rows of a panel do not fall into a few sets of the first-level cache. */
static bool usable_in_place(vlorpi_gemm_operand a, int64_t m)
{
    enum { LINE_FLOATS = 16, SETS = 64, ROOM = 2 };
    int64_t lines = a.row_stride / LINE_FLOATS % SETS;
    return a.dtype == VLORP_F32 && m % MR == 0 && lines >= ROOM && lines <= SETS - ROOM;
}

vlorpi_gemm_panels NAME(vlorpi_gemm_pack_a)(float *room, vlorpi_gemm_operand a, int64_t m, int64_t k)
{
    vlorpi_gemm_panels panels = {.data = room, .stride = A_STRIDE, .layout = VLORPI_GEMM_ROWS};
    bool bf16 = a.dtype == VLORP_BF16;
    if (a.col_stride != 1) {
        panels.layout = VLORPI_GEMM_COLUMNS;
        if (bf16) {
            pack_a_columns(room, a.data, a.col_stride, m, k, true);
        } else {
            pack_a_columns(room, a.data, a.col_stride, m, k, false);
        }
    } else if (usable_in_place(a, m)) {
        panels.data = a.data;
        panels.stride = a.row_stride;
    } else if (bf16) {
        pack_a_rows(room, a.data, a.row_stride, m, k, true);
    } else {
        pack_a_rows(room, a.data, a.row_stride, m, k, false);
    }
    return panels;
}

/* B contiguous along n: whole rows are read, panel after panel is written. */
INLINE void pack_b_rows(float *panels, const void *from, int64_t ld, int64_t k, int64_t n, bool bf16)
{
    for (int64_t p = 0; p < k; p++) {
        int64_t j = 0;
        for (; j + NR <= n; j += NR) {
            float *to = panels + j * k + p * NR;
            for (int v = 0; v < NV; v++) {
                vf_store(to + v * VF_N, load_v(from, p * ld + j + v * VF_N, bf16));
            }
        }
        if (j < n) {
            float *to = panels + j * k + p * NR;
            expand(to, from, p * ld + j, n - j, bf16);
            memset(to + (n - j), 0, (size_t)(NR - (n - j)) * sizeof *to);
        }
    }
}

/* B contiguous along k: 4 x 4 squares are transposed. */
INLINE void pack_b_columns(float *panel, const void *from, int64_t ld, int64_t k, int64_t n, bool bf16)
{
    int64_t j = 0;
    for (; j + 4 <= n; j += 4) {
        int64_t p = 0;
        for (; p + 4 <= k; p += 4) {
            v4 r[4];
            for (int q = 0; q < 4; q++) {
                r[q] = load_4(from, (j + q) * ld + p, bf16);
                __builtin_prefetch((const char *)from + ((j + q + 4) * ld + p) * (bf16 ? 2 : 4));
            }
            transpose_4(r);
            for (int q = 0; q < 4; q++) {
                memcpy(panel + (p + q) * NR + j, &r[q], sizeof r[q]);
            }
        }
        for (; p < k; p++) {
            for (int q = 0; q < 4; q++) {
                panel[p * NR + j + q] = load_1(from, (j + q) * ld + p, bf16);
            }
        }
    }
    for (; j < NR; j++) {
        for (int64_t p = 0; p < k; p++) {
            panel[p * NR + j] = j < n ? load_1(from, j * ld + p, bf16) : 0;
        }
    }
}

INLINE void pack_b_any(float *panels, vlorpi_gemm_operand b, int64_t k, int64_t n, bool bf16)
{
    if (b.col_stride == 1) {
        pack_b_rows(panels, b.data, b.row_stride, k, n, bf16);
        return;
    }
    for (int64_t j = 0; j < n; j += NR) {
        vlorpi_gemm_operand part = vlorpi_gemm_at(b, 0, j);
        pack_b_columns(panels + j * k, part.data, b.col_stride, k, n - j < NR ? n - j : NR, bf16);
    }
}

void NAME(vlorpi_gemm_pack_b)(float *panels, vlorpi_gemm_operand b, int64_t k, int64_t n)
{
    if (b.dtype == VLORP_BF16) {
        pack_b_any(panels, b, k, n, true);
    } else {
        pack_b_any(panels, b, k, n, false);
    }
}
