#include "train/optimizer_sink.h"

#include "base/clock.h"
#include "base/status.h"

static vlorp_status take_linear(void *ctx, int param, const float *dy, int64_t ldy, const float *x, int64_t ldx,
                                int64_t n_tokens, vlorp_err *err)
{
    vlorpi_gradient_taker *t = ctx;
    const vlorpi_param *p = &t->params->items[param];
    double begin = vlorpi_clock_seconds();
    vlorp_status status =
        vlorp_optimizer_accumulate_factors(t->optimizer, param, dy, ldy, x, ldx, n_tokens, err);
    *(p->role == VLORPI_ROLE_HEAD || p->tied ? &t->head_seconds : &t->backward_seconds) +=
        vlorpi_clock_seconds() - begin;
    return status;
}

static vlorp_status take_rows(void *ctx, int param, const int32_t *ids, const float *dy, int64_t n_tokens,
                              vlorp_err *err)
{
    vlorpi_gradient_taker *t = ctx;
    double begin = vlorpi_clock_seconds();
    vlorp_status status = vlorp_optimizer_accumulate_rows(t->optimizer, param, ids, dy, 0, n_tokens, err);
    t->backward_seconds += vlorpi_clock_seconds() - begin;
    return status;
}

static vlorp_status take_vector(void *ctx, int param, const float *dw, vlorp_err *err)
{
    const vlorpi_gradient_taker *t = ctx; /* too short to be timed */
    vlorp_parameter_info info;
    VLORP_TRY(vlorp_optimizer_parameter(t->optimizer, param, &info, err));
    if (!info.is_vector) { /* vectors of rules but adamw are matrices of one row */
        return vlorp_optimizer_accumulate(t->optimizer, param, dw, 0, err);
    }
    return vlorp_optimizer_accumulate_vector(t->optimizer, param, dw, err);
}

static vlorp_status take_done(void *ctx, int param, vlorp_err *err)
{
    vlorpi_gradient_taker *t = ctx;
    double begin = vlorpi_clock_seconds();
    vlorp_status status = vlorp_optimizer_step_one(t->optimizer, param, err);
    t->update_seconds += vlorpi_clock_seconds() - begin;
    return status;
}

vlorpi_sink vlorpi_optimizer_sink(vlorpi_gradient_taker *taker)
{
    return (vlorpi_sink){.ctx = taker,
                         .linear = take_linear,
                         .rows = take_rows,
                         .vector = take_vector,
                         .done = taker->at_once ? take_done : NULL};
}
