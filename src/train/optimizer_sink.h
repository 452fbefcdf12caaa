/* optimizer_sink.h - the model's backward pass meets the optimizer here.
 *
 * Layer 6.  A linear layer's (dY, X) goes straight to accumulate_factors: no gradient is formed.
 */
#ifndef VLORPI_TRAIN_OPTIMIZER_SINK_H
#define VLORPI_TRAIN_OPTIMIZER_SINK_H

#include <vlorp/optimizer.h>

#include "model/sink.h"

/* Where gradients go, and the seconds that taking them took, which are part of the model's backward
 * pass.  Parameter i of the model's table is parameter i of the optimizer. */
typedef struct vlorpi_gradient_taker {
    vlorp_optimizer *optimizer; /* borrowed */
    double seconds;
} vlorpi_gradient_taker;

/* Borrows the taker. */
vlorpi_sink vlorpi_optimizer_sink(vlorpi_gradient_taker *taker);

#endif
