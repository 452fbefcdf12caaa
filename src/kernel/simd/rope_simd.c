#include "kernel/simd/model_simd.h"

/* direction 1 rotates forward, -1 back. */
static void rotate(float *x, int64_t ldx, const int32_t *pos, const float *cos, const float *sin, int64_t N, int64_t H,
                   int64_t E, float direction)
{
    int64_t half = E / 2;
    vf sign = vf_set(direction);
    for (int64_t t = 0; t < N; t++) {
        const float *c = cos + pos[t] * half;
        const float *s = sin + pos[t] * half;
        for (int64_t h = 0; h < H; h++) {
            float *lower = x + t * ldx + h * E;
            float *upper = lower + half;
            int64_t i = 0;
            for (; i + VF_N <= half; i += VF_N) {
                vf a = vf_load(lower + i);
                vf b = vf_load(upper + i);
                vf c_i = vf_load(c + i);
                vf s_i = vf_load(s + i) * sign;
                vf_store(lower + i, vf_fma(a, c_i, -(b * s_i)));
                vf_store(upper + i, vf_fma(b, c_i, a * s_i));
            }
            for (; i < half; i++) {
                float a = lower[i];
                float b = upper[i];
                float s_i = s[i] * direction;
                lower[i] = fmaf(a, c[i], -(b * s_i));
                upper[i] = fmaf(b, c[i], a * s_i);
            }
        }
    }
}

void NAME(vlorpi_rope_fwd)(float *x, int64_t ldx, const int32_t *pos, const float *cos, const float *sin, int64_t N,
                           int64_t H, int64_t E)
{
    rotate(x, ldx, pos, cos, sin, N, H, E, 1);
}

void NAME(vlorpi_rope_bwd)(float *dx, int64_t ldx, const int32_t *pos, const float *cos, const float *sin, int64_t N,
                           int64_t H, int64_t E)
{
    rotate(dx, ldx, pos, cos, sin, N, H, E, -1);
}
