#include "exp_probe.h"

#include "kernel/simd/vec.h"

void NAME(exp_probe)(float *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += VF_N) {
        vf_store(y + i, vf_exp(vf_load(x + i)));
    }
}
