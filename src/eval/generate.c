#include "eval/generate.h"

#include <string.h>

enum { PROMPT_CHUNK = 256 }; /* prompt tokens per pass: bounds the activations */

vlorp_status vlorpi_generator_open(vlorpi_generator *generator, vlorpi_loaded_model *loaded,
                                   const vlorpi_kernels *kernels, int64_t n_positions, int64_t max_prompt,
                                   vlorp_err *err)
{
    int64_t V = loaded->config.V;
    *generator = (vlorpi_generator){.loaded = loaded, .kernels = kernels, .n_positions = n_positions};
    vlorpi_model_usage usage = {.max_tokens = max_prompt < PROMPT_CHUNK ? max_prompt : PROMPT_CHUNK,
                                .max_segments = 1,
                                .max_positions = n_positions,
                                .cache_tokens = n_positions};
    VLORP_TRY(vlorpi_loaded_model_layout(loaded, &usage, err));
    vlorpi_arena count = vlorpi_arena_counter();
    for (vlorpi_arena *a = &count;; a = &generator->arena) { /* counted, then real */
        generator->ids = vlorpi_arena_push(a, n_positions, sizeof(int32_t));
        generator->logits = vlorpi_arena_push_f32(a, V);
        generator->scratch = vlorpi_arena_push(a, (int64_t)vlorpi_sample_scratch_bytes(V), 1);
        if (a == &generator->arena) {
            return VLORP_OK;
        }
        VLORP_TRY(vlorpi_arena_init(&generator->arena, loaded->mem, VLORPI_MEM_WORKSPACE, count.peak_bytes, err));
    }
}

void vlorpi_generator_close(vlorpi_generator *generator)
{
    if (generator->loaded != NULL) {
        vlorpi_arena_deinit(&generator->arena, generator->loaded->mem);
    }
    memset(generator, 0, sizeof *generator);
}

/* Appends tokens to the cache and leaves the logits after them; the ids are in place already. */
static vlorp_status step(vlorpi_generator *g, int64_t n, vlorp_err *err)
{
    VLORP_TRY(vlorpi_model_step(g->loaded->model, g->ids + g->n_cached, n, g->logits, err));
    g->n_cached += n;
    int64_t bad = g->kernels->model->find_nonfinite(g->logits, g->loaded->config.V);
    if (bad >= 0) {
        VLORP_FAIL(err, VLORP_E_NUMERIC, "logit %lld of token %lld is not finite", (long long)bad,
                   (long long)g->n_cached + 1);
    }
    return VLORP_OK;
}

/* One token after the other, when the logits behind the prompt are there. */
static vlorp_status run(vlorpi_generate_result *result, vlorpi_generator *g, const vlorpi_generate_request *request,
                        vlorpi_text_stream *stream, vlorp_err *err)
{
    int64_t room = g->n_positions - request->n_prompt;
    int64_t n_new = request->max_new_tokens < room ? request->max_new_tokens : room;
    for (;;) {
        if (request->wants_stop != NULL && request->wants_stop(request->stop_ctx)) {
            result->finish = VLORPI_FINISH_STOPPED;
            break;
        }
        uint64_t index = (uint64_t)g->n_drawn++;
        int32_t id = vlorpi_sample(&request->sampling, g->logits, g->loaded->config.V, index, g->scratch);
        if (vlorpi_tokenizer_is_end(g->loaded->tokenizer, id)) {
            result->finish = VLORPI_FINISH_END;
            break;
        }
        result->n_new++;
        VLORP_TRY(vlorpi_text_stream_push(stream, id, err)); /* into g->ids */
        if (result->n_new == n_new) {
            result->finish = n_new < request->max_new_tokens ? VLORPI_FINISH_CONTEXT : VLORPI_FINISH_LENGTH;
            break;
        }
        VLORP_TRY(step(g, 1, err));
    }
    return vlorpi_text_stream_end(stream, err);
}

vlorp_status vlorpi_generator_run(vlorpi_generate_result *result, vlorpi_generator *g,
                                  const vlorpi_generate_request *request, const vlorpi_text_sink *sink, vlorp_err *err)
{
    *result = (vlorpi_generate_result){0};
    int64_t n = request->n_prompt;
    if (n < 1 || n >= g->n_positions) {
        VLORP_FAIL(err, VLORP_E_ARG, "the prompt has %lld tokens; there are %lld positions for it and what follows",
                   (long long)n, (long long)g->n_positions);
    }
    int64_t kept = 0;
    while (kept < n - 1 && kept < g->n_cached && g->ids[kept] == request->prompt[kept]) {
        kept++; /* one token at least is computed: its logits are needed */
    }
    result->n_reused = kept;
    g->n_cached = kept;
    vlorpi_model_cache_keep(g->loaded->model, kept);
    memcpy(g->ids + kept, request->prompt + kept, (size_t)(n - kept) * sizeof(int32_t));
    vlorp_status status = step(g, n - kept, err);
    if (status == VLORP_OK) {
        vlorpi_text_stream stream = vlorpi_text_stream_begin(g->loaded->tokenizer, g->loaded->mem, sink, g->ids, n);
        status = run(result, g, request, &stream, err);
    }
    return status;
}
