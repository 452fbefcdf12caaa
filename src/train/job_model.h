/* job_model.h - the model of a job: its files, its adapters, its weights.
 *
 * Layer 6.  Part of job.c's work.
 */
#ifndef VLORPI_TRAIN_JOB_MODEL_H
#define VLORPI_TRAIN_JOB_MODEL_H

#include "train/job.h"

/* Opens the model's files and those of an adapter, and reads the configuration.  E_UNSUPPORTED for an adapter under
 * an optimizer that trains whole models, unless weights are not needed. */
VLORP_CHECKED vlorp_status vlorpi_job_open_model(vlorpi_job *job, bool need_weights, vlorp_err *err);

/* Makes the model, with adapters where the optimizer trains them; one that is there already is freed.  E_ARG names
 * the option that does not go with the adapter's folder. */
VLORP_CHECKED vlorp_status vlorpi_job_make_model(vlorpi_job *job, vlorp_err *err);

/* Reads or draws the weights, which are in place. */
VLORP_CHECKED vlorp_status vlorpi_job_fill_model(vlorpi_job *job, vlorp_err *err);

#endif
