/* ops.h - the model's operations over all tokens of a micro-batch, split over threads.
 *
 * Layer 4.  Knows: kernels and an exec.  Does not know: layers or buffers.
 *
 * Kernels are serial; here their outputs are cut in chunks whose size depends on widths alone, so
 * the number of threads changes no bit.  Letters and "overwritten", "accumulated" as in
 * kernel/model_kernels.h; activations are row-major and contiguous.
 */
#ifndef VLORPI_MODEL_OPS_H
#define VLORPI_MODEL_OPS_H

#include <stdbool.h>

#include <vlorp/rng.h>

#include "kernel/kernel.h"

typedef struct vlorpi_ops {
    const vlorpi_model_kernels *kernels;
    vlorp_exec exec;
    vlorpi_gemm_ctx gemm;
    float *attention_scratch; /* [n_threads, attention_scratch_stride] */
    int64_t attention_scratch_stride;
} vlorpi_ops;

/* A linear layer: y = x wᵀ + bias. */
typedef struct vlorpi_linear {
    const void *w; /* [n, m] row-major */
    vlorp_dtype dtype;
    int64_t n, m;
    const float *bias; /* [n], or NULL */
} vlorpi_linear;

/* y [N, n] overwritten, or accumulated into (the residual stream); x [N, m] */
void vlorpi_ops_linear(const vlorpi_ops *ops, float *y, bool accumulate, const float *x, const vlorpi_linear *linear,
                       int64_t N);
/* dx [N, m] overwritten, or accumulated into; dy [N, n] */
void vlorpi_ops_linear_bwd(const vlorpi_ops *ops, float *dx, bool accumulate, const float *dy,
                           const vlorpi_linear *linear, int64_t N);

/* y [N, D] = the table's rows ids; table [V, D] of dtype */
void vlorpi_ops_embed(const vlorpi_ops *ops, float *y, const void *table, vlorp_dtype dtype, const int32_t *ids,
                      int64_t N, int64_t D);

/* y (may be x), rstd overwritten (rstd NULL: not wanted); copy [N, D] receives x as it is (NULL: not wanted) */
void vlorpi_ops_norm(const vlorpi_ops *ops, float *y, float *rstd, float *copy, const float *x, const float *w,
                     int64_t N, int64_t D, float eps);
/* dx [N, D] and dw [D] accumulated (dw NULL: not wanted) */
void vlorpi_ops_norm_bwd(const vlorpi_ops *ops, float *dx, float *dw, const float *dy, const float *x, const float *w,
                         const float *rstd, int64_t N, int64_t D);

/* x [N, H*E] rotated in place, or back */
typedef struct vlorpi_rope {
    const int32_t *positions;
    const float *cos, *sin;
} vlorpi_rope;
void vlorpi_ops_rope(const vlorpi_ops *ops, float *x, const vlorpi_rope *rope, int64_t N, int64_t H, int64_t E);
void vlorpi_ops_rope_bwd(const vlorpi_ops *ops, float *dx, const vlorpi_rope *rope, int64_t N, int64_t H, int64_t E);

/* y [n] overwritten, may be gate or up */
void vlorpi_ops_swiglu(const vlorpi_ops *ops, float *y, const float *gate, const float *up, int64_t n);
/* gate and up become their gradients, in place; dy [n] */
void vlorpi_ops_swiglu_bwd(const vlorpi_ops *ops, float *gate, float *up, const float *dy, int64_t n);

/* Where a segment's keys and values lie when they are in a cache. */
typedef struct vlorpi_segment_keys {
    const int32_t *rows; /* [n_past + the segment's tokens] rows of k and v, from the sequence's first token on */
    int64_t n_past;      /* tokens of the sequence before the segment */
} vlorpi_segment_keys;

/* One attention layer over segments; q, o and dq are [N, H*E], k and v, dk and dv [.., G*E]. */
typedef struct vlorpi_attention {
    int64_t H, G, E;
    const int32_t *segment_begin; /* [n_segments + 1] */
    int64_t n_segments;
    const vlorpi_segment_keys *keys; /* [n_segments]; NULL: the rows of the segments' own tokens */
    int64_t window; /* a token sees the last so many; 0: all */
    int64_t ld_lse; /* lse is [H, ld_lse] */
} vlorpi_attention;
/* o and lse overwritten (lse NULL: not wanted) */
void vlorpi_ops_attention(const vlorpi_ops *ops, float *o, float *lse, const float *q, const float *k, const float *v,
                          const vlorpi_attention *attention);
/* dq, dk, dv overwritten; keys must be NULL.  dk and dv have room for H/G parts [N, G*E]: the first is the result,
 * the others are scratch. */
void vlorpi_ops_attention_bwd(const vlorpi_ops *ops, float *dq, float *dk, float *dv, const float *q, const float *k,
                              const float *v, const float *o, const float *d_o, const float *lse,
                              const vlorpi_attention *attention);

/* y [N, m] = x with entries dropped and the others divided by the share that stays, or added to y.  Entry (t, j) is
 * dropped when vlorp_rng_draw16(rng, first_row + t, j) is below 2^16 probability. */
typedef struct vlorpi_dropout {
    vlorp_rng rng;
    int64_t first_row;
    double probability; /* in [0, 1) */
} vlorpi_dropout;
void vlorpi_ops_dropout(const vlorpi_ops *ops, float *y, bool accumulate, const float *x, const vlorpi_dropout *dropout,
                        int64_t N, int64_t m);
/* x [n] times factor, in place */
void vlorpi_ops_scale(const vlorpi_ops *ops, float *x, float factor, int64_t n);

/* loss [N] overwritten; with_grad turns logits [N, V] into their gradient */
void vlorpi_ops_xent(const vlorpi_ops *ops, float *loss, float *logits, const int32_t *targets, bool with_grad,
                     int64_t N, int64_t V);

/* best [N] overwritten: the likeliest token of each row, the lowest id among equals; logits [N, V] */
void vlorpi_ops_argmax(const vlorpi_ops *ops, int32_t *best, const float *logits, int64_t N, int64_t V);

/* rows of x = y [N, D], the rows all different */
void vlorpi_ops_put_rows(const vlorpi_ops *ops, float *x, const float *y, const int32_t *rows, int64_t N, int64_t D);
/* y [N, D] = rows of x; x [rows of x] += y */
void vlorpi_ops_gather(const vlorpi_ops *ops, float *y, const float *x, const int32_t *rows, int64_t N, int64_t D);
void vlorpi_ops_scatter_add(const vlorpi_ops *ops, float *x, const float *y, const int32_t *rows, int64_t N,
                            int64_t D);

/* kept [n] of dtype receives x; for bf16 x itself is rounded alike, in place */
void vlorpi_ops_keep(const vlorpi_ops *ops, void *kept, vlorp_dtype dtype, float *x, int64_t n);
/* x [n] = kept */
void vlorpi_ops_recall(const vlorpi_ops *ops, float *x, const void *kept, vlorp_dtype dtype, int64_t n);

#endif
