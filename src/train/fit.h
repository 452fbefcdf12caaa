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

/* How a job can be made to fit. */
typedef struct vlorpi_fit {
    vlorpi_train_settings settings; /* that fit; where none do, the leanest there are */
    size_t need_bytes;              /* the total of their plan */
    bool fits;
    bool as_asked;                  /* settings are those that were asked for */
} vlorpi_fit;

/* Looks for the settings nearest to `asked` whose plan is within limit bytes: from the leanest on, one thing after the
 * other is given back as far as it fits - length, dtype, budget, state, targets, checkpointing, micro-batches.  The
 * optimizer stays.  Leave no activation_checkpointing to be chosen: it would be chosen first.
 * job is open and not yet allocated, and planned with fit->settings afterwards. */
VLORP_CHECKED vlorp_status vlorpi_fit_find(vlorpi_fit *fit, vlorpi_job *job, const vlorpi_train_settings *asked,
                                           size_t limit, vlorp_err *err);

#endif
