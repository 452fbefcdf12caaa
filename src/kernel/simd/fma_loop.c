/* What the machine can do at most: fused multiply-adds in registers, enough of them independent to
 * fill every pipeline. */
#include "kernel/levels.h"
#include "kernel/simd/gemm_pack.h"

float NAME(vlorpi_fma_loop)(int64_t n_rounds)
{
    vf acc[FMA_LOOP_CHAINS];
    const vf a = vf_set(0.999f);
    const vf b = vf_set(1e-3f);
#pragma GCC unroll 12
    for (int i = 0; i < FMA_LOOP_CHAINS; i++) {
        acc[i] = vf_set((float)i);
    }
    for (int64_t round = 0; round < n_rounds; round++) {
#pragma GCC unroll 12
        for (int i = 0; i < FMA_LOOP_CHAINS; i++) {
            acc[i] = vf_fma(acc[i], a, b);
        }
    }
    vf sum = vf_zero();
#pragma GCC unroll 12
    for (int i = 0; i < FMA_LOOP_CHAINS; i++) {
        sum += acc[i];
    }
    return vf_sum(sum);
}
