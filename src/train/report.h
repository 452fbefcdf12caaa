/* report.h - report.html of a run: curves, settings and memory in one file that needs no other.
 *
 * Layer 6.  Reads the run's metrics.jsonl back line by line into columns of fixed number, so that a report allocates
 * nothing and may be made at any moment of a run.  Texts of the user's are escaped.
 */
#ifndef VLORPI_TRAIN_REPORT_H
#define VLORPI_TRAIN_REPORT_H

#include "train/job.h"
#include "train/run_folder.h"

/* Writes folder->path/report.html anew, beside it first.  E_IO with path and reason. */
VLORP_CHECKED vlorp_status vlorpi_report_write(const vlorpi_job *job, const vlorpi_run_folder *folder, vlorp_err *err);

#endif
