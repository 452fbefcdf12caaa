/* model_ref.h - the reference kernels of model_kernels.h over the type real; shapes are there.
 *
 * Layer 2, included by ref/ and by tests.
 */
#ifndef VLORPI_KERNEL_REF_MODEL_REF_H
#define VLORPI_KERNEL_REF_MODEL_REF_H

#include "kernel/model_kernels.h"
#include "kernel/ref/real.h"

void REF(vlorpi_add)(real *y, const real *x, int64_t n);

void REF(vlorpi_rmsnorm_fwd)(real *y, real *rstd, const real *x, const real *w, int64_t N, int64_t D, float eps);
void REF(vlorpi_rmsnorm_bwd_x)(real *dx, const real *dy, const real *x, const real *w, const real *rstd, int64_t N,
                               int64_t D);
void REF(vlorpi_rmsnorm_bwd_w)(real *dw, const real *dy, const real *x, const real *rstd, int64_t N, int64_t D,
                               int64_t d_begin, int64_t d_end);

void REF(vlorpi_rope_fwd)(real *x, int64_t ldx, const int32_t *pos, const real *cos, const real *sin, int64_t N,
                          int64_t H, int64_t E);
void REF(vlorpi_rope_bwd)(real *dx, int64_t ldx, const int32_t *pos, const real *cos, const real *sin, int64_t N,
                          int64_t H, int64_t E);

void REF(vlorpi_swiglu_fwd)(real *y, const real *gate, const real *up, int64_t n);
void REF(vlorpi_swiglu_bwd)(real *dgate, real *dup, const real *dy, const real *gate, const real *up, int64_t n);

void REF(vlorpi_attention_fwd)(real *o, real *lse, const real *q, const real *k, const real *v,
                               const vlorpi_attention_shape *shape, real *scratch);
void REF(vlorpi_attention_bwd)(real *dq, real *dk, real *dv, const real *q, const real *k, const real *v,
                               const real *o, const real *d_o, const real *lse, const vlorpi_attention_shape *shape,
                               real *scratch);
int64_t REF(vlorpi_attention_scratch_floats)(int64_t E);

void REF(vlorpi_xent_fwd)(real *loss, const real *logits, const int32_t *target, int64_t N, int64_t V);
void REF(vlorpi_xent_fwd_bwd)(real *loss, real *logits, const int32_t *target, int64_t N, int64_t V);

void REF(vlorpi_embed_fwd)(real *y, const real *table, const int32_t *ids, int64_t N, int64_t D);
void REF(vlorpi_gather_rows)(real *y, const real *x, int64_t ldx, const int32_t *rows, int64_t N, int64_t D);
void REF(vlorpi_scatter_add_rows)(real *y, int64_t ldy, const real *x, const int32_t *rows, int64_t N, int64_t D);

#endif
