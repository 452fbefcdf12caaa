#include "train/optimizer_sink.h"

static vlorp_status take_linear(void *ctx, int param, const float *dy, int64_t ldy, const float *x, int64_t ldx,
                                int64_t n_tokens, vlorp_err *err)
{
    return vlorp_optimizer_accumulate_factors(ctx, param, dy, ldy, x, ldx, n_tokens, err);
}

static vlorp_status take_rows(void *ctx, int param, const int32_t *ids, const float *dy, int64_t n_tokens,
                              vlorp_err *err)
{
    return vlorp_optimizer_accumulate_rows(ctx, param, ids, dy, 0, n_tokens, err);
}

static vlorp_status take_vector(void *ctx, int param, const float *dw, vlorp_err *err)
{
    return vlorp_optimizer_accumulate_vector(ctx, param, dw, err);
}

vlorpi_sink vlorpi_optimizer_sink(vlorp_optimizer *optimizer)
{
    return (vlorpi_sink){.ctx = optimizer, .linear = take_linear, .rows = take_rows, .vector = take_vector};
}
