/* The calls that run a model: loss with backward, logits, generation.  Batches are checked here, so
 * that the code below may trust ids, positions and segments. */
#include <stddef.h>

#include "base/clock.h"
#include "base/status.h"
#include "model/decoder.h"

static vlorp_status check_ready(const vlorpi_model *model, vlorp_err *err)
{
    if (!model->ready) {
        VLORP_FAIL(err, VLORP_E_STATE, "the model has no buffers yet");
    }
    return VLORP_OK;
}

static vlorp_status check_ids(const vlorpi_model *model, const int32_t *ids, int64_t n, vlorp_err *err)
{
    for (int64_t t = 0; t < n; t++) {
        if (ids[t] < 0 || ids[t] >= model->config.V) {
            VLORP_FAIL(err, VLORP_E_SHAPE, "token id %d is outside the model's vocabulary of %lld; the tokenizer "
                       "belongs to another model", (int)ids[t], (long long)model->config.V);
        }
    }
    return VLORP_OK;
}

static vlorp_status check_batch(const vlorpi_model *model, const vlorpi_token_batch *batch, vlorp_err *err)
{
    VLORP_TRY(check_ready(model, err));
    const vlorpi_model_usage *usage = &model->usage;
    if (batch->n_tokens < 0 || batch->n_tokens > usage->max_tokens || batch->n_segments < 0 ||
        batch->n_segments > usage->max_segments) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "a micro-batch of %lld tokens in %lld examples; planned were %lld in %lld",
                   (long long)batch->n_tokens, (long long)batch->n_segments, (long long)usage->max_tokens,
                   (long long)usage->max_segments);
    }
    VLORP_TRY(check_ids(model, batch->ids, batch->n_tokens, err));
    for (int64_t t = 0; t < batch->n_tokens; t++) {
        if (batch->positions[t] < 0 || batch->positions[t] >= usage->max_positions) {
            VLORP_FAIL(err, VLORP_E_LIMIT, "position %d; planned were %lld", (int)batch->positions[t],
                       (long long)usage->max_positions);
        }
    }
    int32_t begin = 0;
    for (int64_t s = 0; s < batch->n_segments; s++) {
        if (batch->segment_begin[s] != begin || batch->segment_begin[s + 1] < begin) {
            VLORP_FAIL(err, VLORP_E_ARG, "example %lld of the micro-batch does not follow the one before",
                       (long long)s);
        }
        begin = batch->segment_begin[s + 1];
    }
    if (begin != batch->n_tokens) {
        VLORP_FAIL(err, VLORP_E_ARG, "the examples end at token %d of %lld", (int)begin, (long long)batch->n_tokens);
    }
    return VLORP_OK;
}

static vlorpi_pass make_pass(const vlorpi_model *model, const int32_t *ids, const int32_t *positions, int64_t n,
                             const int32_t *segment_begin, int64_t n_segments)
{
    const vlorpi_model_config *c = &model->config;
    return (vlorpi_pass){
        .ids = ids,
        .n = n,
        .rope = {.positions = positions, .cos = model->rope_cos, .sin = model->rope_sin},
        .attention = {.H = c->H,
                      .G = c->G,
                      .E = c->E,
                      .segment_begin = segment_begin,
                      .n_segments = n_segments,
                      .ld_lse = model->usage.max_tokens}};
}

/* Lists the rows that have a target, in order; their number, or an error for an impossible id. */
static vlorp_status find_targets(vlorpi_model *model, const vlorpi_token_batch *batch, int64_t *n, vlorp_err *err)
{
    *n = 0;
    for (int64_t t = 0; t < batch->n_tokens; t++) {
        if (batch->targets[t] >= 0) {
            model->target_rows[*n] = (int32_t)t;
            model->target_ids[(*n)++] = batch->targets[t];
        }
    }
    return check_ids(model, model->target_ids, *n, err);
}

/* Adds the seconds since *at, which becomes now. */
static void lap(double *seconds, double *at)
{
    double now = vlorpi_clock_seconds();
    *seconds += now - *at;
    *at = now;
}

vlorp_status vlorpi_model_loss(vlorpi_model *model, const vlorpi_token_batch *batch, const vlorpi_sink *sink,
                               double *loss_sum, vlorp_err *err)
{
    *loss_sum = 0;
    VLORP_TRY(check_batch(model, batch, err));
    if (sink != NULL && !model->usage.backward) {
        VLORP_FAIL(err, VLORP_E_STATE, "the model was laid out without a backward pass");
    }
    int64_t n_targets = 0;
    VLORP_TRY(find_targets(model, batch, &n_targets, err));
    if (n_targets == 0) {
        return VLORP_OK;
    }
    model->n_extended = 0;
    vlorpi_pass pass =
        make_pass(model, batch->ids, batch->positions, batch->n_tokens, batch->segment_begin, batch->n_segments);
    pass.keep = sink != NULL;
    double at = vlorpi_clock_seconds();
    vlorpi_model_forward(model, &pass);
    lap(&model->seconds.forward, &at);
    VLORP_TRY(vlorpi_model_head_loss(model, pass.n, n_targets, sink, loss_sum, err));
    lap(&model->seconds.head, &at);
    if (sink != NULL) {
        VLORP_TRY(vlorpi_model_backward(model, &pass, sink, err));
        lap(&model->seconds.backward, &at);
    }
    return VLORP_OK;
}

vlorp_status vlorpi_model_logits(vlorpi_model *model, const vlorpi_token_batch *batch, const int32_t *rows,
                                 int64_t n_rows, float *logits, vlorp_err *err)
{
    VLORP_TRY(check_batch(model, batch, err));
    for (int64_t i = 0; i < n_rows; i++) {
        if (rows[i] < 0 || rows[i] >= batch->n_tokens) {
            VLORP_FAIL(err, VLORP_E_ARG, "row %d of a micro-batch of %lld tokens", (int)rows[i],
                       (long long)batch->n_tokens);
        }
    }
    model->n_extended = 0;
    vlorpi_pass pass =
        make_pass(model, batch->ids, batch->positions, batch->n_tokens, batch->segment_begin, batch->n_segments);
    vlorpi_model_forward(model, &pass);
    vlorpi_model_head_logits(model, rows, n_rows, logits);
    return VLORP_OK;
}

/* Packs the segments into the model's own arrays: the whole pass as one row of tokens. */
static vlorp_status pack_segments(vlorpi_model *model, const vlorpi_cached_segment *segments, int64_t n_segments,
                                  vlorp_err *err)
{
    const vlorpi_model_usage *usage = &model->usage;
    int64_t at = 0;
    for (int64_t s = 0; s < n_segments; s++) {
        const vlorpi_cached_segment *segment = &segments[s];
        if (segment->n > usage->max_tokens - at || segment->n_past + segment->n > usage->max_positions) {
            VLORP_FAIL(err, VLORP_E_LIMIT, "%lld more tokens after %lld of %lld do not fit: planned were %lld in a pass "
                       "and %lld positions", (long long)segment->n, (long long)segment->n_past,
                       (long long)(segment->n_past + segment->n), (long long)usage->max_tokens,
                       (long long)usage->max_positions);
        }
        model->step_begin[s] = (int32_t)at;
        model->step_keys[s] = (vlorpi_segment_keys){.rows = segment->rows, .n_past = segment->n_past};
        for (int64_t t = 0; t < segment->n; t++, at++) {
            model->step_ids[at] = segment->ids[t];
            model->step_positions[at] = (int32_t)(segment->n_past + t);
            model->step_rows[at] = segment->rows[segment->n_past + t];
            if (model->step_rows[at] < 0 || model->step_rows[at] >= usage->cache_tokens) {
                VLORP_FAIL(err, VLORP_E_LIMIT, "row %d of a cache of %lld tokens", (int)model->step_rows[at],
                           (long long)usage->cache_tokens);
            }
        }
    }
    model->step_begin[n_segments] = (int32_t)at;
    return check_ids(model, model->step_ids, at, err);
}

vlorp_status vlorpi_model_extend(vlorpi_model *model, const vlorpi_cached_segment *segments, int64_t n_segments,
                                 vlorp_err *err)
{
    VLORP_TRY(check_ready(model, err));
    if (model->usage.cache_tokens == 0) {
        VLORP_FAIL(err, VLORP_E_STATE, "the model was laid out without a key-value cache");
    }
    if (n_segments < 0 || n_segments > model->usage.max_segments) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "%lld sequences in a pass; planned were %lld", (long long)n_segments,
                   (long long)model->usage.max_segments);
    }
    VLORP_TRY(pack_segments(model, segments, n_segments, err));
    int64_t n = model->step_begin[n_segments];
    vlorpi_pass pass = make_pass(model, model->step_ids, model->step_positions, n, model->step_begin, n_segments);
    pass.attention.keys = model->step_keys;
    pass.cache_rows = model->step_rows;
    vlorpi_model_forward(model, &pass);
    model->n_extended = n;
    return VLORP_OK;
}

static vlorp_status check_extended(const vlorpi_model *model, const int32_t *tokens, int64_t n, vlorp_err *err)
{
    for (int64_t i = 0; i < n; i++) {
        if (tokens[i] < 0 || tokens[i] >= model->n_extended) {
            VLORP_FAIL(err, VLORP_E_ARG, "token %d of a pass of %lld", (int)tokens[i], (long long)model->n_extended);
        }
    }
    return VLORP_OK;
}

vlorp_status vlorpi_model_extend_logits(vlorpi_model *model, const int32_t *tokens, int64_t n, float *logits,
                                        vlorp_err *err)
{
    VLORP_TRY(check_extended(model, tokens, n, err));
    vlorpi_model_head_logits(model, tokens, n, logits);
    return VLORP_OK;
}

vlorp_status vlorpi_model_extend_scores(vlorpi_model *model, const int32_t *tokens, const int32_t *targets, int64_t n,
                                        float *losses, int32_t *best, vlorp_err *err)
{
    VLORP_TRY(check_extended(model, tokens, n, err));
    VLORP_TRY(check_ids(model, targets, n, err));
    return vlorpi_model_head_scores(model, tokens, targets, n, losses, best, err);
}
