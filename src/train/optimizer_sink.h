/* optimizer_sink.h - the model's backward pass meets the optimizer here.
 *
 * Layer 6.  A linear layer's (dY, X) goes straight to accumulate_factors: no gradient is formed.
 */
#ifndef VLORPI_TRAIN_OPTIMIZER_SINK_H
#define VLORPI_TRAIN_OPTIMIZER_SINK_H

#include <vlorp/optimizer.h>

#include "model/sink.h"
#include "param/param.h"

/* Where gradients go, and the seconds that taking them took.  Parameter i of the table of what
 * trains is parameter i of the optimizer. */
typedef struct vlorpi_gradient_taker {
    vlorp_optimizer *optimizer; /* borrowed */
    const vlorpi_params *params; /* borrowed */
    bool at_once;                /* parameters are updated as soon as their gradient is complete; a step has begun */
    double head_seconds;         /* of the head's weight, which are spent inside the model's head */
    double backward_seconds;     /* of the others, spent inside its backward pass */
    double update_seconds;       /* of updates at once, nearly all of them spent there too */
} vlorpi_gradient_taker;

/* Borrows the taker. */
vlorpi_sink vlorpi_optimizer_sink(vlorpi_gradient_taker *taker);

#endif
