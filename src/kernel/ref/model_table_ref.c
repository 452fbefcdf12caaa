/* The reference level of the model kernels; what exists for float alone is here. */
#include <math.h>

#include "kernel/half.h"
#include "kernel/levels.h"
#include "kernel/ref/model_ref.h"

static void bf16_to_f32(float *y, const uint16_t *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = vlorpi_bf16_to_f32(x[i]);
    }
}

static void f32_to_bf16(uint16_t *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = vlorpi_f32_to_bf16(x[i]);
    }
}

static void f16_to_f32(float *y, const uint16_t *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = vlorpi_f16_to_f32(x[i]);
    }
}

static void f32_to_f16(uint16_t *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = vlorpi_f32_to_f16(x[i]);
    }
}

static void round_bf16(float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        x[i] = vlorpi_bf16_to_f32(vlorpi_f32_to_bf16(x[i]));
    }
}

static void embed_fwd_bf16(float *y, const uint16_t *table, const int32_t *ids, int64_t N, int64_t D)
{
    for (int64_t t = 0; t < N; t++) {
        bf16_to_f32(y + t * D, table + ids[t] * D, D);
    }
}

static int64_t argmax(const float *x, int64_t n)
{
    float best = -INFINITY;
    int64_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        if (x[i] > best) {
            best = x[i];
            at = i;
        }
    }
    return at;
}

static int64_t find_nonfinite(const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            return i;
        }
    }
    return -1;
}

const vlorpi_model_kernels vlorpi_model_kernels_ref = {
    .bf16_to_f32 = bf16_to_f32,
    .f32_to_bf16 = f32_to_bf16,
    .f16_to_f32 = f16_to_f32,
    .f32_to_f16 = f32_to_f16,
    .round_bf16 = round_bf16,
    .add = vlorpi_add_ref,
    .rmsnorm_fwd = vlorpi_rmsnorm_fwd_ref,
    .rmsnorm_bwd_x = vlorpi_rmsnorm_bwd_x_ref,
    .rmsnorm_bwd_w = vlorpi_rmsnorm_bwd_w_ref,
    .rope_fwd = vlorpi_rope_fwd_ref,
    .rope_bwd = vlorpi_rope_bwd_ref,
    .swiglu_fwd = vlorpi_swiglu_fwd_ref,
    .swiglu_bwd = vlorpi_swiglu_bwd_ref,
    .attention_fwd = vlorpi_attention_fwd_ref,
    .attention_bwd = vlorpi_attention_bwd_ref,
    .attention_scratch_floats = vlorpi_attention_scratch_floats_ref,
    .xent_fwd = vlorpi_xent_fwd_ref,
    .xent_fwd_bwd = vlorpi_xent_fwd_bwd_ref,
    .embed_fwd_f32 = vlorpi_embed_fwd_ref,
    .embed_fwd_bf16 = embed_fwd_bf16,
    .gather_rows = vlorpi_gather_rows_ref,
    .scatter_add_rows = vlorpi_scatter_add_rows_ref,
    .argmax = argmax,
    .find_nonfinite = find_nonfinite,
};
