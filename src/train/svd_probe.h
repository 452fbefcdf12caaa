/* svd_probe.h - the gradient that svd takes its bases from.
 *
 * Layer 6.  At a refresh, step 0 included, the model runs forward and backward over the first
 * min(8, all) examples of the step's global batch once more, before the step's first forward, and each G goes
 * into the optimizer's room for probes (docs/method.md section 2).
 *
 * Where these examples are one micro-batch, a matrix is begun, filled and ended as its layer comes by, one
 * matrix at a time.  Several micro-batches, and a head (whose gradient comes in blocks, and from the embedding too
 * where they are tied), need their G held from pass to pass: as many at once as there is room for, and
 * the passes are repeated until every matrix has its basis.  So the bases do not depend on how
 * the step is cut into micro-batches, and the memory is that of the largest matrix.
 */
#ifndef VLORPI_TRAIN_SVD_PROBE_H
#define VLORPI_TRAIN_SVD_PROBE_H

#include "train/job.h"

/* Gives every matrix that wants one its basis for step number `step` (from 0); nothing where none does.
 * Uses the job's batch.  Errors: the model's and the optimizer's, naming the step. */
VLORP_CHECKED vlorp_status vlorpi_svd_probe(vlorpi_job *job, int64_t step, vlorp_err *err);

#endif
