/* AdamW on blocks of 8-bit moments.  Same operations in the same order as the reference, so the same bits. */
#include "kernel/optim_codes.h"
#include "kernel/simd/optim_codes_simd.h"

/* x[i] = the map's number of code i, times most.  Loads of single numbers: gathers are no faster. */
static void decode(float *x, const uint8_t *codes, const vlorpi_code_map *map, float most, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        x[i] = map->values[codes[i]] * most;
    }
}

/* The ranks of VF_N quotients. */
static inline vi ranks(const vlorpi_code_map *map, vf x)
{
    vf slope = vf_set(map->pieces[0].slope);
    vf offset = vf_set(map->pieces[0].offset);
    vf last = vf_set(map->pieces[0].last);
    for (int i = 1; i < VLORPI_CODE_PIECES; i++) {
        vi in = (vi)(x >= vf_set(map->pieces[i].from));
        slope = vf_select(in, vf_set(map->pieces[i].slope), slope);
        offset = vf_select(in, vf_set(map->pieces[i].offset), offset);
        last = vf_select(in, vf_set(map->pieces[i].last), last);
    }
    vf rank = slope * x + offset;
    return __builtin_convertvector(vf_select((vi)(rank < last), rank, last), vi);
}

static inline void store_codes(uint8_t *codes, vi rank)
{
    for (int l = 0; l < VF_N; l++) {
        codes[l] = (uint8_t)rank[l];
    }
}

static void encode_signed(uint8_t *codes, const float *m, const vlorpi_code_map *map, float most, int64_t n)
{
    const vi zero = vi_set(VLORPI_CODE_ZERO);
    int64_t i = 0;
    for (; i + VF_N <= n; i += VF_N) {
        vf x = vf_load(m + i);
        vi negative = (vi)(x < vf_zero());
        vi rank = ranks(map, (vf)((vi)x & vi_set(INT32_MAX)) / vf_set(most));
        vi above = (vi)(rank > zero) & negative; /* -1 is missing */
        rank = (above & zero) | (~above & rank);
        store_codes(codes + i, zero + ((rank ^ negative) - negative));
    }
    for (; i < n; i++) {
        codes[i] = vlorpi_code_signed(map, m[i], most);
    }
}

static void encode_unsigned(uint8_t *codes, const float *v, const vlorpi_code_map *map, float most, int64_t n)
{
    int64_t i = 0;
    for (; i + VF_N <= n; i += VF_N) {
        store_codes(codes + i, ranks(map, vf_load(v + i) / vf_set(most)));
    }
    for (; i < n; i++) {
        codes[i] = (uint8_t)vlorpi_code_rank(map, v[i] / most);
    }
}

/* m and v in place; g becomes the step; largest magnitudes of both. */
static void moments(float *m, float *v, float *g, float largest[2], vlorpi_adamw u, int64_t n)
{
    vf most_m = vf_zero();
    vf most_v = vf_zero();
    int64_t i = 0;
    for (; i + VF_N <= n; i += VF_N) {
        vf grad = vf_load(g + i) * vf_set(u.grad_scale);
        vf new_m = vf_set(u.beta1) * vf_load(m + i) + vf_set(u.fresh1) * grad;
        vf new_v = vf_set(u.beta2) * vf_load(v + i) + vf_set(u.fresh2) * (grad * grad);
        vf_store(m + i, new_m);
        vf_store(v + i, new_v);
        vf_store(g + i, vf_set(u.step) * new_m / (vf_sqrt(new_v) * vf_set(u.rsqrt_bc2) + vf_set(u.eps)));
        most_m = vf_max(most_m, (vf)((vi)new_m & vi_set(INT32_MAX)));
        most_v = vf_max(most_v, new_v);
    }
    largest[0] = vf_hmax(most_m);
    largest[1] = vf_hmax(most_v);
    for (; i < n; i++) {
        float grad = g[i] * u.grad_scale;
        m[i] = u.beta1 * m[i] + u.fresh1 * grad;
        v[i] = u.beta2 * v[i] + u.fresh2 * (grad * grad);
        g[i] = u.step * m[i] / (sqrtf(v[i]) * u.rsqrt_bc2 + u.eps);
        largest[0] = fabsf(m[i]) > largest[0] ? fabsf(m[i]) : largest[0];
        largest[1] = v[i] > largest[1] ? v[i] : largest[1];
    }
}

void NAME(vlorpi_adamw8_block)(uint8_t *m8, uint8_t *v8, float *m_most, float *v_most, float *g,
                               const vlorpi_code_map *maps, vlorpi_adamw u, int64_t n)
{
    float m[VLORPI_CODE_BLOCK];
    float v[VLORPI_CODE_BLOCK];
    float largest[2];
    decode(m, m8, &maps[0], *m_most, n);
    decode(v, v8, &maps[1], *v_most, n);
    moments(m, v, g, largest, u, n);
    encode_signed(m8, m, &maps[0], vlorpi_code_divisor(largest[0]), n);
    encode_unsigned(v8, v, &maps[1], vlorpi_code_divisor(largest[1]), n);
    *m_most = largest[0];
    *v_most = largest[1];
}
