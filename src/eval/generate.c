#include "eval/generate.h"

#include <string.h>

enum { PROMPT_CHUNK = 256 }; /* prompt tokens per pass: bounds the activations */

/* One token after the other; logits [V] and scratch are the caller's. */
static vlorp_status run(vlorpi_generate_result *result, vlorpi_loaded_model *loaded, const vlorpi_kernels *kernels,
                        const vlorpi_generate_request *request, int64_t n_new, vlorpi_text_stream *stream,
                        float *logits, void *scratch, vlorp_err *err)
{
    int64_t V = loaded->config.V;
    vlorpi_model_cache_reset(loaded->model);
    VLORP_TRY(vlorpi_model_step(loaded->model, request->prompt, request->n_prompt, logits, err));
    for (int64_t i = 0;; i++) {
        int64_t bad = kernels->model->find_nonfinite(logits, V);
        if (bad >= 0) {
            VLORP_FAIL(err, VLORP_E_NUMERIC, "logit %lld of new token %lld is not finite", (long long)bad,
                       (long long)i + 1);
        }
        int32_t id = vlorpi_sample(&request->sampling, logits, V, (uint64_t)i, scratch);
        if (vlorpi_tokenizer_is_end(loaded->tokenizer, id)) {
            result->finish = VLORPI_FINISH_END;
            break;
        }
        result->n_new = i + 1;
        VLORP_TRY(vlorpi_text_stream_push(stream, id, err));
        if (result->n_new == n_new) {
            result->finish = n_new < request->max_new_tokens ? VLORPI_FINISH_CONTEXT : VLORPI_FINISH_LENGTH;
            break;
        }
        VLORP_TRY(vlorpi_model_step(loaded->model, &id, 1, logits, err));
    }
    return vlorpi_text_stream_end(stream, err);
}

vlorp_status vlorpi_generate(vlorpi_generate_result *result, vlorpi_loaded_model *loaded,
                             const vlorpi_kernels *kernels, const vlorpi_generate_request *request,
                             const vlorpi_text_sink *sink, vlorp_err *err)
{
    int64_t V = loaded->config.V;
    int64_t n_positions = loaded->config.max_positions;
    *result = (vlorpi_generate_result){0};
    if (request->n_prompt < 1 || request->n_prompt >= n_positions) {
        VLORP_FAIL(err, VLORP_E_ARG, "the prompt has %lld tokens; the model has %lld positions",
                   (long long)request->n_prompt, (long long)n_positions);
    }
    int64_t room = n_positions - request->n_prompt;
    int64_t n_new = request->max_new_tokens < room ? request->max_new_tokens : room;
    int64_t n_all = request->n_prompt + n_new;
    vlorpi_model_usage usage = {.max_tokens = request->n_prompt < PROMPT_CHUNK ? request->n_prompt : PROMPT_CHUNK,
                                .max_segments = 1,
                                .max_positions = n_all,
                                .cache_tokens = n_all};
    VLORP_TRY(vlorpi_loaded_model_layout(loaded, &usage, err));

    vlorpi_arena count = vlorpi_arena_counter();
    vlorpi_arena arena = {0};
    int32_t *ids = NULL;
    float *logits = NULL;
    void *scratch = NULL;
    for (vlorpi_arena *a = &count;; a = &arena) { /* counted, then real */
        ids = vlorpi_arena_push(a, n_all, sizeof(int32_t));
        logits = vlorpi_arena_push_f32(a, V);
        scratch = vlorpi_arena_push(a, (int64_t)vlorpi_sample_scratch_bytes(V), 1);
        if (a == &arena) {
            break;
        }
        VLORP_TRY(vlorpi_arena_init(&arena, loaded->mem, VLORPI_MEM_WORKSPACE, count.peak_bytes, err));
    }
    memcpy(ids, request->prompt, (size_t)request->n_prompt * sizeof(int32_t));
    vlorpi_text_stream stream = vlorpi_text_stream_begin(loaded->tokenizer, loaded->mem, sink, ids, request->n_prompt);
    vlorp_status status = run(result, loaded, kernels, request, n_new, &stream, logits, scratch, err);
    vlorpi_arena_deinit(&arena, loaded->mem);
    return status;
}
