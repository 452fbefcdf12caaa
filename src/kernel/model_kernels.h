/* model_kernels.h - the operations of a decoder besides the matrix product.
 *
 * Layer 2.  Letters: N tokens (rows), D model width, H query heads, G key-value heads, E head
 * width, F feed-forward width, V vocabulary.  All arrays are row-major f32 unless said otherwise.
 * Each output is either overwritten (never read) or accumulated into (read and added to).
 * Kernels are serial; sizes may be 0; outputs overlap no input unless "in place" is said.
 */
#ifndef VLORPI_KERNEL_MODEL_KERNELS_H
#define VLORPI_KERNEL_MODEL_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* Geometry of one attention head over one segment of a packed batch. */
typedef struct vlorpi_attention_shape {
    int64_t n_q;      /* query rows */
    int64_t n_kv;     /* key rows, at least q_offset + n_q */
    int64_t q_offset; /* query row i stands at key row q_offset + i and sees the keys up to it; >= 0 */
    int64_t window;   /* of these it sees the last so many, itself included; 0: all */
    int64_t E;        /* head width */
    int64_t ldq, ldk, ldv, ldo; /* row strides, in elements */
    float scale;      /* multiplies q.k, normally 1/sqrt(E) */
    const int32_t *key_rows; /* [n_kv] key j is this row of k and v; NULL: row j.  Forward only */
} vlorpi_attention_shape;

/* The keys that query row i sees: from _first to q_offset + i. */
static inline int64_t vlorpi_attention_first(const vlorpi_attention_shape *shape, int64_t i)
{
    int64_t end = shape->q_offset + i + 1;
    return shape->window > 0 && shape->window < end ? end - shape->window : 0;
}

/* Where key j lies in k and v. */
static inline int64_t vlorpi_attention_key_row(const vlorpi_attention_shape *shape, int64_t j)
{
    return shape->key_rows != NULL ? shape->key_rows[j] : j;
}

typedef struct vlorpi_model_kernels {
    /* conversions; n elements; y overwritten */
    void (*bf16_to_f32)(float *y, const uint16_t *x, int64_t n);
    void (*f32_to_bf16)(uint16_t *y, const float *x, int64_t n); /* to nearest even; NaN stays NaN */
    void (*f16_to_f32)(float *y, const uint16_t *x, int64_t n);
    void (*f32_to_f16)(uint16_t *y, const float *x, int64_t n); /* to nearest even */

    /* x[i] = bf16(x[i]), in place: what storing in bf16 and reading back does */
    void (*round_bf16)(float *x, int64_t n);

    /* y[i] += x[i] */
    void (*add)(float *y, const float *x, int64_t n);

    /* rstd[t] = 1 / sqrt(mean_d x[t,d]^2 + eps);  y[t,d] = x[t,d] * rstd[t] * w[d]
     *   y [N, D] overwritten (may be x), rstd [N] overwritten (NULL: not wanted), x [N, D], w [D] */
    void (*rmsnorm_fwd)(float *y, float *rstd, const float *x, const float *w, int64_t N, int64_t D, float eps);
    /* dx[t,d] += rstd w[d] dy[t,d] - x[t,d] rstd^3 / D * sum_j dy[t,j] w[j] x[t,j]
     *   dx [N, D] accumulated (the residual path's gradient is already there) */
    void (*rmsnorm_bwd_x)(float *dx, const float *dy, const float *x, const float *w, const float *rstd, int64_t N,
                          int64_t D);
    /* dw[d] += sum_t dy[t,d] x[t,d] rstd[t]  for d in [d_begin, d_end)
     *   dw [D] accumulated; the caller splits columns over threads */
    void (*rmsnorm_bwd_w)(float *dw, const float *dy, const float *x, const float *rstd, int64_t N, int64_t D,
                          int64_t d_begin, int64_t d_end);

    /* Rotary positions, Hugging Face halves: for each head and i < E/2, with (c, s) = table row pos[t]
     *   (x[i], x[i+E/2]) <- (x[i] c[i] - x[i+E/2] s[i],  x[i+E/2] c[i] + x[i] s[i])     in place
     *   x [N, H*E] row stride ldx; cos, sin [max_pos, E/2]; pos [N] in [0, max_pos) */
    void (*rope_fwd)(float *x, int64_t ldx, const int32_t *pos, const float *cos, const float *sin, int64_t N,
                     int64_t H, int64_t E);
    /* the transpose: rotates back; dx in place */
    void (*rope_bwd)(float *dx, int64_t ldx, const int32_t *pos, const float *cos, const float *sin, int64_t N,
                     int64_t H, int64_t E);

    /* y[i] = silu(gate[i]) * up[i], silu(z) = z / (1 + exp(-z)); y overwritten (may be gate or up) */
    void (*swiglu_fwd)(float *y, const float *gate, const float *up, int64_t n);
    /* dgate[i], dup[i] overwritten; each may be the array dy, gate or up of the same index */
    void (*swiglu_bwd)(float *dgate, float *dup, const float *dy, const float *gate, const float *up, int64_t n);

    /* Causal attention of one head, tiled with an online softmax: no n_q x n_kv matrix.  Sums run over the
     * keys that a query sees.
     *   p_ij = exp(scale q_i.k_j - lse_i);  o_i = sum_j p_ij v_j;  lse_i = log sum_j exp(scale q_i.k_j)
     *   o [n_q, E] overwritten; lse [n_q] stride 1 overwritten (NULL: not wanted)
     *   scratch: attention_scratch_floats(E) floats, 64-byte aligned, one per thread */
    void (*attention_fwd)(float *o, float *lse, const float *q, const float *k, const float *v,
                          const vlorpi_attention_shape *shape, float *scratch);
    /* dq [n_q, E] overwritten; dk, dv [n_kv, E] accumulated (query heads of a group share them); o and
     * d_o have stride ldo, dq ldq, dk ldk, dv ldv */
    void (*attention_bwd)(float *dq, float *dk, float *dv, const float *q, const float *k, const float *v,
                          const float *o, const float *d_o, const float *lse, const vlorpi_attention_shape *shape,
                          float *scratch);
    int64_t (*attention_scratch_floats)(int64_t E);

    /* Softmax cross-entropy of N rows, each of V logits, against target[t] in [0, V).
     *   loss [N] overwritten: log sum_v exp(logit[t,v]) - logit[t,target[t]]
     *   xent_fwd_bwd also turns logits [N, V] into their gradient, softmax - onehot, in place;
     *   xent_fwd leaves them as they are */
    void (*xent_fwd)(float *loss, const float *logits, const int32_t *target, int64_t N, int64_t V);
    void (*xent_fwd_bwd)(float *loss, float *logits, const int32_t *target, int64_t N, int64_t V);

    /* y[t] = table[ids[t]]: y [N, D] overwritten, table [V, D] */
    void (*embed_fwd_f32)(float *y, const float *table, const int32_t *ids, int64_t N, int64_t D);
    void (*embed_fwd_bf16)(float *y, const uint16_t *table, const int32_t *ids, int64_t N, int64_t D);

    /* y[t] = x[rows[t]]: gathers N rows of width D; x row stride ldx, y contiguous, overwritten */
    void (*gather_rows)(float *y, const float *x, int64_t ldx, const int32_t *rows, int64_t N, int64_t D);
    /* y[rows[t]] += x[t]; rows may repeat; y row stride ldy, x contiguous */
    void (*scatter_add_rows)(float *y, int64_t ldy, const float *x, const int32_t *rows, int64_t N, int64_t D);
    /* the index of the largest of n values, the lowest one among equals; NaN is passed over; 0 when
     * there is nothing to choose */
    int64_t (*argmax)(const float *x, int64_t n);
    /* the first index whose value is not finite, or -1 */
    int64_t (*find_nonfinite)(const float *x, int64_t n);
} vlorpi_model_kernels;

#endif
