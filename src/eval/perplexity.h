/* perplexity.h - how well a model predicts a text.
 *
 * Layer 5.  The text is tokenised once, with BOS as the tokenizer adds it, and cut in windows of
 * max_length tokens that do not overlap; tokens 2 .. max_length of each are predicted.
 */
#ifndef VLORPI_EVAL_PERPLEXITY_H
#define VLORPI_EVAL_PERPLEXITY_H

#include "eval/loaded_model.h"

typedef struct vlorpi_perplexity {
    double loss;        /* mean nats per predicted token */
    double perplexity;  /* exp(loss) */
    int64_t n_tokens;   /* predicted */
    int64_t n_text_tokens;
    int64_t n_windows;
} vlorpi_perplexity;

/* Called after each group of windows; NULL: nobody looks.  loss is the mean so far. */
typedef struct vlorpi_perplexity_watch {
    void (*windows_done)(void *ctx, int64_t n_done, int64_t n_windows, double loss);
    void *ctx;
} vlorpi_perplexity_watch;

/* loaded must be open and not yet laid out.
 * Errors: E_ARG when max_length is below 2 or beyond the model's positions, or the text has fewer than
 * two tokens; E_NUMERIC, E_NOMEM. */
VLORP_CHECKED vlorp_status vlorpi_perplexity_measure(vlorpi_perplexity *result, vlorpi_loaded_model *loaded,
                                                     const char *text, size_t n_bytes, int64_t max_length,
                                                     const vlorpi_perplexity_watch *watch, vlorp_err *err);

#endif
