/* dump_logits MODEL OUT ID... - MODEL may be the folder of an adapter; writes the logits of every position as raw fp32 [n, V].
 * A helper of the Python checks, which compare them with transformers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/threads.h"
#include "format/json.h"
#include "kernel/blas/blas.h"
#include "model/lora.h"

static int fail(const vlorp_err *err)
{
    (void)fprintf(stderr, "dump_logits: %s\n", err->text);
    return 1;
}

/* The model of the path, which may be an adapter's folder. */
static vlorp_status make_model(vlorpi_model **model, vlorpi_source **source, vlorpi_peft **peft, vlorpi_mem *mem,
                               const vlorp_exec *exec, const char *path, vlorp_err *err)
{
    const char *base;
    vlorpi_model_config config;
    VLORP_TRY(vlorpi_peft_resolve(peft, &base, mem, path, NULL, err));
    VLORP_TRY(vlorpi_source_open(source, mem, base, 1, err));
    VLORP_TRY(vlorpi_model_config_load(&config, *source, err));
    VLORP_TRY(vlorpi_model_create(model, mem, vlorpi_kernels_select(getenv("VLORP_CPU")), exec, &config, VLORP_F32, err));
    if (*peft == NULL) {
        return VLORP_OK;
    }
    vlorpi_lora lora = vlorpi_peft_lora(*peft);
    return vlorpi_model_add_lora(*model, &lora, *peft, err);
}

static vlorp_status load_model(vlorpi_model *model, const vlorpi_source *source, const vlorpi_peft *peft, vlorp_err *err)
{
    VLORP_TRY(vlorpi_model_load(model, source, err));
    return peft != NULL ? vlorpi_model_load_lora(model, peft, err) : VLORP_OK;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        (void)fprintf(stderr, "usage: dump_logits MODEL OUT ID...\n");
        return 2;
    }
    vlorp_err err = {0};
    vlorpi_mem mem;
    vlorpi_mem_init(&mem);
    vlorpi_json_use_account(&mem);
    vlorp_exec exec = vlorpi_threads_exec(vlorpi_threads_physical());
    vlorpi_source *source = NULL;
    vlorpi_peft *peft = NULL;
    vlorpi_model *model = NULL;
    if (make_model(&model, &source, &peft, &mem, &exec, argv[1], &err) != VLORP_OK) {
        return fail(&err);
    }
    int n = argc - 3;
    vlorpi_model_usage usage = {.max_tokens = n, .max_segments = 1, .max_positions = n};
    vlorpi_arena counters[3] = {{0}};
    vlorpi_arena arenas[3];
    static const vlorpi_mem_class classes[3] = {VLORPI_MEM_WEIGHTS, VLORPI_MEM_ACTIVATIONS, VLORPI_MEM_WORKSPACE};
    vlorpi_model_layout_weights(model, &counters[0]);
    vlorpi_model_layout(model, &usage, &counters[1], &counters[2]);
    for (int i = 0; i < 3; i++) {
        if (vlorpi_arena_init(&arenas[i], &mem, classes[i], counters[i].peak_bytes, &err) != VLORP_OK) {
            return fail(&err);
        }
    }
    vlorpi_model_layout_weights(model, &arenas[0]);
    vlorpi_model_layout(model, &usage, &arenas[1], &arenas[2]);
    int32_t *ids = vlorpi_mem_calloc(&mem, VLORPI_MEM_DATA, (size_t)n * 3, sizeof *ids);
    size_t n_logits = (size_t)n * (size_t)vlorpi_model_config_of(model)->V;
    float *logits = vlorpi_mem_alloc(&mem, VLORPI_MEM_DATA, n_logits * sizeof *logits);
    if (ids == NULL || logits == NULL || load_model(model, source, peft, &err) != VLORP_OK) {
        return fail(&err);
    }
    int32_t *positions = ids + n;
    int32_t *targets = ids + 2 * n;
    for (int i = 0; i < n; i++) {
        ids[i] = (int32_t)strtol(argv[3 + i], NULL, 10);
        positions[i] = i;
        targets[i] = -1;
    }
    int32_t ends[2] = {0, n};
    vlorpi_token_batch batch = {.max_tokens = n, .max_segments = 1, .n_tokens = n, .n_segments = 1, .ids = ids,
                                .positions = positions, .targets = targets, .segment_begin = ends};
    if (vlorpi_model_logits(model, &batch, positions, n, logits, &err) != VLORP_OK) {
        return fail(&err);
    }
    FILE *out = fopen(argv[2], "wb");
    if (out == NULL || fwrite(logits, sizeof *logits, n_logits, out) != n_logits || fclose(out) != 0) {
        perror(argv[2]);
        return 1;
    }
    vlorpi_mem_free(&mem, logits);
    vlorpi_mem_free(&mem, ids);
    vlorpi_model_free(model);
    for (int i = 0; i < 3; i++) {
        vlorpi_arena_deinit(&arenas[i], &mem);
    }
    vlorpi_source_close(source);
    vlorpi_peft_close(peft);
    return 0;
}
