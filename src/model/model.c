/* The model object: its parameter table and what callers may ask of it. */
#include "model/model.h"

#include <string.h>

#include "base/status.h"
#include "kernel/blas/blas.h"
#include "model/decoder.h"

const vlorpi_model_config *vlorpi_model_config_of(const vlorpi_model *model)
{
    return &model->config;
}

vlorpi_model_seconds vlorpi_model_seconds_of(const vlorpi_model *model)
{
    return model->seconds;
}

vlorpi_params *vlorpi_model_params(vlorpi_model *model)
{
    return &model->params;
}

bool vlorpi_model_has_biases(const vlorpi_model_config *config)
{
    return config->qkv_bias || config->out_bias || config->mlp_bias;
}

int vlorpi_model_param_at(const vlorpi_model *model, vlorpi_slot slot, int layer)
{
    if (slot < VLORPI_SLOT_N_LAYER) {
        return model->layers[layer].param[slot];
    }
    if (slot == VLORPI_SLOT_HEAD) {
        return model->config.tied ? -1 : model->head;
    }
    return slot == VLORPI_SLOT_EMBED ? model->embed : model->final_norm;
}

/* Whether a model of this configuration has the slot's tensor, and its shape n x m. */
static bool slot_shape(const vlorpi_model_config *c, vlorpi_slot slot, int64_t *n, int64_t *m)
{
    int64_t q = c->H * c->E;
    int64_t kv = c->G * c->E;
    const struct {
        int64_t n, m;
        bool present;
    } shapes[VLORPI_SLOT_N] = {
        [VLORPI_SLOT_ATTN_NORM] = {c->D, 1, true},
        [VLORPI_SLOT_Q] = {q, c->D, true},
        [VLORPI_SLOT_Q_BIAS] = {q, 1, c->qkv_bias},
        [VLORPI_SLOT_K] = {kv, c->D, true},
        [VLORPI_SLOT_K_BIAS] = {kv, 1, c->qkv_bias},
        [VLORPI_SLOT_V] = {kv, c->D, true},
        [VLORPI_SLOT_V_BIAS] = {kv, 1, c->qkv_bias},
        [VLORPI_SLOT_Q_NORM] = {c->E, 1, c->arch->qk_norm},
        [VLORPI_SLOT_K_NORM] = {c->E, 1, c->arch->qk_norm},
        [VLORPI_SLOT_O] = {c->D, q, true},
        [VLORPI_SLOT_O_BIAS] = {c->D, 1, c->out_bias},
        [VLORPI_SLOT_MLP_NORM] = {c->D, 1, true},
        [VLORPI_SLOT_GATE] = {c->F, c->D, true},
        [VLORPI_SLOT_GATE_BIAS] = {c->F, 1, c->mlp_bias},
        [VLORPI_SLOT_UP] = {c->F, c->D, true},
        [VLORPI_SLOT_UP_BIAS] = {c->F, 1, c->mlp_bias},
        [VLORPI_SLOT_DOWN] = {c->D, c->F, true},
        [VLORPI_SLOT_DOWN_BIAS] = {c->D, 1, c->mlp_bias},
        [VLORPI_SLOT_EMBED] = {c->V, c->D, true},
        [VLORPI_SLOT_FINAL_NORM] = {c->D, 1, true},
        [VLORPI_SLOT_HEAD] = {c->V, c->D, !c->tied},
    };
    *n = shapes[slot].n;
    *m = shapes[slot].m;
    return shapes[slot].present;
}

/* Adds the slot's parameter; *index is -1 when the model has none. */
static vlorp_status add(vlorpi_model *model, vlorpi_slot slot, int layer, int *index, vlorp_err *err)
{
    int64_t n = 0;
    int64_t m = 0;
    *index = -1;
    if (!slot_shape(&model->config, slot, &n, &m)) {
        return VLORP_OK;
    }
    char name[VLORPI_NAME_BYTES];
    vlorpi_slot_name_hf(name, slot, layer);
    vlorpi_role role = vlorpi_slot_role(slot);
    int n_dims = role == VLORPI_ROLE_NORM || role == VLORPI_ROLE_BIAS ? 1 : 2;
    return vlorpi_params_add(&model->params, index, name, role, layer, n_dims, n, m, model->dtype, err);
}

static vlorp_status add_all(vlorpi_model *model, vlorp_err *err)
{
    VLORP_TRY(add(model, VLORPI_SLOT_EMBED, -1, &model->embed, err));
    for (int l = 0; l < (int)model->config.L; l++) {
        for (int slot = 0; slot < VLORPI_SLOT_N_LAYER; slot++) {
            model->layers[l].adapter[slot] = -1;
            VLORP_TRY(add(model, (vlorpi_slot)slot, l, &model->layers[l].param[slot], err));
        }
    }
    VLORP_TRY(add(model, VLORPI_SLOT_FINAL_NORM, -1, &model->final_norm, err));
    VLORP_TRY(add(model, VLORPI_SLOT_HEAD, -1, &model->head, err));
    if (model->config.tied) {
        model->head = model->embed;
        model->params.items[model->embed].tied = true;
    }
    return VLORP_OK;
}

vlorp_status vlorpi_model_create(vlorpi_model **out, vlorpi_mem *mem, const vlorpi_kernels *kernels,
                                 const vlorp_exec *exec, const vlorpi_model_config *config, vlorp_dtype dtype,
                                 vlorp_err *err)
{
    *out = NULL;
    if (dtype != VLORP_F32 && dtype != VLORP_BF16) {
        VLORP_FAIL(err, VLORP_E_ARG, "weights are kept in float32 or bfloat16 only");
    }
    vlorpi_model *model = vlorpi_mem_calloc(mem, VLORPI_MEM_OTHER, 1, sizeof *model);
    if (model == NULL) {
        return vlorpi_mem_fail(mem, VLORPI_MEM_OTHER, sizeof *model, err);
    }
    model->mem = mem;
    model->kernels = kernels;
    model->config = *config;
    model->dtype = dtype;
    model->ops.kernels = kernels->model;
    if (exec != NULL && exec->for_each != NULL) {
        model->ops.exec = *exec;
    } else {
        model->ops.exec.n_threads = 1;
    }
    model->ops.gemm = (vlorpi_gemm_ctx){.kernels = kernels->gemm, .exec = model->ops.exec, .blas = vlorpi_blas_gemm()};
    vlorpi_params_init(&model->params, mem);
    vlorpi_params_init(&model->adapters, mem);
    size_t layers_bytes = (size_t)config->L * sizeof *model->layers;
    model->layers = vlorpi_mem_calloc(mem, VLORPI_MEM_OTHER, (size_t)config->L, sizeof *model->layers);
    vlorp_status status = model->layers != NULL ? add_all(model, err)
                                                : vlorpi_mem_fail(mem, VLORPI_MEM_OTHER, layers_bytes, err);
    if (status != VLORP_OK) {
        vlorpi_model_free(model);
        return status;
    }
    *out = model;
    return VLORP_OK;
}

void vlorpi_model_free(vlorpi_model *model)
{
    if (model == NULL) {
        return;
    }
    vlorpi_mem *mem = model->mem;
    vlorpi_params_deinit(&model->adapters);
    vlorpi_params_deinit(&model->params);
    vlorpi_mem_free(mem, model->layers);
    vlorpi_mem_free(mem, model);
}

/* A vector parameter as fp32: where it is, or expanded into room. */
static const float *as_f32(const vlorpi_model *model, const vlorpi_param *param, float *room)
{
    if (param->dtype == VLORP_F32) {
        return param->data;
    }
    model->ops.kernels->bf16_to_f32(room, param->data, vlorpi_param_n_elements(param));
    return room;
}

const float *vlorpi_model_norm(const vlorpi_model *model, int param)
{
    return as_f32(model, &model->params.items[param], model->norm_w);
}

vlorpi_linear vlorpi_model_linear(const vlorpi_model *model, int layer, vlorpi_slot slot)
{
    const vlorpi_layer *l = &model->layers[layer];
    const vlorpi_param *w = &model->params.items[l->param[slot]];
    int bias = l->param[slot + 1]; /* each weight's slot is followed by its bias's */
    return (vlorpi_linear){.w = w->data,
                           .dtype = w->dtype,
                           .n = w->n,
                           .m = w->m,
                           .bias = bias >= 0 ? as_f32(model, &model->params.items[bias], model->bias_w) : NULL};
}

vlorpi_linear vlorpi_model_head(const vlorpi_model *model)
{
    const vlorpi_param *w = &model->params.items[model->head];
    return (vlorpi_linear){.w = w->data, .dtype = w->dtype, .n = w->n, .m = w->m, .bias = NULL};
}
