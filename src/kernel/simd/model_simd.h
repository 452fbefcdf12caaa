/* model_simd.h - the vector kernels of model_kernels.h of one level; shapes are there.
 *
 * Layer 2, included by simd sources only.
 */
#ifndef VLORPI_KERNEL_SIMD_MODEL_SIMD_H
#define VLORPI_KERNEL_SIMD_MODEL_SIMD_H

#include "kernel/model_kernels.h"
#include "kernel/simd/vec.h"

void NAME(vlorpi_bf16_to_f32)(float *y, const uint16_t *x, int64_t n);
void NAME(vlorpi_f32_to_bf16)(uint16_t *y, const float *x, int64_t n);
void NAME(vlorpi_f16_to_f32)(float *y, const uint16_t *x, int64_t n);
void NAME(vlorpi_f32_to_f16)(uint16_t *y, const float *x, int64_t n);
void NAME(vlorpi_round_bf16)(float *x, int64_t n);

void NAME(vlorpi_add)(float *y, const float *x, int64_t n);

void NAME(vlorpi_rmsnorm_fwd)(float *y, float *rstd, const float *x, const float *w, int64_t N, int64_t D, float eps);
void NAME(vlorpi_rmsnorm_bwd_x)(float *dx, const float *dy, const float *x, const float *w, const float *rstd,
                                int64_t N, int64_t D);
void NAME(vlorpi_rmsnorm_bwd_w)(float *dw, const float *dy, const float *x, const float *rstd, int64_t N, int64_t D,
                                int64_t d_begin, int64_t d_end);

void NAME(vlorpi_rope_fwd)(float *x, int64_t ldx, const int32_t *pos, const float *cos, const float *sin, int64_t N,
                           int64_t H, int64_t E);
void NAME(vlorpi_rope_bwd)(float *dx, int64_t ldx, const int32_t *pos, const float *cos, const float *sin, int64_t N,
                           int64_t H, int64_t E);

void NAME(vlorpi_swiglu_fwd)(float *y, const float *gate, const float *up, int64_t n);
void NAME(vlorpi_swiglu_bwd)(float *dgate, float *dup, const float *dy, const float *gate, const float *up,
                             int64_t n);

void NAME(vlorpi_attention_fwd)(float *o, float *lse, const float *q, const float *k, const float *v,
                                const vlorpi_attention_shape *shape, float *scratch);
void NAME(vlorpi_attention_bwd)(float *dq, float *dk, float *dv, const float *q, const float *k, const float *v,
                                const float *o, const float *d_o, const float *lse,
                                const vlorpi_attention_shape *shape, float *scratch);
int64_t NAME(vlorpi_attention_scratch_floats)(int64_t E);

void NAME(vlorpi_xent_fwd)(float *loss, const float *logits, const int32_t *target, int64_t N, int64_t V);
void NAME(vlorpi_xent_fwd_bwd)(float *loss, float *logits, const int32_t *target, int64_t N, int64_t V);

void NAME(vlorpi_embed_fwd_f32)(float *y, const float *table, const int32_t *ids, int64_t N, int64_t D);
void NAME(vlorpi_embed_fwd_bf16)(float *y, const uint16_t *table, const int32_t *ids, int64_t N, int64_t D);
void NAME(vlorpi_gather_rows)(float *y, const float *x, int64_t ldx, const int32_t *rows, int64_t N, int64_t D);
void NAME(vlorpi_scatter_add_rows)(float *y, int64_t ldy, const float *x, const int32_t *rows, int64_t N, int64_t D);
int64_t NAME(vlorpi_argmax)(const float *x, int64_t n);
int64_t NAME(vlorpi_find_nonfinite)(const float *x, int64_t n);

#endif
