/* optim_elements.h - the element formulas of the update rules, shared by every level.
 *
 * Layer 2, private to the update kernels.  Vector code writes the same operations in the same
 * order, none fused, so that all levels give the same bits.
 */
#ifndef VLORPI_KERNEL_OPTIM_ELEMENTS_H
#define VLORPI_KERNEL_OPTIM_ELEMENTS_H

#include <math.h>

#include "kernel/half.h"
#include "kernel/optim_kernels.h"

/* bf16 of x for element (rounding.row, col). */
static inline uint16_t vlorpi_round_bf16(float x, vlorpi_rounding rounding, int64_t col)
{
    uint32_t u = vlorpi_f32_bits(x);
    if (rounding.rng == NULL || (u & 0x7F800000u) == 0x7F800000u) {
        return vlorpi_f32_to_bf16(x);
    }
    return (uint16_t)((u + vlorp_rng_draw16(rounding.rng, rounding.row, (uint32_t)col)) >> 16);
}

static inline float vlorpi_updated(float w, float mh, float b, vlorpi_update u)
{
    float moved = (w - u.shrink * w) - u.step * mh / (u.a * b + u.eps);
    return moved - u.decay * moved;
}

static inline float vlorpi_adamw_element(float w, float *m, float *v, float *g, vlorpi_adamw u)
{
    float grad = *g * u.grad_scale;
    *m = u.beta1 * *m + u.fresh1 * grad;
    *v = u.beta2 * *v + u.fresh2 * (grad * grad);
    *g = 0;
    return (w - u.decay * w) - u.step * *m / (sqrtf(*v) * u.rsqrt_bc2 + u.eps);
}

#endif
