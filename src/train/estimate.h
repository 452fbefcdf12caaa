/* estimate.h - how long a planned step will take on this machine.
 *
 * Layer 6.  A piece of the model, with all its widths but fewer layers and fewer rows of the vocabulary, takes a few
 * real steps on made-up tokens.  Each phase's seconds, times the whole model's operations of that phase (work.h; for
 * the update its bytes) over the piece's, are the estimate.
 */
#ifndef VLORPI_TRAIN_ESTIMATE_H
#define VLORPI_TRAIN_ESTIMATE_H

#include "train/job.h"
#include "train/metrics.h"

typedef struct vlorpi_estimate {
    double seconds;            /* of one optimizer step */
    vlorpi_step_seconds parts; /* of them; probe is not estimated */
    int64_t n_examples, n_tokens; /* of that step */
    int64_t n_layers, n_rows, n_piece_tokens; /* of the piece: layers, vocabulary, tokens of its step */
    double spent_seconds;      /* what the measurement took */
} vlorpi_estimate;

/* job is open, planned and not yet allocated; examples are as long as its data's are on average, without data
 * max_length.  The piece has an account of its own.
 * Errors: E_LIMIT when the machine has not the memory for the piece; E_NOMEM. */
VLORP_CHECKED vlorp_status vlorpi_estimate_step(vlorpi_estimate *estimate, const vlorpi_job *job, vlorp_err *err);

#endif
