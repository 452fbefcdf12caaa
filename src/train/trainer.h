/* trainer.h - the loop: micro-batches, norm, step, evaluation, metrics, and the model at the end.
 *
 * Layer 6.  Tells what happens through callbacks; prints nothing.
 */
#ifndef VLORPI_TRAINER_H
#define VLORPI_TRAINER_H

#include "train/job.h"
#include "train/metrics.h"
#include "train/run_folder.h"
#include "train/work.h"

/* Each may be NULL.  Pointers are borrowed for the call. */
typedef struct vlorpi_train_events {
    void *ctx;
    /* the job is sized and nothing is allocated yet */
    void (*planned)(void *ctx, const vlorpi_job *job, const vlorpi_run_folder *folder);
    void (*stepped)(void *ctx, const vlorpi_step_metrics *step, int64_t n_steps, double seconds_left);
    /* step 0: before the first */
    void (*evaluated)(void *ctx, int64_t step, double eval_loss, int64_t n_targets);
    /* a task's answers at the same moment */
    void (*task_done)(void *ctx, int64_t step, const char *name, const vlorpi_tally *tally);
    /* the model is saved; the job is still open */
    void (*finished)(void *ctx, const vlorpi_job *job, const vlorpi_run_folder *folder);
} vlorpi_train_events;

/* One whole run.  On VLORP_OK, and on E_INTERRUPTED after at least one step, the model is saved in
 * the run's folder.  Errors: whatever opening, planning, training or saving meets; E_LIMIT when the
 * plan does not fit; E_NUMERIC before an update with a value that is not finite, naming the step. */
VLORP_CHECKED vlorp_status vlorpi_train(const vlorpi_train_settings *settings, vlorpi_mem *mem, const vlorpi_log *log,
                                        const vlorpi_kernels *kernels, const vlorp_exec *exec,
                                        const vlorpi_train_events *events, vlorp_err *err);

/* What one step's micro-batches add up to. */
typedef struct vlorpi_step_sums {
    int64_t step;       /* from 0; what is dropped of the inputs depends on it */
    double loss_sum;    /* nats over target tokens */
    int64_t n_tokens;
    int64_t n_targets;
    int64_t n_micro_batches;
    vlorpi_step_seconds seconds; /* of update only what was spent inside the backward pass */
    vlorpi_step_work work;
} vlorpi_step_sums;

/* The numbers of step number `step` (from 0) with so many target tokens. */
vlorp_step vlorpi_train_update(const vlorpi_job *job, int64_t step, int64_t n_targets);

/* Forward and backward of what stands in job->batch, added to sums, which begin as zeros but for step.  Where the
 * optimizer updates inside the backward pass this begins the step, and is the whole of it but for vlorp_optimizer_step. */
VLORP_CHECKED vlorp_status vlorpi_train_micro_batch(vlorpi_job *job, vlorpi_step_sums *sums, vlorp_err *err);

/* Forward and backward of the global batch number `step` (from 0), gradients added up in the
 * optimizer, after svd's probe where one is due; no update but those inside the backward pass. */
VLORP_CHECKED vlorp_status vlorpi_train_accumulate(vlorpi_job *job, int64_t step, vlorpi_step_sums *sums,
                                                   vlorp_err *err);

/* Mean loss per target token over a data set. */
VLORP_CHECKED vlorp_status vlorpi_train_evaluate(vlorpi_job *job, const vlorpi_dataset *data, double *loss,
                                                 int64_t *n_targets, vlorp_err *err);

#endif
