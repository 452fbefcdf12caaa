/* Adding vectors, picking and adding rows of a matrix, and searching a vector. */
#include "kernel/half.h"
#include "kernel/simd/model_simd.h"

enum { BLOCK = 8 }; /* vectors looked at before asking whether something was found */

void NAME(vlorpi_add)(float *y, const float *x, int64_t n)
{
    int64_t i = 0;
    for (; i + VF_N <= n; i += VF_N) {
        vf_store(y + i, vf_load(y + i) + vf_load(x + i));
    }
    for (; i < n; i++) {
        y[i] += x[i];
    }
}

void NAME(vlorpi_gather_rows)(float *y, const float *x, int64_t ldx, const int32_t *rows, int64_t N, int64_t D)
{
    for (int64_t t = 0; t < N; t++) {
        memcpy(y + t * D, x + rows[t] * ldx, (size_t)D * sizeof *y);
    }
}

void NAME(vlorpi_embed_fwd_f32)(float *y, const float *table, const int32_t *ids, int64_t N, int64_t D)
{
    NAME(vlorpi_gather_rows)(y, table, D, ids, N, D);
}

void NAME(vlorpi_embed_fwd_bf16)(float *y, const uint16_t *table, const int32_t *ids, int64_t N, int64_t D)
{
    for (int64_t t = 0; t < N; t++) {
        NAME(vlorpi_bf16_to_f32)(y + t * D, table + ids[t] * D, D);
    }
}

void NAME(vlorpi_scatter_add_rows)(float *y, int64_t ldy, const float *x, const int32_t *rows, int64_t N, int64_t D)
{
    for (int64_t t = 0; t < N; t++) {
        NAME(vlorpi_add)(y + rows[t] * ldy, x + t * D, D);
    }
}

/* The largest value first, its place second; a NaN is never larger. */
int64_t NAME(vlorpi_argmax)(const float *x, int64_t n)
{
    vf m[2] = {vf_set(-INFINITY), vf_set(-INFINITY)};
    int64_t i = 0;
    for (; i + 2 * VF_N <= n; i += 2 * VF_N) {
        for (int v = 0; v < 2; v++) {
            vf x_v = vf_load(x + i + v * VF_N);
            m[v] = vf_select(x_v > m[v], x_v, m[v]);
        }
    }
    float best = vf_hmax(vf_max(m[0], m[1]));
    for (; i < n; i++) {
        best = x[i] > best ? x[i] : best;
    }
    i = 0;
    if (best == -INFINITY) {
        return 0;
    }
    while (i + VF_N <= n && !vi_any(vf_load(x + i) == vf_set(best))) {
        i += VF_N;
    }
    while (i < n && x[i] != best) {
        i++;
    }
    return i;
}

int64_t NAME(vlorpi_find_nonfinite)(const float *x, int64_t n)
{
    const vu exponent = (vu)vf_set(INFINITY);
    int64_t i = 0;
    for (; i + BLOCK * VF_N <= n; i += BLOCK * VF_N) {
        vi found = {0};
        for (int v = 0; v < BLOCK; v++) {
            found |= (vi)(((vu)vf_load(x + i + v * VF_N) & exponent) == exponent);
        }
        if (vi_any(found)) {
            break;
        }
    }
    for (; i < n; i++) {
        if ((vlorpi_f32_bits(x[i]) & 0x7f800000u) == 0x7f800000u) {
            return i;
        }
    }
    return -1;
}
