/* made_up.h - a step on tokens drawn at random, where time is asked for and not what is learned.
 *
 * Layer 6.
 */
#ifndef VLORPI_TRAIN_MADE_UP_H
#define VLORPI_TRAIN_MADE_UP_H

#include "train/trainer.h"

/* Forward, backward and update of an allocated job on one micro-batch of n_segments examples of length tokens each,
 * 2 or more; sums is overwritten, the update's seconds included. */
VLORP_CHECKED vlorp_status vlorpi_made_up_step(vlorpi_job *job, int64_t n_segments, int64_t length,
                                               vlorpi_step_sums *sums, vlorp_err *err);

#endif
