/* fit.h - a plan against the memory there is, and the nearest settings that fit when it is too large.
 *
 * Layer 6.  Proposals are made by planning them, never by rule of thumb.
 */
#ifndef VLORPI_TRAIN_FIT_H
#define VLORPI_TRAIN_FIT_H

#include "train/job.h"

/* What threads' stacks, the BLAS's buffers and the libraries' own tables take beyond the ledger, at most; a test
 * checks that it suffices. */
enum { VLORPI_LIBRARY_BYTES = 96 << 20 };

/* What a plan may take: --memory_limit, which is of the ledger alone, else what machine, cgroup and ulimit
 * leave beside VLORPI_LIBRARY_BYTES. */
size_t vlorpi_fit_limit(const vlorpi_job *job);

/* VLORP_OK when the plan of an open, not yet allocated job fits, or with --force.  Else E_LIMIT: the text says what is
 * missing, the hint names options that make it fit, each with the total of its plan; job's settings, sizes and
 * plan are then those of the last proposal that was tried, and all that it is good for is _close. */
VLORP_CHECKED vlorp_status vlorpi_fit_check(vlorpi_job *job, vlorp_err *err);

#endif
