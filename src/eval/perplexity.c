#include "eval/perplexity.h"

#include <math.h>

#include "data/batch.h"

/* Short windows run together, up to about this many tokens at once. */
enum { GROUP_TOKENS = 1024 };

static int64_t min2(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Appends tokens [begin, end) as one segment, each but the last with its successor as target. */
static void add_window(vlorpi_token_batch *batch, const vlorpi_token *tokens, int64_t begin, int64_t end)
{
    for (int64_t i = begin; i < end; i++) {
        int64_t t = batch->n_tokens++;
        batch->ids[t] = tokens[i].id;
        batch->positions[t] = (int32_t)(i - begin);
        batch->targets[t] = i + 1 < end ? tokens[i + 1].id : -1;
        batch->n_targets += i + 1 < end;
    }
    batch->segment_begin[++batch->n_segments] = (int32_t)batch->n_tokens;
}

/* The sum over all windows; max_length <= tokens->n. */
static vlorp_status sum_windows(vlorpi_perplexity *result, vlorpi_loaded_model *loaded, vlorpi_token_batch *batch,
                                const vlorpi_tokens *tokens, int64_t max_length,
                                const vlorpi_perplexity_watch *watch, vlorp_err *err)
{
    int64_t n_windows = (tokens->n + max_length - 1) / max_length;
    double loss_sum = 0;
    for (int64_t window = 0; window < n_windows;) {
        vlorpi_batch_clear(batch);
        while (window < n_windows && batch->n_segments < batch->max_segments) {
            int64_t begin = window * max_length;
            add_window(batch, tokens->items, begin, min2(begin + max_length, tokens->n));
            window++;
        }
        if (batch->n_targets > 0) { /* a last window of one token predicts nothing */
            double group_sum;
            VLORP_TRY(vlorpi_model_loss(loaded->model, batch, NULL, &group_sum, err));
            loss_sum += group_sum;
            result->n_tokens += batch->n_targets;
        }
        result->loss = loss_sum / (double)result->n_tokens;
        if (watch != NULL) {
            watch->windows_done(watch->ctx, window, n_windows, result->loss);
        }
    }
    result->perplexity = exp(result->loss);
    result->n_windows = n_windows;
    return VLORP_OK;
}

static vlorp_status measure_tokens(vlorpi_perplexity *result, vlorpi_loaded_model *loaded, const vlorpi_tokens *tokens,
                                   int64_t max_length, const vlorpi_perplexity_watch *watch, vlorp_err *err)
{
    int64_t window = min2(max_length, tokens->n);
    int64_t n_segments = window < GROUP_TOKENS ? GROUP_TOKENS / window : 1;
    vlorpi_model_usage usage = {
        .max_tokens = n_segments * window, .max_segments = n_segments, .max_positions = window};
    VLORP_TRY(vlorpi_loaded_model_layout(loaded, &usage, err));

    vlorpi_token_batch batch;
    vlorpi_arena arena = vlorpi_arena_counter();
    vlorpi_batch_layout(&batch, &arena, usage.max_tokens, usage.max_segments);
    VLORP_TRY(vlorpi_arena_init(&arena, loaded->mem, VLORPI_MEM_DATA, arena.peak_bytes, err));
    vlorpi_batch_layout(&batch, &arena, usage.max_tokens, usage.max_segments);
    vlorp_status status = sum_windows(result, loaded, &batch, tokens, window, watch, err);
    vlorpi_arena_deinit(&arena, loaded->mem);
    return status;
}

vlorp_status vlorpi_perplexity_measure(vlorpi_perplexity *result, vlorpi_loaded_model *loaded, const char *text,
                                       size_t n_bytes, int64_t max_length, const vlorpi_perplexity_watch *watch,
                                       vlorp_err *err)
{
    *result = (vlorpi_perplexity){0};
    if (max_length < 2 || max_length > loaded->config.max_positions) {
        VLORP_FAIL(err, VLORP_E_ARG, "max_length: %lld is not within 2 .. %lld, the model's positions",
                   (long long)max_length, (long long)loaded->config.max_positions);
    }
    vlorpi_tokens tokens = {.mem = loaded->mem};
    vlorpi_encode_options options = {.add_special = true, .parse_special = true};
    vlorp_status status = vlorpi_tokenizer_encode(loaded->tokenizer, &tokens, text, n_bytes, options, err);
    result->n_text_tokens = tokens.n;
    if (status == VLORP_OK && tokens.n < 2) {
        status = vlorpi_err_set(err, VLORP_E_ARG, "the text has %lld tokens; predicting takes two",
                                (long long)tokens.n);
    }
    if (status == VLORP_OK) {
        status = measure_tokens(result, loaded, &tokens, max_length, watch, err);
    }
    vlorpi_tokens_deinit(&tokens);
    return status;
}
