/* decoder.h - what the model's own files share: its buffers and the parts of a pass.
 *
 * Layer 4, private to src/model.  Letters as in kernel/model_kernels.h; T is usage.max_tokens.
 *
 * Life of the residual stream: forward leaves the last layer's output in x; the head turns x, block
 * by block, into its own gradient; backward adds to it layer by layer, down to the embedding.
 */
#ifndef VLORPI_MODEL_DECODER_H
#define VLORPI_MODEL_DECODER_H

#include "model/lora.h"
#include "model/model.h"
#include "model/names.h"
#include "model/ops.h"

/* What one layer keeps from forward for backward.  Norm outputs and the MLP's product are recomputed.
 * With checkpointing, and without backward, all layers share one set. */
typedef struct vlorpi_layer_acts {
    float *rstd1;   /* [T] of the attention norm */
    float *q;       /* [T, H*E] rotated, but as projected where q and k are normalised */
    float *k, *v;   /* [T, G*E], k as q */
    float *o;       /* [T, H*E] attention's output */
    float *lse;     /* [H, T] */
    float *x_mid;   /* [T, D] the stream between the two halves */
    float *rstd2;   /* [T] of the MLP norm */
    float *gate;    /* [T, F]; backward turns gate and up into their gradients */
    float *up;
} vlorpi_layer_acts;

typedef struct vlorpi_layer {
    int param[VLORPI_SLOT_N_LAYER]; /* index in the parameter table, -1: the layer has none */
    int adapter[VLORPI_SLOT_N_LAYER]; /* of a weight slot: A's index among the adapters, B's follows; -1: none */
    void *x_in;                     /* [T, D] the layer's input, in the weights' dtype */
    vlorpi_layer_acts acts;
    float *cache_k, *cache_v;       /* [cache_tokens, G*E] */
} vlorpi_layer;

struct vlorpi_model {
    vlorpi_mem *mem;
    const vlorpi_kernels *kernels;
    vlorpi_model_config config;
    vlorp_dtype dtype;
    vlorpi_params params;
    vlorpi_params adapters;      /* empty, or what trains while all else is frozen */
    vlorpi_lora lora;            /* of the adapters */
    int embed, final_norm, head; /* parameter indices; head is embed when they are tied */
    vlorpi_layer *layers;        /* [L] */
    vlorpi_ops ops;

    vlorpi_model_usage usage;
    bool ready; /* laid out over real memory */
    int64_t head_rows; /* target tokens per block of the head */
    int64_t n_extended; /* tokens of the last cached pass, whose stream is in x */
    vlorpi_model_seconds seconds;

    /* activations; buffers of one bracket are never alive at the same time and share memory */
    float *x;                            /* [T, D] */
    float *h, *act, *d_o, *x_in32;       /* {h [T, D], x_in32 [T, D] under bf16} {act [T, F]} {d_o [T, H*E]} */
    float *d_act, *dh, *dq, *dk, *dv;    /* {d_act [T, F]} {dh [T, D]} {dq, dk, dv [T, H*E]; these: */
    float *q_normed, *k_normed;          /* with q/k norm: [T, H*E], [T, G*E] normalised and rotated for backward */
    float *q_rstd, *k_rstd;              /* [T, H], [T, G] of these norms} */
    float *head_x, *head_h, *head_dh;    /* [head_rows, D] */
    float *logits, *losses, *head_rstd;  /* [head_rows, V], [head_rows], [head_rows] */
    float *lora_h, *lora_dh; /* [T, rank] s drop(x) Aᵀ and s dy B of the linear layer at hand */
    float *lora_x;           /* [T, widest input] drop(x), then what is passed back to it; NULL without dropout */
    uint64_t dropout_seed;
    int64_t dropout_step, dropout_first; /* the pass's first token among the step's */

    /* workspace */
    float *rope_cos, *rope_sin; /* [max positions, E/2] */
    float *norm_w;              /* [widest norm] a norm's weight as fp32 */
    float *bias_w;              /* [widest output] a bias as fp32 */
    float *vector_grad;         /* [widest output] the gradient of a norm or a bias; NULL where they are frozen */
    float *ones;                /* [T] when there are biases */
    int32_t *target_rows, *target_ids;
    /* of a pass with a cache; the last two for max_segments */
    int32_t *step_ids, *step_positions, *step_rows; /* [T] */
    int32_t *step_begin;
    vlorpi_segment_keys *step_keys;
};

/* One run through the layers. */
typedef struct vlorpi_pass {
    const int32_t *ids; /* [n] */
    int64_t n;
    vlorpi_rope rope;
    vlorpi_attention attention;
    bool keep; /* backward follows: keep what it needs, with layer inputs in the weights' dtype */
    const int32_t *cache_rows; /* [n] where the tokens' keys and values are put, for attention.keys; NULL: no cache */
} vlorpi_pass;

/* Index of the parameter of a slot, or -1; layer is ignored outside the layers. */
int vlorpi_model_param_at(const vlorpi_model *model, vlorpi_slot slot, int layer);

/* The linear layer of a weight slot; its bias is valid until the next such call. */
vlorpi_linear vlorpi_model_linear(const vlorpi_model *model, int layer, vlorpi_slot slot);
vlorpi_linear vlorpi_model_head(const vlorpi_model *model);
/* The same with its adapter: y as in vlorpi_ops_linear, dx as in _linear_bwd, which leaves lora_dh for the call after. */
void vlorpi_model_linear_fwd(const vlorpi_model *model, const vlorpi_pass *pass, int layer, vlorpi_slot slot, float *y,
                             bool accumulate, const float *x);
void vlorpi_model_linear_bwd(const vlorpi_model *model, const vlorpi_pass *pass, int layer, vlorpi_slot slot, float *dx,
                             bool accumulate, const float *dy);
/* Hands the gradients of the slot's A and B to the sink, right after its _linear_bwd. */
VLORP_CHECKED vlorp_status vlorpi_model_hand_over_lora(const vlorpi_model *model, const vlorpi_pass *pass, int layer,
                                                       vlorpi_slot slot, const float *dy, const float *x,
                                                       const vlorpi_sink *sink, vlorp_err *err);
/* Whether only adapters train. */
bool vlorpi_model_is_frozen(const vlorpi_model *model);
/* The buffers of the adapters, which live through a whole pass. */
void vlorpi_model_place_lora(vlorpi_model *model, vlorpi_arena *arena);
/* A norm's weight as fp32, valid until the next such call. */
const float *vlorpi_model_norm(const vlorpi_model *model, int param);
bool vlorpi_model_has_biases(const vlorpi_model_config *config);

/* The pass's attention as the layer has it. */
vlorpi_attention vlorpi_model_attention(const vlorpi_model *model, const vlorpi_pass *pass, int layer);

/* Embedding and all layers: x = the stream after the last layer. */
void vlorpi_model_forward(vlorpi_model *model, const vlorpi_pass *pass);
/* A checkpointed layer once more, from its kept input up to gate and up. */
void vlorpi_model_recompute(vlorpi_model *model, const vlorpi_pass *pass, int layer);
/* The layer's queries x (slot Q_NORM) or keys x (K_NORM) made ready for attention: normalised head by head
 * where the family does that, and rotated.  In place, and in the result; but where they are normalised
 * and backward follows, x stays and the result is q_normed or k_normed. */
float *vlorpi_model_ready(const vlorpi_model *model, const vlorpi_pass *pass, int layer, vlorpi_slot slot, float *x);

/* The layer's input as fp32, in place or in x_in32. */
const float *vlorpi_model_layer_input(const vlorpi_model *model, int layer, int64_t n);

/* The head over n_targets target rows (model->target_rows, target_ids), and with a sink its backward:
 * x becomes its own gradient. */
VLORP_CHECKED vlorp_status vlorpi_model_head_loss(vlorpi_model *model, int64_t n_tokens, int64_t n_targets,
                                                  const vlorpi_sink *sink, double *loss_sum, vlorp_err *err);
/* The likeliest token of each of the listed rows of x, and -log p of the row's target; E_NUMERIC where that is not
 * finite. */
VLORP_CHECKED vlorp_status vlorpi_model_head_scores(vlorpi_model *model, const int32_t *rows, const int32_t *targets,
                                                    int64_t n_rows, float *losses, int32_t *best, vlorp_err *err);
/* Final norm and head of the listed rows of x. */
void vlorpi_model_head_logits(vlorpi_model *model, const int32_t *rows, int64_t n_rows, float *logits);

/* From the gradient in x through all layers to the embedding. */
VLORP_CHECKED vlorp_status vlorpi_model_backward(vlorpi_model *model, const vlorpi_pass *pass,
                                                 const vlorpi_sink *sink, vlorp_err *err);

#endif
