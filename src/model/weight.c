#include "model/weight.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "model/decoder.h"

static vlorpi_slot slot_of(const vlorpi_model *model, int param)
{
    int layer = model->params.items[param].layer;
    int first = layer >= 0 ? 0 : VLORPI_SLOT_N_LAYER;
    int end = layer >= 0 ? VLORPI_SLOT_N_LAYER : VLORPI_SLOT_N;
    for (int slot = first; slot < end; slot++) {
        if (vlorpi_model_param_at(model, (vlorpi_slot)slot, layer) == param) {
            return (vlorpi_slot)slot;
        }
    }
    assert(!"a parameter without a slot");
    return VLORPI_SLOT_EMBED;
}

void vlorpi_weight_in_gguf(char *name, int64_t *head_rows, const vlorpi_model *model, int param)
{
    vlorpi_slot slot = slot_of(model, param);
    vlorpi_slot_name_gguf(name, slot, model->params.items[param].layer);
    bool rotated = slot == VLORPI_SLOT_Q || slot == VLORPI_SLOT_Q_BIAS || slot == VLORPI_SLOT_K ||
                   slot == VLORPI_SLOT_K_BIAS;
    *head_rows = rotated && model->config.arch->gguf_permutes_qk ? model->config.E : 0;
}

int64_t vlorpi_weight_row_in_gguf(int64_t row, int64_t head_rows)
{
    int64_t in_head = row % head_rows;
    int64_t half = head_rows / 2;
    return row - in_head + in_head % half * 2 + in_head / half;
}

int64_t vlorpi_weight_row_from_gguf(int64_t row, int64_t head_rows)
{
    int64_t in_head = row % head_rows;
    return row - in_head + in_head % 2 * (head_rows / 2) + in_head / 2;
}

/* Writes "[5632, 2048]". */
static void shape_text(char *text, size_t n_bytes, const int64_t *shape, int n_dims)
{
    size_t used = 0;
    for (int i = 0; i < n_dims && used < n_bytes; i++) {
        int n = snprintf(text + used, n_bytes - used, "%s%lld", i == 0 ? "[" : ", ", (long long)shape[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    if (used + 1 < n_bytes) {
        memcpy(text + used, "]", 2);
    }
}

vlorp_status vlorpi_weight_find(vlorpi_weight *weight, const vlorpi_model *model, const vlorpi_source *source,
                                int param, vlorp_err *err)
{
    char name[VLORPI_NAME_BYTES];
    const vlorpi_param *p = &model->params.items[param];
    *weight = (vlorpi_weight){.width = p->m};
    if (vlorpi_source_kind_of(source) == VLORPI_SOURCE_GGUF) {
        vlorpi_weight_in_gguf(name, &weight->head_rows, model, param);
    } else {
        vlorpi_slot_name_hf(name, slot_of(model, param), p->layer);
    }
    const vlorpi_tensor_info *info = vlorpi_source_find(source, name);
    if (info == NULL) {
        VLORP_FAIL(err, VLORP_E_SHAPE, "%s: tensor %s is missing", vlorpi_source_path(source), name);
    }
    const int64_t wanted[2] = {p->n, p->m};
    if (info->n_dims != p->n_dims || info->shape[0] != wanted[0] ||
        (p->n_dims == 2 && info->shape[1] != wanted[1])) {
        char has[96];
        char needs[64];
        shape_text(has, sizeof has, info->shape, info->n_dims);
        shape_text(needs, sizeof needs, wanted, p->n_dims);
        VLORP_FAIL(err, VLORP_E_SHAPE, "%s: tensor %s has the shape %s, the configuration needs %s",
                   vlorpi_source_path(source), name, has, needs);
    }
    weight->info = info;
    return VLORP_OK;
}

vlorp_status vlorpi_weight_read(float *out, const vlorpi_weight *weight, int64_t begin, int64_t n, vlorp_err *err)
{
    if (weight->head_rows == 0) {
        return vlorpi_tensor_read_f32(out, weight->info, begin, n, err);
    }
    for (int64_t at = begin; at < begin + n;) {
        int64_t row = at / weight->width;
        int64_t column = at % weight->width;
        int64_t n_piece = weight->width - column;
        n_piece = n_piece < begin + n - at ? n_piece : begin + n - at;
        int64_t from = vlorpi_weight_row_in_gguf(row, weight->head_rows) * weight->width + column;
        VLORP_TRY(vlorpi_tensor_read_f32(out + (at - begin), weight->info, from, n_piece, err));
        at += n_piece;
    }
    return VLORP_OK;
}
