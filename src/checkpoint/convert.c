#include "checkpoint/convert.h"

#include <stdio.h>
#include <string.h>

#include "checkpoint/save.h"
#include "checkpoint/save_gguf.h"
#include "model/lora.h"
#include "model/weight.h"

enum { NAME_BYTES = 256 };

/* Everything that a conversion holds; zeroed is closed. */
typedef struct converting {
    const vlorpi_conversion *conversion; /* borrowed */
    vlorpi_mem *mem;                     /* borrowed */
    vlorpi_peft *adapter; /* or NULL */
    const char *base;     /* path of the model itself */
    vlorpi_source *source;
    vlorpi_tokenizer *tokenizer; /* NULL where its files are copied */
    vlorpi_model *model;         /* its table of parameters; the weights stay in their file */
    vlorpi_model_config config;
    vlorpi_checkpoint_saver saver;
    vlorpi_arena buffers, adapters;
    vlorpi_storage stored;
    int param; /* the one that weight is of, -1: none yet */
    vlorpi_weight weight;
} converting;

/* A vlorpi_checkpoint_read: straight from the source, whose pages are forgotten tensor by tensor. */
static vlorp_status read_weight(void *ctx, float *out, int param, int64_t begin, int64_t n, vlorp_err *err)
{
    converting *c = ctx;
    if (c->conversion->stop != NULL && *c->conversion->stop != 0) {
        VLORP_FAIL(err, VLORP_E_INTERRUPTED, "%s: interrupted; nothing was written", c->conversion->out);
    }
    if (c->param != param) {
        if (c->param >= 0) {
            vlorpi_source_drop(c->source, c->weight.info);
        }
        c->param = -1;
        VLORP_TRY(vlorpi_weight_find(&c->weight, c->model, c->source, param, err));
        c->param = param;
    }
    vlorp_status status = vlorpi_weight_read(out, &c->weight, begin, n, err);
    if (status != VLORP_OK) {
        vlorpi_err_prefix(err, "%s", c->base);
    }
    return status;
}

static vlorp_dtype dtype_of(vlorpi_storage storage)
{
    return storage == VLORPI_STORAGE_F32 ? VLORP_F32 : storage == VLORPI_STORAGE_BF16 ? VLORP_BF16 : VLORP_F16;
}

static vlorpi_checkpoint_model to_save(converting *c)
{
    return (vlorpi_checkpoint_model){
        .params = vlorpi_model_params(c->model),
        .read = read_weight,
        .read_ctx = c,
        .merged = c->adapter != NULL ? c->model : NULL,
        .dtype = dtype_of(c->stored),
        .config = &c->config,
        .source = c->source,
        .tokenizer = c->tokenizer,
        .kernels = c->conversion->kernels,
        .overwrite = c->conversion->overwrite,
        .shard_bytes = c->conversion->shard_bytes,
    };
}

static vlorp_status open_tokenizer(converting *c, vlorp_err *err)
{
    const vlorpi_gguf *gguf = vlorpi_source_gguf(c->source);
    if (gguf != NULL) {
        return vlorpi_tokenizer_from_gguf(&c->tokenizer, c->mem, gguf, c->base, err);
    }
    return c->conversion->to == VLORPI_CONVERT_TO_GGUF
               ? vlorpi_tokenizer_open(&c->tokenizer, c->mem, c->base, err)
               : VLORP_OK;
}

/* Every tensor is looked for before anything is written. */
static vlorp_status check_tensors(converting *c, vlorp_err *err)
{
    for (int i = 0; i < vlorpi_model_params(c->model)->n; i++) {
        vlorpi_weight weight;
        VLORP_TRY(vlorpi_weight_find(&weight, c->model, c->source, i, err));
        VLORP_TRY(vlorpi_weight_read(NULL, &weight, 0, 0, err));
    }
    return VLORP_OK;
}

/* The adapters alone are held in memory. */
static vlorp_status load_adapter(converting *c, vlorp_err *err)
{
    vlorpi_lora lora = vlorpi_peft_lora(c->adapter);
    VLORP_TRY(vlorpi_model_add_lora(c->model, &lora, c->adapter, err));
    vlorpi_params *adapters = vlorpi_model_adapters(c->model);
    vlorpi_arena counter = vlorpi_arena_counter();
    vlorpi_params_layout(adapters, &counter);
    VLORP_TRY(vlorpi_arena_init(&c->adapters, c->mem, VLORPI_MEM_WEIGHTS, counter.peak_bytes, err));
    vlorpi_params_layout(adapters, &c->adapters);
    return vlorpi_model_load_lora(c->model, c->adapter, err);
}

static vlorp_status open_model(converting *c, vlorp_err *err)
{
    const vlorpi_conversion *from = c->conversion;
    VLORP_TRY(vlorpi_peft_resolve(&c->adapter, &c->base, c->mem, from->model, from->adapter, err));
    VLORP_TRY(vlorpi_source_open(&c->source, c->mem, c->base, 1, err));
    VLORP_TRY(vlorpi_model_config_load(&c->config, c->source, err));
    VLORP_TRY(open_tokenizer(c, err));
    c->stored = from->storage != VLORPI_STORAGE_N ? from->storage : vlorpi_checkpoint_storage(c->config.dtype);
    VLORP_TRY(vlorpi_model_create(&c->model, c->mem, from->kernels, from->exec, &c->config, VLORP_F32, err));
    VLORP_TRY(check_tensors(c, err));
    if (c->adapter != NULL) {
        VLORP_TRY(load_adapter(c, err));
    }
    vlorpi_params *params = vlorpi_model_params(c->model);
    vlorpi_arena counter = vlorpi_arena_counter();
    vlorpi_checkpoint_layout(&c->saver, &counter, params, NULL);
    VLORP_TRY(vlorpi_arena_init(&c->buffers, c->mem, VLORPI_MEM_WORKSPACE, counter.peak_bytes, err));
    vlorpi_checkpoint_layout(&c->saver, &c->buffers, params, NULL);
    return VLORP_OK;
}

/* "SmolLM2-135M" of ".../SmolLM2-135M/" or ".../SmolLM2-135M.gguf". */
static void model_name(char *name, const char *path)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') {
        end--;
    }
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') {
        begin--;
    }
    if (end - begin > 5 && memcmp(path + end - 5, ".gguf", 5) == 0) {
        end -= 5;
    }
    (void)snprintf(name, NAME_BYTES, "%.*s", (int)(end - begin < NAME_BYTES ? end - begin : NAME_BYTES - 1),
                   path + begin);
}

static vlorp_status save(converting *c, vlorp_err *err)
{
    const vlorpi_checkpoint_model model = to_save(c);
    if (c->conversion->to == VLORPI_CONVERT_TO_FOLDER) {
        return vlorpi_checkpoint_save_model(&c->saver, &model, c->conversion->out, err);
    }
    char name[NAME_BYTES];
    model_name(name, c->conversion->model);
    const vlorpi_gguf_file file = {
        .shape = c->model, .path = c->conversion->out, .name = name, .storage = c->stored};
    return vlorpi_checkpoint_save_gguf(&c->saver, &model, &file, err);
}

vlorp_status vlorpi_convert(const vlorpi_conversion *conversion, vlorpi_mem *mem, vlorpi_storage *stored,
                            vlorp_err *err)
{
    converting c = {.conversion = conversion, .mem = mem, .param = -1};
    vlorp_status status = open_model(&c, err);
    if (status == VLORP_OK) {
        status = save(&c, err);
    }
    *stored = c.stored;
    vlorpi_model_free(c.model);
    vlorpi_tokenizer_free(c.tokenizer);
    vlorpi_source_close(c.source);
    vlorpi_peft_close(c.adapter);
    vlorpi_arena_deinit(&c.adapters, mem);
    vlorpi_arena_deinit(&c.buffers, mem);
    return status;
}
