/* generate.h - a text continued token by token, with a key-value cache.
 *
 * Layer 5.  Knows: model, tokenizer, sampling.  Does not know: where the text goes.
 */
#ifndef VLORPI_EVAL_GENERATE_H
#define VLORPI_EVAL_GENERATE_H

#include "eval/engine.h"
#include "eval/text_stream.h"

/* A model with the tokens that its cache holds.  Zero-initialised storage is closed; the fields are
 * read-only to others.  Borrows loaded and kernels. */
typedef struct vlorpi_generator {
    vlorpi_loaded_model *loaded;
    int64_t n_positions;  /* room: prompt and new tokens together */
    vlorpi_engine engine; /* for one sequence */
    uint64_t n_drawn;     /* tokens sampled so far: where the random numbers stand */
} vlorpi_generator;

/* Lays loaded out (it must not be yet) for texts of n_positions tokens, at most the model's, whose prompts
 * come in passes of at most max_prompt tokens.  Owner: the caller, _close; on an error there is nothing to
 * close. */
VLORP_CHECKED vlorp_status vlorpi_generator_open(vlorpi_generator *generator, vlorpi_loaded_model *loaded,
                                                 const vlorpi_kernels *kernels, int64_t n_positions,
                                                 int64_t max_prompt, vlorp_err *err);
void vlorpi_generator_close(vlorpi_generator *generator);

typedef struct vlorpi_generate_request {
    const int32_t *prompt; /* [n_prompt], n_prompt >= 1 */
    int64_t n_prompt;
    int64_t max_new_tokens;
    vlorpi_sampling sampling;
    bool (*wants_stop)(void *ctx); /* asked before each token; NULL: nobody stops it */
    void *stop_ctx;
} vlorpi_generate_request;

typedef struct vlorpi_generate_result {
    int64_t n_new;    /* tokens made, the end token not counted */
    int64_t n_reused; /* tokens of the prompt that were in the cache already */
    vlorpi_finish finish; /* STOPPED: wants_stop */
} vlorpi_generate_result;

/* Continues a prompt; the part of it that the cache holds already, from its beginning, is not computed
 * again.  Text goes to the sink.
 * Errors: E_ARG when the prompt is empty or leaves no room; E_NUMERIC for logits that are not finite; the
 * sink's.  After an error the generator can be used again. */
VLORP_CHECKED vlorp_status vlorpi_generator_run(vlorpi_generate_result *result, vlorpi_generator *generator,
                                                const vlorpi_generate_request *request, const vlorpi_text_sink *sink,
                                                vlorp_err *err);

#endif
