/* run_record.h - run.json: every setting, the version, the seed and the machine.
 *
 * Layer 6.  `--config run.json` repeats the run: the user's options are under "options".
 */
#ifndef VLORPI_TRAIN_RUN_RECORD_H
#define VLORPI_TRAIN_RUN_RECORD_H

#include "train/job.h"

/* Appears whole or not at all, in place of what was there. */
VLORP_CHECKED vlorp_status vlorpi_run_record_write(const vlorpi_job *job, const char *path, vlorp_err *err);

#endif
