/* optimizer_sink.h - the model's backward pass meets the optimizer here.
 *
 * Layer 6.  A linear layer's (dY, X) goes straight to accumulate_factors: no gradient is formed.
 */
#ifndef VLORPI_TRAIN_OPTIMIZER_SINK_H
#define VLORPI_TRAIN_OPTIMIZER_SINK_H

#include <vlorp/optimizer.h>

#include "model/sink.h"

/* Parameter i of the model's table is parameter i of the optimizer.  Borrows it. */
vlorpi_sink vlorpi_optimizer_sink(vlorp_optimizer *optimizer);

#endif
