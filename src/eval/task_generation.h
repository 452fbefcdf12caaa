/* task_generation.h - questions answered by what a model writes.
 *
 * Layer 5.  Knows: questions, completions, the rules that find an answer.  Does not know: tasks' names, files.
 */
#ifndef VLORPI_EVAL_TASK_GENERATION_H
#define VLORPI_EVAL_TASK_GENERATION_H

#include "eval/complete.h"
#include "eval/task_run.h"

/* How answers of a kind are written; the numbers are those of the published evaluations. */
typedef struct vlorpi_generation_rule {
    int64_t max_new_tokens;
    const char *stop; /* that begins the next prompt: what a model writes behind it is no answer; NULL: none */
} vlorpi_generation_rule;
vlorpi_generation_rule vlorpi_generation_rule_of(vlorpi_question_kind kind);

/* Gets a run ready to be answered its way: tokenises the questions, or measures the prompts.  *longest = tokens of the
 * longest text, with max_new_tokens (0: the kind's) where it is generated, at most max_tokens; run->choices.n_cut = texts
 * that lose their beginning. */
VLORP_CHECKED vlorp_status vlorpi_task_run_measure(int64_t *longest, vlorpi_task_run *run,
                                                   const vlorpi_tokenizer *tokenizer, int64_t max_new_tokens,
                                                   int64_t max_tokens, vlorp_err *err);

/* Answers questions [n_done, n) by greedy generation.  They are not counted: fn may do that.  A prompt that leaves no
 * room for max_new_tokens (0: the kind's) in the engine's positions loses its beginning.
 * Errors: those of vlorpi_complete, vlorpi_task_run_check_stop's, fn's. */
VLORP_CHECKED vlorp_status vlorpi_task_run_generation(const vlorpi_task_run *run, vlorpi_engine *engine,
                                                      const vlorpi_tokenizer *tokenizer, int64_t max_new_tokens,
                                                      vlorpi_task_answer_fn *fn, void *ctx, vlorp_err *err);

#endif
