#include "model/lora.h"

#include <math.h>
#include <string.h>

#include <vlorp/rng.h>

#include "base/status.h"
#include "base/threads.h"
#include "model/decoder.h"

/* ---- the table ---- */

static bool is_linear(vlorpi_slot slot)
{
    vlorpi_role role = vlorpi_slot_role(slot);
    return role == VLORPI_ROLE_ATTN || role == VLORPI_ROLE_MLP;
}

static vlorp_status check_shape(const vlorpi_peft *peft, const char *name, const vlorpi_tensor_info *info, int64_t n,
                                int64_t m, vlorp_err *err)
{
    if (info == NULL) {
        VLORP_FAIL(err, VLORP_E_SHAPE, "%s: tensor %s is missing", vlorpi_peft_folder(peft), name);
    }
    if (info->n_dims != 2 || info->shape[0] != n || info->shape[1] != m) {
        VLORP_FAIL(err, VLORP_E_SHAPE, "%s: tensor %s has not the shape [%lld, %lld] that the model and r need",
                   vlorpi_peft_folder(peft), name, (long long)n, (long long)m);
    }
    return VLORP_OK;
}

/* A and B of one weight slot, unless the folder has none for it. */
static vlorp_status add_adapter(vlorpi_model *model, int layer, vlorpi_slot slot, const vlorpi_peft *peft,
                                vlorp_err *err)
{
    char a[VLORPI_NAME_BYTES];
    char b[VLORPI_NAME_BYTES];
    const vlorpi_param *w = &model->params.items[model->layers[layer].param[slot]];
    int64_t r = model->lora.rank;
    vlorpi_slot_name_lora(a, slot, layer, 'A');
    vlorpi_slot_name_lora(b, slot, layer, 'B');
    if (peft != NULL) {
        const vlorpi_tensor_info *info_a = vlorpi_peft_find(peft, a);
        const vlorpi_tensor_info *info_b = vlorpi_peft_find(peft, b);
        if (info_a == NULL && info_b == NULL) {
            return VLORP_OK;
        }
        VLORP_TRY(check_shape(peft, a, info_a, r, w->m, err));
        VLORP_TRY(check_shape(peft, b, info_b, w->n, r, err));
    }
    if (r > w->n || r > w->m) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "rank %lld: %s is %lld x %lld, and an adapter's rank is not beyond either",
                   (long long)r, w->name, (long long)w->n, (long long)w->m);
    }
    int index_b = 0;
    vlorpi_params *table = &model->adapters;
    VLORP_TRY(vlorpi_params_add(table, &model->layers[layer].adapter[slot], a, VLORPI_ROLE_LORA, layer, 2, r, w->m,
                                VLORP_F32, err));
    return vlorpi_params_add(table, &index_b, b, VLORPI_ROLE_LORA, layer, 2, w->n, r, VLORP_F32, err);
}

/* Every tensor of the folder has found its layer. */
static vlorp_status check_all_used(const vlorpi_model *model, const vlorpi_peft *peft, vlorp_err *err)
{
    for (int64_t i = 0; i < vlorpi_peft_n_tensors(peft); i++) {
        const char *name = vlorpi_peft_tensor(peft, i)->name;
        if (vlorpi_params_find(&model->adapters, name) < 0) {
            VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "%s: tensor %.200s is no adapter of a linear layer of this model",
                       vlorpi_peft_folder(peft), name);
        }
    }
    if (model->adapters.n == 0) {
        VLORP_FAIL(err, VLORP_E_SHAPE, "%s: no tensors", vlorpi_peft_folder(peft));
    }
    return VLORP_OK;
}

vlorp_status vlorpi_model_add_lora(vlorpi_model *model, const vlorpi_lora *config, const vlorpi_peft *peft,
                                   vlorp_err *err)
{
    model->lora = *config;
    for (int l = 0; l < (int)model->config.L; l++) {
        for (int slot = 0; slot < VLORPI_SLOT_N_LAYER; slot++) {
            if (is_linear((vlorpi_slot)slot)) {
                VLORP_TRY(add_adapter(model, l, (vlorpi_slot)slot, peft, err));
            }
        }
    }
    return peft != NULL ? check_all_used(model, peft, err) : VLORP_OK;
}

vlorpi_params *vlorpi_model_adapters(vlorpi_model *model)
{
    return &model->adapters;
}

bool vlorpi_model_lora(const vlorpi_model *model, vlorpi_lora *lora)
{
    *lora = model->lora;
    return vlorpi_model_is_frozen(model);
}

vlorpi_params *vlorpi_model_trained(vlorpi_model *model)
{
    return vlorpi_model_is_frozen(model) ? &model->adapters : &model->params;
}

void vlorpi_model_layout_weights(vlorpi_model *model, vlorpi_arena *arena)
{
    vlorpi_params_layout(&model->params, arena);
    vlorpi_params_layout(&model->adapters, arena);
}

bool vlorpi_model_is_frozen(const vlorpi_model *model)
{
    return model->adapters.n > 0;
}

void vlorpi_model_place_lora(vlorpi_model *model, vlorpi_arena *arena)
{
    const vlorpi_model_config *c = &model->config;
    const vlorpi_model_usage *usage = &model->usage;
    bool frozen = vlorpi_model_is_frozen(model);
    int64_t width = c->H * c->E > c->F ? c->H * c->E : c->F;
    int64_t n = frozen ? usage->max_tokens : 0;
    int64_t n_back = usage->backward ? n : 0;
    width = width > c->D ? width : c->D;
    model->lora_h = vlorpi_arena_push(arena, n, (size_t)model->lora.rank * sizeof(float));
    model->lora_dh = vlorpi_arena_push(arena, n_back, (size_t)model->lora.rank * sizeof(float));
    model->lora_x = vlorpi_arena_push(arena, model->lora.dropout > 0 ? n_back : 0, (size_t)width * sizeof(float));
}

/* ---- values ---- */

static vlorp_status check_placed(const vlorpi_model *model, vlorp_err *err)
{
    if (vlorpi_model_is_frozen(model) && model->adapters.items[0].data == NULL) {
        VLORP_FAIL(err, VLORP_E_STATE, "the adapters have no memory yet");
    }
    return VLORP_OK;
}

/* A's come before their B's in the table. */
vlorp_status vlorpi_model_init_lora(vlorpi_model *model, uint64_t seed, vlorp_err *err)
{
    VLORP_TRY(check_placed(model, err));
    for (int i = 0; i < model->adapters.n; i += 2) {
        const vlorpi_param *a = &model->adapters.items[i];
        const vlorpi_param *b = a + 1;
        float *values = a->data;
        double bound = 1 / sqrt((double)a->m);
        vlorp_rng rng = vlorp_rng_make(seed, vlorp_rng_hash(a->name), VLORP_STREAM_INIT, 0);
        for (int64_t e = 0; e < vlorpi_param_n_elements(a); e++) {
            values[e] = (float)(bound * (2 * vlorp_rng_uniform(&rng, (uint64_t)e) - 1));
        }
        memset(b->data, 0, vlorpi_param_bytes(b));
    }
    return VLORP_OK;
}

vlorp_status vlorpi_model_load_lora(vlorpi_model *model, const vlorpi_peft *peft, vlorp_err *err)
{
    VLORP_TRY(check_placed(model, err));
    for (int i = 0; i < model->adapters.n; i++) {
        const vlorpi_param *p = &model->adapters.items[i];
        const vlorpi_tensor_info *info = vlorpi_peft_find(peft, p->name);
        if (info == NULL) {
            VLORP_FAIL(err, VLORP_E_STATE, "%s: not the folder that the adapters were made for",
                       vlorpi_peft_folder(peft));
        }
        vlorp_status status = vlorpi_tensor_read_f32(p->data, info, 0, vlorpi_param_n_elements(p), err);
        if (status != VLORP_OK) {
            vlorpi_err_prefix(err, "%s", vlorpi_peft_folder(peft));
            return status;
        }
    }
    return VLORP_OK;
}

static double scale_of(const vlorpi_model *model)
{
    double rank = (double)model->lora.rank;
    return model->lora.alpha / (model->lora.rank_scaled ? sqrt(rank) : rank);
}

/* The adapter of a parameter of the model's own table, or -1. */
static int adapter_of(const vlorpi_model *model, int param)
{
    int layer = model->params.items[param].layer;
    for (int slot = 0; layer >= 0 && slot < VLORPI_SLOT_N_LAYER; slot++) {
        if (model->layers[layer].param[slot] == param) {
            return model->layers[layer].adapter[slot];
        }
    }
    return -1;
}

void vlorpi_model_add_product(const vlorpi_model *model, float *out, int param, int64_t begin, int64_t n)
{
    int adapter = adapter_of(model, param);
    if (adapter < 0) {
        return;
    }
    int64_t r = model->lora.rank;
    int64_t m = model->params.items[param].m;
    const float *a = model->adapters.items[adapter].data;
    const float *b = model->adapters.items[adapter + 1].data;
    float s = (float)scale_of(model);
    for (int64_t at = begin; at < begin + n;) {
        int64_t row = at / m;
        int64_t column = at % m;
        int64_t n_piece = m - column < begin + n - at ? m - column : begin + n - at;
        float *y = out + (at - begin);
        for (int64_t q = 0; q < r; q++) {
            const float *a_q = a + q * m + column;
            float factor = s * b[row * r + q];
            for (int64_t j = 0; j < n_piece; j++) {
                y[j] += factor * a_q[j];
            }
        }
        at += n_piece;
    }
}

/* ---- forward and backward ---- */

void vlorpi_model_set_dropout(vlorpi_model *model, uint64_t seed, int64_t step, int64_t first_token)
{
    model->dropout_seed = seed;
    model->dropout_step = step;
    model->dropout_first = first_token;
}

static vlorpi_linear linear_of(const vlorpi_param *param)
{
    return (vlorpi_linear){.w = param->data, .dtype = param->dtype, .n = param->n, .m = param->m};
}

static bool drops(const vlorpi_model *model, const vlorpi_pass *pass)
{
    return pass->keep && model->lora.dropout > 0;
}

/* What is dropped of the input of the adapter whose A is given. */
static vlorpi_dropout dropout_of(const vlorpi_model *model, const vlorpi_param *a)
{
    return (vlorpi_dropout){.rng = vlorp_rng_make(model->dropout_seed, vlorp_rng_hash(a->name), VLORP_STREAM_DROPOUT,
                                                  (uint64_t)model->dropout_step),
                            .first_row = model->dropout_first,
                            .probability = model->lora.dropout};
}

/* lora_h = s drop(x) Aᵀ; the result is drop(x). */
static const float *compress(const vlorpi_model *model, const vlorpi_pass *pass, const vlorpi_param *a, const float *x)
{
    vlorpi_linear linear = linear_of(a);
    if (drops(model, pass)) {
        vlorpi_dropout dropout = dropout_of(model, a);
        vlorpi_ops_dropout(&model->ops, model->lora_x, false, x, &dropout, pass->n, a->m);
        x = model->lora_x;
    }
    vlorpi_ops_linear(&model->ops, model->lora_h, false, x, &linear, pass->n);
    vlorpi_ops_scale(&model->ops, model->lora_h, (float)scale_of(model), pass->n * a->n);
    return x;
}

void vlorpi_model_linear_fwd(const vlorpi_model *model, const vlorpi_pass *pass, int layer, vlorpi_slot slot, float *y,
                             bool accumulate, const float *x)
{
    vlorpi_linear linear = vlorpi_model_linear(model, layer, slot);
    int adapter = model->layers[layer].adapter[slot];
    vlorpi_ops_linear(&model->ops, y, accumulate, x, &linear, pass->n);
    if (adapter >= 0) {
        vlorpi_linear b = linear_of(&model->adapters.items[adapter + 1]);
        (void)compress(model, pass, &model->adapters.items[adapter], x);
        vlorpi_ops_linear(&model->ops, y, true, model->lora_h, &b, pass->n);
    }
}

void vlorpi_model_linear_bwd(const vlorpi_model *model, const vlorpi_pass *pass, int layer, vlorpi_slot slot, float *dx,
                             bool accumulate, const float *dy)
{
    const vlorpi_ops *ops = &model->ops;
    vlorpi_linear linear = vlorpi_model_linear(model, layer, slot);
    int adapter = model->layers[layer].adapter[slot];
    vlorpi_ops_linear_bwd(ops, dx, accumulate, dy, &linear, pass->n);
    if (adapter < 0) {
        return;
    }
    const vlorpi_param *a = &model->adapters.items[adapter];
    vlorpi_linear down = linear_of(a);
    vlorpi_linear up = linear_of(a + 1);
    vlorpi_ops_linear_bwd(ops, model->lora_dh, false, dy, &up, pass->n);
    vlorpi_ops_scale(ops, model->lora_dh, (float)scale_of(model), pass->n * a->n);
    if (drops(model, pass)) {
        vlorpi_dropout dropout = dropout_of(model, a);
        vlorpi_ops_linear_bwd(ops, model->lora_x, false, model->lora_dh, &down, pass->n);
        vlorpi_ops_dropout(ops, dx, true, model->lora_x, &dropout, pass->n, a->m);
    } else {
        vlorpi_ops_linear_bwd(ops, dx, true, model->lora_dh, &down, pass->n);
    }
}

vlorp_status vlorpi_model_hand_over_lora(const vlorpi_model *model, const vlorpi_pass *pass, int layer,
                                         vlorpi_slot slot, const float *dy, const float *x, const vlorpi_sink *sink,
                                         vlorp_err *err)
{
    int adapter = model->layers[layer].adapter[slot];
    if (adapter < 0) {
        return VLORP_OK;
    }
    const vlorpi_param *a = &model->adapters.items[adapter];
    const vlorpi_param *b = a + 1;
    const float *dropped = compress(model, pass, a, x);
    VLORP_TRY(sink->linear(sink->ctx, adapter, model->lora_dh, a->n, dropped, a->m, pass->n, err));
    return sink->linear(sink->ctx, adapter + 1, dy, b->n, model->lora_h, b->m, pass->n, err);
}

/* ---- the folder's configuration ---- */

/* The modules that have adapters: "q_proj", ... */
static json_t *target_modules(const vlorpi_model *model)
{
    json_t *list = json_array();
    for (int slot = 0; list != NULL && slot < VLORPI_SLOT_N_LAYER; slot++) {
        char name[VLORPI_NAME_BYTES];
        if (model->layers[0].adapter[slot] < 0) { /* where the list is made, every layer has the same adapters */
            continue;
        }
        vlorpi_slot_name_module(name, (vlorpi_slot)slot);
        if (json_array_append_new(list, json_string(name)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* An integer where it is one, as peft writes lora_alpha. */
static json_t *number(double value)
{
    bool whole = value == floor(value) && fabs(value) < 1e15;
    return whole ? json_integer((json_int_t)value) : json_real(value);
}

json_t *vlorpi_model_peft_config(const vlorpi_model *model, const vlorpi_peft *peft, const char *base)
{
    const vlorpi_lora *lora = &model->lora;
    json_t *config = peft != NULL ? json_deep_copy(vlorpi_peft_config(peft))
                                  : json_pack("{s:s, s:s, s:s, s:b, s:b, s:b, s:o?}", "peft_type", "LORA", "task_type",
                                              "CAUSAL_LM", "bias", "none", "fan_in_fan_out", 0, "init_lora_weights", 1,
                                              "use_rslora", (int)lora->rank_scaled, "target_modules",
                                              target_modules(model));
    bool ok = config != NULL && json_object_set_new(config, "r", json_integer((json_int_t)lora->rank)) == 0 &&
              json_object_set_new(config, "lora_alpha", number(lora->alpha)) == 0 &&
              json_object_set_new(config, "lora_dropout", json_real(lora->dropout)) == 0 &&
              json_object_set_new(config, "inference_mode", json_true()) == 0 &&
              json_object_set_new(config, "base_model_name_or_path", json_string(base)) == 0;
    if (!ok) {
        json_decref(config);
        return NULL;
    }
    return config;
}
