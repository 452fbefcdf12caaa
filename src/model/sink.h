/* sink.h - where the backward pass hands over what a parameter's gradient is made of.
 *
 * Layer 4.  The heart of the design: a linear layer gives (dY, X), never dYᵀX, so a projected
 * parameter's gradient is never formed (docs/method.md section 3).  The model computes a layer's input
 * gradient before it calls the sink for that layer's weight.
 */
#ifndef VLORPI_MODEL_SINK_H
#define VLORPI_MODEL_SINK_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* All pointers are borrowed for the call.  Gradients are sums over target tokens, not means: the
 * trainer divides once, by the whole step's number of targets. */
typedef struct vlorpi_sink {
    void *ctx;
    /* weight [n, m]: dy [n_tokens, n] row stride ldy, x [n_tokens, m] row stride ldx */
    vlorp_status (*linear)(void *ctx, int param, const float *dy, int64_t ldy, const float *x, int64_t ldx,
                           int64_t n_tokens, vlorp_err *err);
    /* embedding [V, D]: row ids[t] of the gradient receives dy[t], dy [n_tokens, D] contiguous */
    vlorp_status (*rows)(void *ctx, int param, const int32_t *ids, const float *dy, int64_t n_tokens, vlorp_err *err);
    /* vector [n]: the gradient itself, to be added */
    vlorp_status (*vector)(void *ctx, int param, const float *dw, vlorp_err *err);
    /* all of the parameter's gradient was handed over, and this pass has no more use for the parameter: a rule may
     * update it now.  All losses of the pass were finite.  NULL: not wanted */
    vlorp_status (*done)(void *ctx, int param, vlorp_err *err);
} vlorpi_sink;

static inline vlorp_status vlorpi_sink_done(const vlorpi_sink *sink, int param, vlorp_err *err)
{
    return sink->done != NULL ? sink->done(sink->ctx, param, err) : VLORP_OK;
}

/* A vector's gradient, which always comes whole. */
static inline vlorp_status vlorpi_sink_vector(const vlorpi_sink *sink, int param, const float *dw, vlorp_err *err)
{
    VLORP_TRY(sink->vector(sink->ctx, param, dw, err));
    return vlorpi_sink_done(sink, param, err);
}

#endif
