#include "kernel/optim_codes.h"

void vlorpi_adamw8_block_ref(uint8_t *m8, uint8_t *v8, float *m_most, float *v_most, float *g,
                             const vlorpi_code_map *maps, vlorpi_adamw u, int64_t n)
{
    float m[VLORPI_CODE_BLOCK];
    float v[VLORPI_CODE_BLOCK];
    float largest[2] = {0, 0};
    for (int64_t i = 0; i < n; i++) {
        float grad = g[i] * u.grad_scale;
        m[i] = u.beta1 * (maps[0].values[m8[i]] * *m_most) + u.fresh1 * grad;
        v[i] = u.beta2 * (maps[1].values[v8[i]] * *v_most) + u.fresh2 * (grad * grad);
        g[i] = u.step * m[i] / (sqrtf(v[i]) * u.rsqrt_bc2 + u.eps);
        largest[0] = fabsf(m[i]) > largest[0] ? fabsf(m[i]) : largest[0];
        largest[1] = v[i] > largest[1] ? v[i] : largest[1];
    }
    float divisors[2] = {vlorpi_code_divisor(largest[0]), vlorpi_code_divisor(largest[1])};
    for (int64_t i = 0; i < n; i++) {
        m8[i] = vlorpi_code_signed(&maps[0], m[i], divisors[0]);
        v8[i] = (uint8_t)vlorpi_code_rank(&maps[1], v[i] / divisors[1]);
    }
    *m_most = largest[0];
    *v_most = largest[1];
}
