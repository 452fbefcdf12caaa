/* optim_codes_simd.h - what optim_codes_simd.c gives to the table in optim_update.c, per level.
 *
 * Layer 2.
 */
#ifndef VLORPI_KERNEL_SIMD_OPTIM_CODES_SIMD_H
#define VLORPI_KERNEL_SIMD_OPTIM_CODES_SIMD_H

#include "kernel/optim_kernels.h"
#include "kernel/simd/vec.h"

void NAME(vlorpi_adamw8_block)(uint8_t *m8, uint8_t *v8, float *m_most, float *v_most, float *g,
                               const vlorpi_code_map *maps, vlorpi_adamw u, int64_t n);

#endif
