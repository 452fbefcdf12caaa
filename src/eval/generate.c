#include "eval/generate.h"

#include <string.h>

enum { PROMPT_CHUNK = 256 }; /* prompt tokens per pass: bounds the activations */

vlorp_status vlorpi_generator_open(vlorpi_generator *generator, vlorpi_loaded_model *loaded,
                                   const vlorpi_kernels *kernels, int64_t n_positions, int64_t max_prompt,
                                   vlorp_err *err)
{
    *generator = (vlorpi_generator){.loaded = loaded, .n_positions = n_positions};
    vlorpi_engine_limits limits = {.max_sequences = 1,
                                   .max_positions = n_positions,
                                   .cache_tokens = n_positions,
                                   .pass_tokens = max_prompt < PROMPT_CHUNK ? max_prompt : PROMPT_CHUNK};
    return vlorpi_engine_open(&generator->engine, loaded, kernels, &limits, err);
}

void vlorpi_generator_close(vlorpi_generator *generator)
{
    vlorpi_engine_close(&generator->engine);
    memset(generator, 0, sizeof *generator);
}

/* One request on its way through the engine. */
typedef struct run {
    const vlorpi_generate_request *request;
    uint64_t first_draw;
    bool begun;
    vlorpi_text_stream stream;
    vlorpi_generate_result *result;
} run;

static vlorp_status next(void *ctx, vlorpi_sequence *sequence, bool *more, vlorp_err *err)
{
    (void)err;
    run *r = ctx;
    *more = !r->begun;
    r->begun = true;
    *sequence = (vlorpi_sequence){.ids = r->request->prompt,
                                  .n_ids = r->request->n_prompt,
                                  .n_prompt = r->request->n_prompt,
                                  .max_new_tokens = r->request->max_new_tokens,
                                  .sampling = r->request->sampling,
                                  .first_draw = r->first_draw};
    return VLORP_OK;
}

static vlorp_status token(void *ctx, int64_t tag, const int32_t *ids, int64_t n, bool *stop, vlorp_err *err)
{
    (void)tag;
    (void)stop;
    run *r = ctx;
    return vlorpi_text_stream_push(&r->stream, ids, n, err);
}

static bool wants_stop(void *ctx)
{
    const run *r = ctx;
    return r->request->wants_stop != NULL && r->request->wants_stop(r->request->stop_ctx);
}

static vlorp_status done(void *ctx, const vlorpi_sequence_result *result, vlorp_err *err)
{
    run *r = ctx;
    *r->result = (vlorpi_generate_result){
        .n_new = result->n_new, .n_reused = result->n_shared, .finish = result->finish};
    return vlorpi_text_stream_end(&r->stream, result->ids, result->n_ids + result->n_new, err);
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
    run r = {.request = request, .first_draw = g->n_drawn, .result = result};
    r.stream = vlorpi_text_stream_begin(g->loaded->tokenizer, g->loaded->mem, sink, n);
    vlorpi_engine_source source = {.ctx = &r,
                                   .next = next,
                                   .done = done,
                                   .token = token,
                                   .wants_stop = wants_stop,
                                   .tokenizer = g->loaded->tokenizer};
    VLORP_TRY(vlorpi_engine_run(&g->engine, &source, err));
    g->n_drawn += (uint64_t)result->n_new + (result->finish == VLORPI_FINISH_END);
    return VLORP_OK;
}
