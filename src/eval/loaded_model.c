#include "eval/loaded_model.h"

#include <string.h>

#include "base/system_memory.h"

static vlorp_status make_model(vlorpi_loaded_model *loaded, const vlorpi_machine *machine, int dtype, vlorp_err *err)
{
    vlorp_dtype stored = loaded->config.dtype;
    loaded->dtype = dtype >= 0 ? (vlorp_dtype)dtype : stored == VLORP_F16 ? VLORP_F32 : stored;
    VLORP_TRY(vlorpi_model_create(&loaded->model, machine->mem, machine->kernels, machine->exec, &loaded->config,
                                  loaded->dtype, err));
    if (loaded->adapter == NULL) {
        return VLORP_OK;
    }
    vlorpi_lora lora = vlorpi_peft_lora(loaded->adapter);
    return vlorpi_model_add_lora(loaded->model, &lora, loaded->adapter, err);
}

static vlorp_status read_weights(vlorpi_loaded_model *loaded, const vlorpi_machine *machine, vlorp_err *err)
{
    vlorpi_arena count = vlorpi_arena_counter();
    vlorpi_model_layout_weights(loaded->model, &count);
    VLORP_TRY(vlorpi_arena_init(&loaded->weights, machine->mem, VLORPI_MEM_WEIGHTS, count.peak_bytes, err));
    vlorpi_prefer_large_pages(loaded->weights.base, count.peak_bytes); /* every token reads them all */
    vlorpi_model_layout_weights(loaded->model, &loaded->weights);
    VLORP_TRY(vlorpi_model_load(loaded->model, loaded->source, err));
    return loaded->adapter != NULL ? vlorpi_model_load_lora(loaded->model, loaded->adapter, err) : VLORP_OK;
}

static vlorp_status open_parts(vlorpi_loaded_model *loaded, const vlorpi_machine *machine, const char *path,
                               const char *adapter, int dtype, vlorp_err *err)
{
    const char *base;
    VLORP_TRY(vlorpi_peft_resolve(&loaded->adapter, &base, machine->mem, path, adapter, err));
    VLORP_TRY(vlorpi_source_open(&loaded->source, machine->mem, base, 1, err));
    VLORP_TRY(vlorpi_model_config_load(&loaded->config, loaded->source, err));
    VLORP_TRY(vlorpi_tokenizer_open(&loaded->tokenizer, machine->mem, base, err));
    VLORP_TRY(make_model(loaded, machine, dtype, err));
    return read_weights(loaded, machine, err);
}

vlorp_status vlorpi_loaded_model_open(vlorpi_loaded_model *loaded, const vlorpi_machine *machine, const char *path,
                                      int dtype, vlorp_err *err)
{
    return vlorpi_loaded_model_open_adapted(loaded, machine, path, NULL, dtype, err);
}

vlorp_status vlorpi_loaded_model_open_adapted(vlorpi_loaded_model *loaded, const vlorpi_machine *machine,
                                              const char *path, const char *adapter, int dtype, vlorp_err *err)
{
    *loaded = (vlorpi_loaded_model){.mem = machine->mem};
    vlorp_status status = open_parts(loaded, machine, path, adapter, dtype, err);
    if (status != VLORP_OK) {
        vlorpi_loaded_model_close(loaded);
    }
    return status;
}

vlorp_status vlorpi_loaded_model_layout(vlorpi_loaded_model *loaded, const vlorpi_model_usage *usage, vlorp_err *err)
{
    vlorpi_arena activations = vlorpi_arena_counter();
    vlorpi_arena workspace = vlorpi_arena_counter();
    vlorpi_model_layout(loaded->model, usage, &activations, &workspace);
    vlorpi_mem *mem = loaded->mem;
    VLORP_TRY(vlorpi_arena_init(&loaded->activations, mem, VLORPI_MEM_ACTIVATIONS, activations.peak_bytes, err));
    VLORP_TRY(vlorpi_arena_init(&loaded->workspace, mem, VLORPI_MEM_WORKSPACE, workspace.peak_bytes, err));
    vlorpi_model_layout(loaded->model, usage, &loaded->activations, &loaded->workspace);
    return VLORP_OK;
}

void vlorpi_loaded_model_close(vlorpi_loaded_model *loaded)
{
    vlorpi_model_free(loaded->model);
    vlorpi_tokenizer_free(loaded->tokenizer);
    vlorpi_source_close(loaded->source);
    vlorpi_peft_close(loaded->adapter);
    vlorpi_arena_deinit(&loaded->workspace, loaded->mem);
    vlorpi_arena_deinit(&loaded->activations, loaded->mem);
    vlorpi_arena_deinit(&loaded->weights, loaded->mem);
    memset(loaded, 0, sizeof *loaded);
}
