/* task_eval.h - tasks that a run is judged by while it trains.
 *
 * Layer 6.  Questions are read and tokenised before the plan is made; the engine's memory is part of it, and so is room for
 * the texts that are generated where a task has no list of answers.  Answering changes nothing that training reads.
 */
#ifndef VLORPI_TRAIN_TASK_EVAL_H
#define VLORPI_TRAIN_TASK_EVAL_H

#include <signal.h>

#include "eval/task_run.h"

enum { VLORPI_TASK_EVAL_MAX = 16 };

/* Zero-initialised storage holds no tasks. */
typedef struct vlorpi_task_eval {
    vlorpi_mem *mem;                   /* borrowed */
    const vlorpi_tokenizer *tokenizer; /* borrowed */
    vlorpi_task_run runs[VLORPI_TASK_EVAL_MAX];
    int n_runs;
    int64_t longest; /* tokens of the longest text */
    vlorpi_engine engine;
    vlorpi_likelihood likelihood;
    size_t text_bytes; /* booked, but while texts are generated, which take them */
} vlorpi_task_eval;

typedef struct vlorpi_task_eval_settings {
    unsigned tasks;       /* bit i: row i of vlorpi_task_table */
    int64_t limit;        /* questions of each task, of each subject; 0: all */
    const char *data_dir; /* NULL: not given */
    int64_t max_tokens;   /* the model's positions */
} vlorpi_task_eval_settings;

/* Owner: the caller, _close, also after an error.  tokenizer is borrowed until then. */
VLORP_CHECKED vlorp_status vlorpi_task_eval_open(vlorpi_task_eval *eval, vlorpi_mem *mem,
                                                 const vlorpi_tokenizer *tokenizer,
                                                 const vlorpi_task_eval_settings *settings, vlorp_err *err);
void vlorpi_task_eval_close(vlorpi_task_eval *eval);

/* Makes usage, that of training, large enough for the engine too, whose passes are of usage->max_tokens at most. */
void vlorpi_task_eval_widen(const vlorpi_task_eval *eval, vlorpi_model_usage *usage);
/* Places what answering needs for a model of that usage. */
void vlorpi_task_eval_layout(vlorpi_task_eval *eval, vlorpi_model *model, const vlorpi_kernels *kernels,
                             const vlorpi_model_usage *usage, vlorpi_arena *arena);

/* Answers all questions anew, as the model is now; the tallies are in the runs.
 * Errors: E_INTERRUPTED when *stop (NULL: nobody) becomes non-zero; E_NUMERIC. */
VLORP_CHECKED vlorp_status vlorpi_task_eval_answer(vlorpi_task_eval *eval, const volatile sig_atomic_t *stop,
                                                   vlorp_err *err);

#endif
