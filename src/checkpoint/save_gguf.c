#include "checkpoint/save_gguf.h"

#include <assert.h>
#include <string.h>

#include "checkpoint/beside.h"
#include "checkpoint/new_file.h"
#include "checkpoint/put_weight.h"
#include "format/gguf_writer.h"
#include "model/weight.h"

/* Numbers of general.file_type and of the layout that Q8_0 blocks have. */
enum { FILE_F32 = 0, FILE_F16 = 1, FILE_Q8_0 = 7, FILE_BF16 = 32, QUANTISATION_VERSION = 2 };

/* One file under way. */
typedef struct saving {
    const vlorpi_checkpoint_saver *saver;
    const vlorpi_checkpoint_model *model;
    const vlorpi_gguf_file *file;
    float divisors[VLORPI_MAX_HEAD_WIDTH / 2]; /* a tensor that is no parameter */
    int64_t n_divisors;                        /* 0: the file has no such tensor */
} saving;

static vlorpi_storage storage_of(const saving *s, const vlorpi_param *param)
{
    vlorpi_storage storage = s->file->storage;
    if (param->n_dims < 2) {
        return VLORPI_STORAGE_F32;
    }
    return param->m % vlorpi_storage_block_elements(storage) == 0 ? storage : VLORPI_STORAGE_F16;
}

static size_t data_bytes(const saving *s, int i)
{
    const vlorpi_param *param = &s->model->params->items[i];
    vlorpi_storage storage = storage_of(s, param);
    return (size_t)(vlorpi_param_n_elements(param) / vlorpi_storage_block_elements(storage)) *
           vlorpi_storage_block_bytes(storage);
}

static uint32_t file_type(vlorpi_storage storage)
{
    switch (storage) {
    case VLORPI_STORAGE_F32: return FILE_F32;
    case VLORPI_STORAGE_F16: return FILE_F16;
    case VLORPI_STORAGE_BF16: return FILE_BF16;
    default: return FILE_Q8_0;
    }
}

static vlorp_status put_keys(const saving *s, vlorpi_gguf_writer *w, vlorp_err *err)
{
    const char *architecture = s->model->config->arch->gguf_name;
    vlorpi_gguf_put_text(w, "general.architecture", architecture, strlen(architecture));
    vlorpi_gguf_put_text(w, "general.type", "model", 5);
    vlorpi_gguf_put_text(w, "general.name", s->file->name, strlen(s->file->name));
    vlorpi_gguf_put_u32(w, "general.file_type", file_type(s->file->storage));
    vlorpi_gguf_put_u32(w, "general.quantization_version", QUANTISATION_VERSION);
    VLORP_TRY(vlorpi_model_config_put_gguf(w, s->model->config, err));
    return vlorpi_tokenizer_put_gguf(w, s->model->tokenizer, s->model->config->V, err);
}

static void put_entries(const saving *s, vlorpi_gguf_writer *w)
{
    uint64_t offset = 0;
    for (int i = 0; i < s->model->params->n; i++) {
        char name[VLORPI_NAME_BYTES];
        int64_t head_rows;
        const vlorpi_param *param = &s->model->params->items[i];
        vlorpi_weight_in_gguf(name, &head_rows, s->file->shape, i);
        vlorpi_tensor_info info = {.name = name, .storage = storage_of(s, param), .n_dims = param->n_dims,
                                   .shape = {param->n, param->m}};
        vlorpi_gguf_put_tensor(w, &info, &offset);
    }
    if (s->n_divisors > 0) {
        char name[] = VLORPI_GGUF_DIVISORS;
        vlorpi_tensor_info info = {
            .name = name, .storage = VLORPI_STORAGE_F32, .n_dims = 1, .shape = {s->n_divisors}};
        vlorpi_gguf_put_tensor(w, &info, &offset);
    }
}

/* All that stands before the data; n_keys is what a counting run found. */
static vlorp_status put_header(const saving *s, vlorpi_gguf_writer *w, int64_t n_keys, vlorp_err *err)
{
    vlorpi_gguf_put_head(w, s->model->params->n + (s->n_divisors > 0), n_keys);
    VLORP_TRY(put_keys(s, w, err));
    put_entries(s, w);
    vlorpi_gguf_put_padding(w, w->n_bytes);
    return w->status;
}

static vlorp_status write_bytes(void *ctx, const void *bytes, size_t n_bytes, vlorp_err *err)
{
    return vlorpi_file_writer_put(ctx, bytes, n_bytes, err);
}

static vlorp_status write_padding(vlorpi_file_writer *out, size_t n_data, vlorp_err *err)
{
    vlorpi_gguf_writer padding = {.sink = write_bytes, .ctx = out, .err = err};
    vlorpi_gguf_put_padding(&padding, n_data);
    return padding.status;
}

static vlorp_status write_data(const saving *s, vlorpi_file_writer *out, vlorp_err *err)
{
    for (int i = 0; i < s->model->params->n; i++) {
        char name[VLORPI_NAME_BYTES];
        vlorpi_stored_form form = {.storage = storage_of(s, &s->model->params->items[i])};
        vlorpi_weight_in_gguf(name, &form.head_rows, s->file->shape, i);
        VLORP_TRY(vlorpi_put_weight(out, s->saver, s->model, i, form, err));
        VLORP_TRY(write_padding(out, data_bytes(s, i), err));
    }
    size_t n_bytes = (size_t)s->n_divisors * sizeof(float);
    VLORP_TRY(vlorpi_file_writer_put(out, s->divisors, n_bytes, err));
    return write_padding(out, n_bytes, err);
}

/* The data's bytes up to the next tensor. */
static uint64_t padded(size_t n_data)
{
    vlorpi_gguf_writer padding = {0};
    vlorpi_gguf_put_padding(&padding, n_data);
    return n_data + padding.n_bytes;
}

/* Counts the header's bytes and keys. */
static vlorp_status measure(const saving *s, uint64_t *n_bytes, int64_t *n_keys, vlorp_err *err)
{
    vlorpi_gguf_writer counter = {.err = err};
    VLORP_TRY(put_header(s, &counter, 0, err));
    *n_bytes = counter.n_bytes;
    *n_keys = counter.n_keys;
    for (int i = 0; i < s->model->params->n; i++) {
        *n_bytes += padded(data_bytes(s, i));
    }
    *n_bytes += padded((size_t)s->n_divisors * sizeof(float));
    return VLORP_OK;
}

static vlorp_status write_file(const saving *s, const vlorpi_new_file *place, vlorp_err *err)
{
    uint64_t n_bytes = 0;
    int64_t n_keys = 0;
    vlorpi_file_writer out;
    VLORP_TRY(measure(s, &n_bytes, &n_keys, err));
    VLORP_TRY(vlorpi_beside_check_space(place->folder_fd, place->place, (size_t)n_bytes, err));
    /* a safetensors header's room, which nothing else uses here, buffers small pieces */
    vlorp_status status = vlorpi_file_writer_open(&out, place->folder_fd, place->folder, place->name,
                                                  s->saver->header, s->saver->header_bytes, err);
    vlorpi_gguf_writer w = {.sink = write_bytes, .ctx = &out, .err = err};
    if (status == VLORP_OK) {
        status = put_header(s, &w, n_keys, err);
    }
    if (status == VLORP_OK) {
        status = write_data(s, &out, err);
    }
    return vlorpi_file_writer_close(&out, status, err);
}

vlorp_status vlorpi_checkpoint_save_gguf(const vlorpi_checkpoint_saver *saver, const vlorpi_checkpoint_model *model,
                                         const vlorpi_gguf_file *file, vlorp_err *err)
{
    assert(saver->n_params == model->params->n && saver->chunk != NULL && model->tokenizer != NULL);
    vlorpi_new_file place;
    VLORP_TRY(vlorpi_new_file_begin(&place, file->path, model->overwrite, err));
    saving s = {.saver = saver, .model = model, .file = file};
    s.n_divisors = vlorpi_model_config_divisors(model->config, s.divisors);
    vlorp_status status = write_file(&s, &place, err);
    if (status != VLORP_OK) {
        vlorpi_new_file_abandon(&place);
        return status;
    }
    return vlorpi_new_file_commit(&place, err);
}
