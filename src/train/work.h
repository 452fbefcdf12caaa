/* work.h - the floating-point operations of a training step, counted from shapes.
 *
 * Layer 6.  Matrix products, projections and attention; element-wise passes are not counted.  A product
 * and its sum are two operations.
 */
#ifndef VLORPI_TRAIN_WORK_H
#define VLORPI_TRAIN_WORK_H

#include "train/job.h"

/* Parts as in vlorpi_step_seconds, but apart: gradients are in neither head nor backward, recompute is
 * not in backward. */
typedef struct vlorpi_step_work {
    double forward;   /* layers */
    double head;      /* logits and their input gradient */
    double backward;  /* input gradients of the layers */
    double recompute; /* what checkpointing adds */
    double gradients; /* S, or the exact gradients, of every matrix */
} vlorpi_step_work;

/* Adds the operations of one micro-batch. */
void vlorpi_work_add(vlorpi_step_work *work, const vlorpi_job *job, const vlorpi_token_batch *batch);

/* The bytes that an update reads and writes: W, S and m_s of projected matrices, W, G and the moments of the others. */
double vlorpi_work_update_bytes(const vlorpi_job *job);

double vlorpi_work_total(const vlorpi_step_work *work);

#endif
