#include "kernel/levels.h"
#include "kernel/simd/model_simd.h"

const vlorpi_model_kernels NAME(vlorpi_model_kernels) = {
    .bf16_to_f32 = NAME(vlorpi_bf16_to_f32),
    .f32_to_bf16 = NAME(vlorpi_f32_to_bf16),
    .f16_to_f32 = NAME(vlorpi_f16_to_f32),
    .f32_to_f16 = NAME(vlorpi_f32_to_f16),
    .round_bf16 = NAME(vlorpi_round_bf16),
    .add = NAME(vlorpi_add),
    .rmsnorm_fwd = NAME(vlorpi_rmsnorm_fwd),
    .rmsnorm_bwd_x = NAME(vlorpi_rmsnorm_bwd_x),
    .rmsnorm_bwd_w = NAME(vlorpi_rmsnorm_bwd_w),
    .rope_fwd = NAME(vlorpi_rope_fwd),
    .rope_bwd = NAME(vlorpi_rope_bwd),
    .swiglu_fwd = NAME(vlorpi_swiglu_fwd),
    .swiglu_bwd = NAME(vlorpi_swiglu_bwd),
    .attention_fwd = NAME(vlorpi_attention_fwd),
    .attention_bwd = NAME(vlorpi_attention_bwd),
    .attention_scratch_floats = NAME(vlorpi_attention_scratch_floats),
    .xent_fwd = NAME(vlorpi_xent_fwd),
    .xent_fwd_bwd = NAME(vlorpi_xent_fwd_bwd),
    .embed_fwd_f32 = NAME(vlorpi_embed_fwd_f32),
    .embed_fwd_bf16 = NAME(vlorpi_embed_fwd_bf16),
    .gather_rows = NAME(vlorpi_gather_rows),
    .scatter_add_rows = NAME(vlorpi_scatter_add_rows),
    .argmax = NAME(vlorpi_argmax),
    .find_nonfinite = NAME(vlorpi_find_nonfinite),
};
