#include "checkpoint/convert.h"

#include "checkpoint/save.h"
#include "model/model.h"

/* Everything that a conversion holds; zeroed is closed. */
typedef struct converting {
    const vlorpi_conversion *conversion; /* borrowed */
    vlorpi_mem *mem;                     /* borrowed */
    vlorpi_source *source;
    vlorpi_tokenizer *tokenizer; /* only for GGUF, whose tokenizer must be written anew */
    vlorpi_model *model;
    vlorpi_model_config config;
    vlorpi_checkpoint_saver saver;
    vlorpi_arena weights, buffers;
    vlorp_dtype stored;
} converting;

static vlorpi_checkpoint_model to_save(converting *c)
{
    return (vlorpi_checkpoint_model){
        .params = vlorpi_model_params(c->model),
        .dtype = c->stored,
        .config = &c->config,
        .source = c->source,
        .tokenizer = c->tokenizer,
        .kernels = c->conversion->kernels,
        .overwrite = c->conversion->overwrite,
        .shard_bytes = c->conversion->shard_bytes,
    };
}

/* Makes room for the weights and for saving them, once it is known that they can be saved. */
static vlorp_status make_room(converting *c, vlorp_err *err)
{
    vlorpi_params *params = vlorpi_model_params(c->model);
    vlorpi_arena weights = vlorpi_arena_counter();
    vlorpi_arena buffers = vlorpi_arena_counter();
    vlorpi_params_layout(params, &weights);
    vlorpi_checkpoint_layout(&c->saver, &buffers, params);
    const vlorpi_checkpoint_model model = to_save(c);
    VLORP_TRY(vlorpi_checkpoint_check(&c->saver, &model, c->conversion->folder, err));
    VLORP_TRY(vlorpi_arena_init(&c->weights, c->mem, VLORPI_MEM_WEIGHTS, weights.peak_bytes, err));
    VLORP_TRY(vlorpi_arena_init(&c->buffers, c->mem, VLORPI_MEM_WORKSPACE, buffers.peak_bytes, err));
    vlorpi_params_layout(params, &c->weights);
    vlorpi_checkpoint_layout(&c->saver, &c->buffers, params);
    return VLORP_OK;
}

static vlorp_status read_model(converting *c, vlorp_err *err)
{
    const vlorpi_conversion *from = c->conversion;
    VLORP_TRY(vlorpi_source_open(&c->source, c->mem, from->model, 1, err));
    VLORP_TRY(vlorpi_model_config_load(&c->config, c->source, err));
    if (vlorpi_source_gguf(c->source) != NULL) {
        VLORP_TRY(vlorpi_tokenizer_from_gguf(&c->tokenizer, c->mem, vlorpi_source_gguf(c->source), from->model, err));
    }
    c->stored = from->dtype >= 0 ? (vlorp_dtype)from->dtype : c->config.dtype;
    /* in memory nothing narrower than what is written; fp32 holds every float16 */
    vlorp_dtype held = c->stored == VLORP_BF16 ? VLORP_BF16 : VLORP_F32;
    VLORP_TRY(vlorpi_model_create(&c->model, c->mem, from->kernels, from->exec, &c->config, held, err));
    VLORP_TRY(make_room(c, err));
    return vlorpi_model_load(c->model, c->source, err);
}

vlorp_status vlorpi_convert(const vlorpi_conversion *conversion, vlorpi_mem *mem, vlorp_dtype *stored, vlorp_err *err)
{
    converting c = {.conversion = conversion, .mem = mem};
    vlorp_status status = read_model(&c, err);
    if (status == VLORP_OK) {
        const vlorpi_checkpoint_model model = to_save(&c);
        status = vlorpi_checkpoint_save_model(&c.saver, &model, conversion->folder, err);
    }
    if (stored != NULL) {
        *stored = c.stored;
    }
    vlorpi_model_free(c.model);
    vlorpi_tokenizer_free(c.tokenizer);
    vlorpi_source_close(c.source);
    vlorpi_arena_deinit(&c.buffers, mem);
    vlorpi_arena_deinit(&c.weights, mem);
    return status;
}
