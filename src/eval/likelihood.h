/* likelihood.h - the answer that a model finds likeliest.
 *
 * Layer 5.  Knows: token sequences, the engine.  Does not know: tasks, text.
 *
 * An option's likelihood is the sum of the log-probabilities of its tokens behind the prompt, in nats; among equals the
 * first option is chosen.
 */
#ifndef VLORPI_EVAL_LIKELIHOOD_H
#define VLORPI_EVAL_LIKELIHOOD_H

#include "eval/choices.h"
#include "eval/engine.h"

typedef struct vlorpi_likelihoods {
    int64_t question;
    int n_options;
    int choice;
    double log_likelihood[VLORPI_QUESTION_MAX_OPTIONS];
} vlorpi_likelihoods;

/* Gets each question's result as soon as it is there, in any order. */
typedef vlorp_status vlorpi_likelihoods_fn(void *ctx, const vlorpi_likelihoods *result, vlorp_err *err);

/* A question whose sequences are under way. */
typedef struct vlorpi_likelihood_sum {
    int64_t question;
    int n_left; /* sequences that have not ended; 0: the place is free */
    double common;
    double tail[VLORPI_QUESTION_MAX_OPTIONS];
} vlorpi_likelihood_sum;

/* The scratch of a run. */
typedef struct vlorpi_likelihood {
    int32_t *ids;                /* [longest] */
    vlorpi_likelihood_sum *sums; /* [n_sums] */
    int64_t n_sums;
} vlorpi_likelihood;

/* Places the scratch for sequences of at most `longest` tokens, at most max_sequences of them at once. */
void vlorpi_likelihood_layout(vlorpi_likelihood *likelihood, vlorpi_arena *arena, int64_t longest,
                              int64_t max_sequences);

/* Questions [begin, end) of choices; fn gets ctx.  Errors: E_NUMERIC, fn's. */
VLORP_CHECKED vlorp_status vlorpi_likelihood_run(vlorpi_likelihood *likelihood, vlorpi_engine *engine,
                                                 const vlorpi_choices *choices, int64_t begin, int64_t end,
                                                 vlorpi_likelihoods_fn *fn, void *ctx, vlorp_err *err);

#endif
