/* generate.h - a text continued token by token, with a key-value cache.
 *
 * Layer 5.  Knows: model, tokenizer, sampling.  Does not know: where the text goes.
 */
#ifndef VLORPI_EVAL_GENERATE_H
#define VLORPI_EVAL_GENERATE_H

#include "eval/loaded_model.h"
#include "eval/sample.h"
#include "eval/text_stream.h"

typedef struct vlorpi_generate_request {
    const int32_t *prompt; /* [n_prompt], n_prompt >= 1 */
    int64_t n_prompt;
    int64_t max_new_tokens;
    vlorpi_sampling sampling;
} vlorpi_generate_request;

typedef enum vlorpi_finish {
    VLORPI_FINISH_END,    /* the model said so */
    VLORPI_FINISH_LENGTH, /* max_new_tokens */
    VLORPI_FINISH_CONTEXT /* the model has no more positions */
} vlorpi_finish;

typedef struct vlorpi_generate_result {
    int64_t n_new; /* tokens made, the end token not counted */
    vlorpi_finish finish;
} vlorpi_generate_result;

/* Lays loaded out (it must not be yet) and continues the prompt.
 * Errors: E_ARG when the prompt is empty or fills the model's positions; E_NUMERIC for logits that are
 * not finite; E_NOMEM; the sink's. */
VLORP_CHECKED vlorp_status vlorpi_generate(vlorpi_generate_result *result, vlorpi_loaded_model *loaded,
                                           const vlorpi_kernels *kernels, const vlorpi_generate_request *request,
                                           const vlorpi_text_sink *sink, vlorp_err *err);

#endif
