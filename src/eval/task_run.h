/* task_run.h - one task with its questions, answered one by one.
 *
 * Layer 5.  Knows: tasks, questions, likelihoods.  Does not know: files of results, training.
 */
#ifndef VLORPI_EVAL_TASK_RUN_H
#define VLORPI_EVAL_TASK_RUN_H

#include <signal.h>

#include "eval/likelihood.h"
#include "eval/tally.h"
#include "eval/task.h"

typedef struct vlorpi_task_settings {
    const char *data_dir;  /* NULL: not given */
    int n_shots;           /* where the task has solved examples */
    int64_t limit;         /* questions of the task (of each subject); 0: all */
    bool by_generation;    /* else by likelihood, but for tasks without a list of answers */
} vlorpi_task_settings;

/* Zero-initialised storage is closed; fields are read by others, n_done and groups are written by _count and _reset. */
typedef struct vlorpi_task_run {
    const vlorpi_task *task;
    vlorpi_mem *mem;          /* borrowed */
    vlorpi_question_set *set;
    int64_t n;                /* questions */
    bool by_generation;
    int n_shots;
    vlorpi_choices choices;   /* after _encode, by likelihood */
    const volatile sig_atomic_t *stop; /* borrowed, the caller's to set: answering ends when it becomes non-zero; NULL: never */
    vlorpi_tally *groups;     /* [groups of set] */
    int64_t n_done;           /* questions counted so far */
} vlorpi_task_run;

/* Reads the questions.  Owner: the caller, _close; on an error there is nothing to close.
 * Errors: vlorpi_question_set_open's; E_ARG for shots where the task has none; E_FORMAT for a subject
 * that MMLU does not have. */
VLORP_CHECKED vlorp_status vlorpi_task_run_open(vlorpi_task_run *run, vlorpi_mem *mem, const vlorpi_task *task,
                                                const vlorpi_task_settings *settings, vlorp_err *err);
void vlorpi_task_run_close(vlorpi_task_run *run);

/* By likelihood: tokenises the questions; a text of more than max_tokens loses its beginning. */
VLORP_CHECKED vlorp_status vlorpi_task_run_encode(vlorpi_task_run *run, const vlorpi_tokenizer *tokenizer,
                                                  int64_t max_tokens, vlorp_err *err);

/* What a model answered.  Texts are borrowed for the call. */
typedef struct vlorpi_task_answer {
    int64_t question;
    int choice;      /* an option, or -1: none, or none of them */
    bool is_correct;
    bool is_near;    /* wrong, but nearly right: see tally.h */
    bool is_cut;     /* the text did not fit and lost its beginning */
    int n_options;   /* by likelihood: how many there are in log_likelihood; by generation 0 */
    double log_likelihood[VLORPI_QUESTION_MAX_OPTIONS];
    vlorpi_bytes text;  /* by generation: what the model wrote */
    vlorpi_bytes found; /* the answer in it; n_bytes 0: none */
} vlorpi_task_answer;

/* Gets every answer as soon as it is there, in any order; a failure ends the run and is returned. */
typedef vlorp_status vlorpi_task_answer_fn(void *ctx, const vlorpi_task_run *run, const vlorpi_task_answer *answer,
                                           vlorp_err *err);

/* E_INTERRUPTED once *run->stop is not zero. */
VLORP_CHECKED vlorp_status vlorpi_task_run_check_stop(const vlorpi_task_run *run, vlorp_err *err);

/* Answers questions [n_done, n) by likelihood.  They are not counted: fn may do that. */
VLORP_CHECKED vlorp_status vlorpi_task_run_likelihood(const vlorpi_task_run *run, vlorpi_likelihood *likelihood,
                                                      vlorpi_engine *engine, vlorpi_task_answer_fn *fn, void *ctx,
                                                      vlorp_err *err);

/* Counts an answer, and forgets all of them. */
void vlorpi_task_run_count(vlorpi_task_run *run, int64_t question, bool is_correct, bool is_near);
void vlorpi_task_run_reset(vlorpi_task_run *run);
/* Of all its groups. */
vlorpi_tally vlorpi_task_run_total(const vlorpi_task_run *run);
/* Tokens to compute for questions [begin, end), for estimates of time; by generation a guess. */
int64_t vlorpi_task_run_cost(const vlorpi_task_run *run, int64_t begin, int64_t end);

#endif
