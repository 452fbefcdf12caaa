/* Backward through the layers, last first.  model->x holds the gradient of the residual stream and
 * is added to in place; every linear layer's input gradient is computed before its sink is called. */
#include <string.h>

#include "base/clock.h"
#include "base/status.h"
#include "model/decoder.h"

typedef struct backward_pass {
    vlorpi_model *model;
    const vlorpi_pass *pass;
    const vlorpi_sink *sink;
    int layer;
} backward_pass;

/* Hands (dy, x) of a weight slot to the sink, and the sum of dy where there is a bias; where all is frozen but
 * adapters, what the adapter's gradients are made of. */
static vlorp_status hand_over(const backward_pass *b, vlorpi_slot slot, const float *dy, const float *x,
                              vlorp_err *err)
{
    const vlorpi_model *model = b->model;
    if (vlorpi_model_is_frozen(model)) {
        return vlorpi_model_hand_over_lora(model, b->pass, b->layer, slot, dy, x, b->sink, err);
    }
    const int *param = model->layers[b->layer].param;
    const vlorpi_param *w = &model->params.items[param[slot]];
    VLORP_TRY(b->sink->linear(b->sink->ctx, param[slot], dy, w->n, x, w->m, b->pass->n, err));
    VLORP_TRY(vlorpi_sink_done(b->sink, param[slot], err));
    int bias = param[slot + 1];
    if (bias < 0) {
        return VLORP_OK;
    }
    vlorpi_gemm(&model->ops.gemm, model->vector_grad, w->n, false, vlorpi_gemm_rows(model->ones, VLORP_F32, b->pass->n),
                vlorpi_gemm_rows(dy, VLORP_F32, w->n), 1, w->n, b->pass->n);
    return vlorpi_sink_vector(b->sink, bias, model->vector_grad, err);
}

static void input_gradient(const backward_pass *b, float *dx, bool accumulate, vlorpi_slot slot, const float *dy)
{
    vlorpi_model_linear_bwd(b->model, b->pass, b->layer, slot, dx, accumulate, dy);
}

/* The gradient of a norm begins at zero, and goes to the sink; there is none of a frozen one. */
static void clear_vector_grad(const vlorpi_model *model, int64_t n)
{
    if (model->vector_grad != NULL) {
        memset(model->vector_grad, 0, (size_t)n * sizeof(float));
    }
}

static vlorp_status hand_over_vector(const backward_pass *b, int param, vlorp_err *err)
{
    const float *dw = b->model->vector_grad;
    return dw != NULL ? vlorpi_sink_vector(b->sink, param, dw, err) : VLORP_OK;
}

/* Recomputes a norm's output into h. */
static void norm_again(const backward_pass *b, vlorpi_slot slot, const float *x)
{
    vlorpi_model *model = b->model;
    const float *w = vlorpi_model_norm(model, model->layers[b->layer].param[slot]);
    vlorpi_ops_norm(&model->ops, model->h, NULL, NULL, x, w, b->pass->n, model->config.D, model->config.norm_eps);
}

/* Adds the norm's input gradient to the stream's, and hands over its weight's. */
static vlorp_status norm_backward(const backward_pass *b, vlorpi_slot slot, const float *dh, const float *x,
                                  const float *rstd, vlorp_err *err)
{
    vlorpi_model *model = b->model;
    int param = model->layers[b->layer].param[slot];
    clear_vector_grad(model, model->config.D);
    vlorpi_ops_norm_bwd(&model->ops, model->x, model->vector_grad, dh, x, vlorpi_model_norm(model, param), rstd,
                        b->pass->n, model->config.D);
    return hand_over_vector(b, param, err);
}

static vlorp_status mlp_backward(const backward_pass *b, vlorp_err *err)
{
    vlorpi_model *model = b->model;
    const vlorpi_layer_acts *acts = &model->layers[b->layer].acts;
    int64_t n_elements = b->pass->n * model->config.F;

    vlorpi_ops_swiglu(&model->ops, model->act, acts->gate, acts->up, n_elements);
    input_gradient(b, model->d_act, false, VLORPI_SLOT_DOWN, model->x);
    VLORP_TRY(hand_over(b, VLORPI_SLOT_DOWN, model->x, model->act, err));

    vlorpi_ops_swiglu_bwd(&model->ops, acts->gate, acts->up, model->d_act, n_elements);
    norm_again(b, VLORPI_SLOT_MLP_NORM, acts->x_mid); /* h takes the place of act, dh that of d_act */
    input_gradient(b, model->dh, false, VLORPI_SLOT_GATE, acts->gate);
    VLORP_TRY(hand_over(b, VLORPI_SLOT_GATE, acts->gate, model->h, err));
    input_gradient(b, model->dh, true, VLORPI_SLOT_UP, acts->up);
    VLORP_TRY(hand_over(b, VLORPI_SLOT_UP, acts->up, model->h, err));
    return norm_backward(b, VLORPI_SLOT_MLP_NORM, model->dh, acts->x_mid, acts->rstd2, err);
}

/* Back through the norm of queries or keys, x as they were projected: the gradient dy becomes *dy, in the
 * place of what was normalised; its weight's is handed over.  Nothing to do where there is no such norm. */
static vlorp_status head_norm_backward(const backward_pass *b, vlorpi_slot slot, const float **dy, const float *x,
                                       float *normed, const float *rstd, int64_t n_heads, vlorp_err *err)
{
    vlorpi_model *model = b->model;
    int64_t E = model->config.E;
    int param = model->layers[b->layer].param[slot];
    if (param < 0) {
        return VLORP_OK;
    }
    int64_t n_rows = b->pass->n * n_heads;
    memset(normed, 0, (size_t)(n_rows * E) * sizeof(float));
    clear_vector_grad(model, E);
    vlorpi_ops_norm_bwd(&model->ops, normed, model->vector_grad, *dy, x, vlorpi_model_norm(model, param), rstd, n_rows,
                        E);
    *dy = normed;
    return hand_over_vector(b, param, err);
}

/* From the gradient of attention's output in d_o to those of the three projections' outputs. */
static vlorp_status heads_backward(const backward_pass *b, const float **dq, const float **dk, vlorp_err *err)
{
    vlorpi_model *model = b->model;
    const vlorpi_model_config *c = &model->config;
    const vlorpi_layer_acts *acts = &model->layers[b->layer].acts;
    const float *q = acts->q;
    const float *k = acts->k;
    if (c->arch->qk_norm) { /* what is kept are the projections */
        q = vlorpi_model_ready(model, b->pass, b->layer, VLORPI_SLOT_Q_NORM, acts->q);
        k = vlorpi_model_ready(model, b->pass, b->layer, VLORPI_SLOT_K_NORM, acts->k);
    }
    vlorpi_attention attention = vlorpi_model_attention(model, b->pass, b->layer);
    vlorpi_ops_attention_bwd(&model->ops, model->dq, model->dk, model->dv, q, k, acts->v, acts->o, model->d_o,
                             acts->lse, &attention);
    vlorpi_ops_rope_bwd(&model->ops, model->dq, &b->pass->rope, b->pass->n, c->H, c->E);
    vlorpi_ops_rope_bwd(&model->ops, model->dk, &b->pass->rope, b->pass->n, c->G, c->E);
    *dq = model->dq;
    *dk = model->dk;
    VLORP_TRY(head_norm_backward(b, VLORPI_SLOT_Q_NORM, dq, acts->q, model->q_normed, model->q_rstd, c->H, err));
    return head_norm_backward(b, VLORPI_SLOT_K_NORM, dk, acts->k, model->k_normed, model->k_rstd, c->G, err);
}

static vlorp_status attention_backward(const backward_pass *b, vlorp_err *err)
{
    vlorpi_model *model = b->model;
    const vlorpi_layer_acts *acts = &model->layers[b->layer].acts;
    const float *dq = NULL;
    const float *dk = NULL;

    input_gradient(b, model->d_o, false, VLORPI_SLOT_O, model->x);
    VLORP_TRY(hand_over(b, VLORPI_SLOT_O, model->x, acts->o, err));
    VLORP_TRY(heads_backward(b, &dq, &dk, err));

    /* h takes the place of d_o; the MLP half has no more use for x_mid */
    const float *x = vlorpi_model_layer_input(model, b->layer, b->pass->n);
    float *dh = acts->x_mid;
    norm_again(b, VLORPI_SLOT_ATTN_NORM, x);
    input_gradient(b, dh, false, VLORPI_SLOT_Q, dq);
    VLORP_TRY(hand_over(b, VLORPI_SLOT_Q, dq, model->h, err));
    input_gradient(b, dh, true, VLORPI_SLOT_K, dk);
    VLORP_TRY(hand_over(b, VLORPI_SLOT_K, dk, model->h, err));
    input_gradient(b, dh, true, VLORPI_SLOT_V, model->dv);
    VLORP_TRY(hand_over(b, VLORPI_SLOT_V, model->dv, model->h, err));
    return norm_backward(b, VLORPI_SLOT_ATTN_NORM, dh, x, acts->rstd1, err);
}

vlorp_status vlorpi_model_backward(vlorpi_model *model, const vlorpi_pass *pass, const vlorpi_sink *sink,
                                   vlorp_err *err)
{
    backward_pass b = {.model = model, .pass = pass, .sink = sink};
    for (int l = (int)model->config.L - 1; l >= 0; l--) {
        b.layer = l;
        if (model->usage.activation_checkpointing) {
            double begin = vlorpi_clock_seconds();
            vlorpi_model_recompute(model, pass, l);
            model->seconds.recompute += vlorpi_clock_seconds() - begin;
        }
        VLORP_TRY(mlp_backward(&b, err));
        VLORP_TRY(attention_backward(&b, err));
    }
    if (vlorpi_model_is_frozen(model)) {
        return VLORP_OK;
    }
    VLORP_TRY(sink->rows(sink->ctx, model->embed, pass->ids, model->x, pass->n, err));
    return vlorpi_sink_done(sink, model->embed, err);
}
