#include "kernel/half.h"
#include "kernel/simd/model_simd.h"

void NAME(vlorpi_bf16_to_f32)(float *y, const uint16_t *x, int64_t n)
{
    int64_t i = 0;
    for (; i + VF_N <= n; i += VF_N) {
        vf_store(y + i, vf_load_bf16(x + i));
    }
    for (; i < n; i++) {
        y[i] = vlorpi_bf16_to_f32(x[i]);
    }
}

void NAME(vlorpi_f32_to_bf16)(uint16_t *y, const float *x, int64_t n)
{
    int64_t i = 0;
    for (; i + VF_N <= n; i += VF_N) {
        vu_store_high16(y + i, vu_round_bf16(vf_load(x + i)));
    }
    for (; i < n; i++) {
        y[i] = vlorpi_f32_to_bf16(x[i]);
    }
}

void NAME(vlorpi_f16_to_f32)(float *y, const uint16_t *x, int64_t n)
{
    int64_t i = 0;
    for (; i + VF_N <= n; i += VF_N) {
        vf_store(y + i, vf_load_f16(x + i));
    }
    for (; i < n; i++) {
        y[i] = vlorpi_f16_to_f32(x[i]);
    }
}

void NAME(vlorpi_f32_to_f16)(uint16_t *y, const float *x, int64_t n)
{
    int64_t i = 0;
    for (; i + VF_N <= n; i += VF_N) {
        vf_store_f16(y + i, vf_load(x + i));
    }
    for (; i < n; i++) {
        y[i] = vlorpi_f32_to_f16(x[i]);
    }
}

void NAME(vlorpi_round_bf16)(float *x, int64_t n)
{
    int64_t i = 0;
    for (; i + VF_N <= n; i += VF_N) {
        vf_store(x + i, (vf)(vu_round_bf16(vf_load(x + i)) & 0xffff0000u));
    }
    for (; i < n; i++) {
        x[i] = vlorpi_bf16_to_f32(vlorpi_f32_to_bf16(x[i]));
    }
}
