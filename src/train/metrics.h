/* metrics.h - metrics.jsonl: one JSON object per step and per evaluation; the same as TensorBoard's events.
 *
 * Layer 6.  Appends and flushes a line at a time, so that a killed run leaves whole lines.
 */
#ifndef VLORPI_TRAIN_METRICS_H
#define VLORPI_TRAIN_METRICS_H

#include <stdint.h>
#include <stdio.h>

#include "base/status.h"
#include "eval/tally.h"
#include "train/event_file.h"

typedef struct vlorpi_metrics {
    FILE *file;
    const char *path; /* borrowed */
    vlorpi_event_file events; /* beside it */
} vlorpi_metrics;

/* Where a step's time went, each part apart from the others: svd's probe with its passes; layers forward;
 * head and loss with the head's input gradient; input gradients of the layers; what checkpointing computes
 * again; S and exact gradients; norm and update. */
typedef struct vlorpi_step_seconds {
    double probe, forward, head, backward, recompute, gradients, update;
} vlorpi_step_seconds;

/* What one optimizer step did. */
typedef struct vlorpi_step_metrics {
    int64_t step;              /* 1 for the first */
    double loss;               /* mean over target tokens, nats */
    double lr;                 /* the rate this step used */
    double grad_norm;          /* before clipping; estimated where projected */
    double clip;               /* the coefficient all gradients were multiplied with */
    int64_t n_tokens;          /* read by the model in this step */
    int64_t n_targets;         /* predicted in this step */
    double tokens_per_second;
    double seconds;            /* the whole step; parts says where they went */
    vlorpi_step_seconds parts;
    double flops;              /* floating-point operations of the step's passes, counted from shapes (work.h) */
    size_t memory_bytes;       /* booked in the ledger at the end of the step */
} vlorpi_step_metrics;

/* Appends to what is there.  path is borrowed until close.  E_IO with path and reason. */
VLORP_CHECKED vlorp_status vlorpi_metrics_open(vlorpi_metrics *metrics, const char *path, vlorp_err *err);
VLORP_CHECKED vlorp_status vlorpi_metrics_step(vlorpi_metrics *metrics, const vlorpi_step_metrics *step,
                                               vlorp_err *err);
VLORP_CHECKED vlorp_status vlorpi_metrics_eval(vlorpi_metrics *metrics, int64_t step, double eval_loss,
                                               int64_t n_targets, vlorp_err *err);
/* A task's accuracy; TensorBoard's tag is eval/NAME_accuracy. */
VLORP_CHECKED vlorp_status vlorpi_metrics_task(vlorpi_metrics *metrics, int64_t step, const char *name,
                                               const vlorpi_tally *tally, vlorp_err *err);
/* Makes all lines so far last, and tells how many bytes they are. */
VLORP_CHECKED vlorp_status vlorpi_metrics_sync(const vlorpi_metrics *metrics, int64_t *n_bytes, vlorp_err *err);
/* Accepts a closed one. */
void vlorpi_metrics_close(vlorpi_metrics *metrics);

#endif
