/* resume.h - a run that goes on from a checkpoint.
 *
 * Layer 6.
 */
#ifndef VLORPI_TRAIN_RESUME_H
#define VLORPI_TRAIN_RESUME_H

#include "train/run_state.h"

/* Where a run goes on.  Zeroed: it begins anew. */
typedef struct vlorpi_resume {
    bool is_on;
    bool same_folder;                    /* the run goes on where it was kept */
    vlorpi_run_folder from;              /* where it was kept; locked when same_folder is true */
    char checkpoint[VLORPI_PATH_BYTES];
    vlorpi_run_point point;
    char data_sum[VLORPI_DATA_SUM_BYTES]; /* vlorpi_job_data_sum of the run */
    int64_t n_examples;
    int n_threads;
} vlorpi_resume;

/* Finds the latest checkpoint of settings->continue_from, checks all of it, and lets settings train on from
 * there: model and weights are the checkpoint's, and so is the length of the warm-up, which is over or under
 * way.  Strings of resume are borrowed by settings.  Owner: the caller, _close in every case. */
VLORP_CHECKED vlorp_status vlorpi_resume_open(vlorpi_resume *resume, vlorpi_train_settings *settings, vlorpi_mem *mem,
                                              const vlorpi_log *log, vlorp_err *err);
/* Accepts one that was never opened. */
void vlorpi_resume_close(vlorpi_resume *resume);

/* Whether the open job can go on from there: the training data is the run's, and steps are left or all done.
 * E_ARG, E_STATE with the reason. */
VLORP_CHECKED vlorp_status vlorpi_resume_check(const vlorpi_resume *resume, const vlorpi_job *job, vlorp_err *err);

/* Whether the weights that were read beside adapters are those of the run.  E_STATE. */
VLORP_CHECKED vlorp_status vlorpi_resume_check_base(const vlorpi_resume *resume, const vlorpi_job *job,
                                                    vlorp_err *err);

/* Gives folder the metrics up to the checkpoint: by cutting them, or by copying those of the old folder. */
VLORP_CHECKED vlorp_status vlorpi_resume_metrics(const vlorpi_resume *resume, const vlorpi_run_folder *folder,
                                                 const vlorpi_log *log, vlorp_err *err);

#endif
