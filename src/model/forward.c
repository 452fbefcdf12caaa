/* From token ids to the residual stream after the last layer. */
#include <string.h>

#include "model/decoder.h"

const float *vlorpi_model_layer_input(const vlorpi_model *model, int layer, int64_t n)
{
    const void *kept = model->layers[layer].x_in;
    if (model->dtype == VLORP_F32) {
        return kept;
    }
    vlorpi_ops_recall(&model->ops, model->x_in32, kept, model->dtype, n * model->config.D);
    return model->x_in32;
}

float *vlorpi_model_ready(const vlorpi_model *model, const vlorpi_pass *pass, int layer, vlorpi_slot slot, float *x)
{
    const vlorpi_model_config *c = &model->config;
    bool query = slot == VLORPI_SLOT_Q_NORM;
    int64_t n_heads = query ? c->H : c->G;
    int param = model->layers[layer].param[slot];
    float *y = x;
    if (param >= 0) {
        float *rstd = NULL;
        if (pass->keep) {
            y = query ? model->q_normed : model->k_normed;
            rstd = query ? model->q_rstd : model->k_rstd;
        }
        const float *w = vlorpi_model_norm(model, param);
        vlorpi_ops_norm(&model->ops, y, rstd, NULL, x, w, pass->n * n_heads, c->E, c->norm_eps);
    }
    vlorpi_ops_rope(&model->ops, y, &pass->rope, pass->n, n_heads, c->E);
    return y;
}

vlorpi_attention vlorpi_model_attention(const vlorpi_model *model, const vlorpi_pass *pass, int layer)
{
    vlorpi_attention attention = pass->attention;
    attention.window = vlorpi_model_window(&model->config, layer);
    return attention;
}

/* x += attention(norm(x)) */
static void attention_half(vlorpi_model *model, const vlorpi_pass *pass, int l, float *x)
{
    const vlorpi_model_config *c = &model->config;
    const vlorpi_ops *ops = &model->ops;
    vlorpi_layer *layer = &model->layers[l];
    vlorpi_layer_acts *acts = &layer->acts;
    const float *w = vlorpi_model_norm(model, layer->param[VLORPI_SLOT_ATTN_NORM]);
    vlorpi_ops_norm(ops, model->h, acts->rstd1, NULL, x, w, pass->n, c->D, c->norm_eps);

    vlorpi_model_linear_fwd(model, pass, l, VLORPI_SLOT_Q, acts->q, false, model->h);
    vlorpi_model_linear_fwd(model, pass, l, VLORPI_SLOT_K, acts->k, false, model->h);
    vlorpi_model_linear_fwd(model, pass, l, VLORPI_SLOT_V, acts->v, false, model->h);

    const float *q = vlorpi_model_ready(model, pass, l, VLORPI_SLOT_Q_NORM, acts->q);
    const float *k = vlorpi_model_ready(model, pass, l, VLORPI_SLOT_K_NORM, acts->k);
    const float *v = acts->v;
    if (pass->cache_rows != NULL) {
        vlorpi_ops_put_rows(ops, layer->cache_k, k, pass->cache_rows, pass->n, c->G * c->E);
        vlorpi_ops_put_rows(ops, layer->cache_v, v, pass->cache_rows, pass->n, c->G * c->E);
        k = layer->cache_k;
        v = layer->cache_v;
    }
    vlorpi_attention attention = vlorpi_model_attention(model, pass, l);
    vlorpi_ops_attention(ops, acts->o, acts->lse, q, k, v, &attention);

    vlorpi_model_linear_fwd(model, pass, l, VLORPI_SLOT_O, x, true, acts->o);
}

/* gate and up of norm(x); x_mid receives x unless it is x or not kept */
static void mlp_in(vlorpi_model *model, const vlorpi_pass *pass, int l, const float *x)
{
    const vlorpi_model_config *c = &model->config;
    const vlorpi_ops *ops = &model->ops;
    vlorpi_layer *layer = &model->layers[l];
    vlorpi_layer_acts *acts = &layer->acts;
    float *copy = pass->keep && acts->x_mid != x ? acts->x_mid : NULL;
    const float *w = vlorpi_model_norm(model, layer->param[VLORPI_SLOT_MLP_NORM]);
    vlorpi_ops_norm(ops, model->h, acts->rstd2, copy, x, w, pass->n, c->D, c->norm_eps);
    vlorpi_model_linear_fwd(model, pass, l, VLORPI_SLOT_GATE, acts->gate, false, model->h);
    vlorpi_model_linear_fwd(model, pass, l, VLORPI_SLOT_UP, acts->up, false, model->h);
}

void vlorpi_model_forward(vlorpi_model *model, const vlorpi_pass *pass)
{
    const vlorpi_model_config *c = &model->config;
    const vlorpi_ops *ops = &model->ops;
    vlorpi_ops_embed(ops, model->x, model->params.items[model->embed].data, model->dtype, pass->ids, pass->n, c->D);
    for (int l = 0; l < (int)c->L; l++) {
        vlorpi_layer *layer = &model->layers[l];
        if (pass->keep) {
            vlorpi_ops_keep(ops, layer->x_in, model->dtype, model->x, pass->n * c->D);
        }
        attention_half(model, pass, l, model->x);
        mlp_in(model, pass, l, model->x);
        vlorpi_ops_swiglu(ops, model->act, layer->acts.gate, layer->acts.up, pass->n * c->F);
        vlorpi_model_linear_fwd(model, pass, l, VLORPI_SLOT_DOWN, model->x, true, model->act);
    }
}

void vlorpi_model_recompute(vlorpi_model *model, const vlorpi_pass *pass, int layer)
{
    float *x = model->layers[layer].acts.x_mid;
    vlorpi_ops_recall(&model->ops, x, model->layers[layer].x_in, model->dtype, pass->n * model->config.D);
    attention_half(model, pass, layer, x);
    mlp_in(model, pass, layer, x);
}
