/* job_sizes.h - the sizes that a user may leave open, decided from model, data and machine.
 *
 * Layer 6.  The defaults of the option table.
 */
#ifndef VLORPI_TRAIN_JOB_SIZES_H
#define VLORPI_TRAIN_JOB_SIZES_H

#include "train/job.h"

/* Projection, update gap and scale of the optimizer: whenever one is made. */
void vlorpi_job_size_method(vlorpi_job *job);

/* dtype and max_length: before the data is read.  E_ARG names the option. */
VLORP_CHECKED vlorp_status vlorpi_job_size_examples(vlorpi_job *job, vlorp_err *err);

/* Micro-batches and the length of the run: after the data was read. */
VLORP_CHECKED vlorp_status vlorpi_job_size_batches(vlorpi_job *job, vlorp_err *err);

#endif
