/* complete.h - prompts to texts, many at once.
 *
 * Layer 5.  Knows: the engine, the tokenizer's decoder.  Does not know: tasks.
 */
#ifndef VLORPI_EVAL_COMPLETE_H
#define VLORPI_EVAL_COMPLETE_H

#include "eval/engine.h"

typedef struct vlorpi_completion_request {
    int64_t tag;        /* the caller's */
    const int32_t *ids; /* [n_ids] of the prompt, borrowed until the source is asked again */
    int64_t n_ids;
    int64_t max_new_tokens;
    const char *stop;   /* a text that ends the answer and does not belong to it, constant; NULL: there is none */
} vlorpi_completion_request;

typedef struct vlorpi_completion {
    int64_t tag;
    const char *text; /* what follows the prompt, valid UTF-8, without the stop text; valid during the call */
    size_t n_bytes;
    int64_t n_new;    /* tokens made */
    int64_t n_shared; /* of the prompt, that were in the cache already */
    vlorpi_finish finish; /* STOPPED: by the stop text */
} vlorpi_completion;

typedef struct vlorpi_completion_source {
    void *ctx;
    /* The next prompt; *more false: there is none. */
    vlorp_status (*next)(void *ctx, vlorpi_completion_request *request, bool *more, vlorp_err *err);
    /* A text is complete; in the order of ending. */
    vlorp_status (*done)(void *ctx, const vlorpi_completion *completion, vlorp_err *err);
    /* After each token: an error ends the run.  NULL: nobody looks. */
    vlorp_status (*check)(void *ctx, vlorp_err *err);
} vlorpi_completion_source;

/* Completes all prompts greedily: each with the text that it would get alone.
 * Errors: vlorpi_engine_run's, the source's, E_NOMEM. */
VLORP_CHECKED vlorp_status vlorpi_complete(vlorpi_engine *engine, const vlorpi_tokenizer *tokenizer, vlorpi_mem *mem,
                                           const vlorpi_completion_source *source, vlorp_err *err);

#endif
