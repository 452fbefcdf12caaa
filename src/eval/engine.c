#include "eval/engine.h"

#include <assert.h>
#include <string.h>

#include "eval/engine_cache.h"

static int64_t max2(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t min2(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* --- memory --- */

vlorpi_model_usage vlorpi_engine_usage(const vlorpi_engine_limits *limits)
{
    return (vlorpi_model_usage){.max_tokens = limits->pass_tokens,
                                .max_segments = limits->max_sequences,
                                .max_positions = limits->max_positions,
                                .cache_tokens = limits->cache_tokens};
}

void vlorpi_engine_layout(vlorpi_engine *engine, vlorpi_model *model, const vlorpi_kernels *kernels,
                          const vlorpi_engine_limits *limits, vlorpi_arena *arena)
{
    int64_t n_slots = limits->max_sequences;
    int64_t n_rows = limits->cache_tokens;
    int64_t n_wants = limits->pass_tokens;
    assert(limits->cache_tokens >= limits->max_positions && limits->pass_tokens >= n_slots && n_slots > 0);
    engine->model = model;
    engine->kernels = kernels;
    engine->limits = *limits;
    engine->serial = 0;
    engine->n_passes = 0;
    engine->n_wants = 0;
    engine->V = vlorpi_model_config_of(model)->V;
    engine->slots = vlorpi_arena_push(arena, n_slots, sizeof *engine->slots);
    int32_t *ids = vlorpi_arena_push(arena, n_slots, (size_t)limits->max_positions * sizeof(int32_t));
    int32_t *rows = vlorpi_arena_push(arena, n_slots, (size_t)limits->max_positions * sizeof(int32_t));
    engine->free_rows = vlorpi_arena_push(arena, n_rows, sizeof(int32_t));
    engine->row_users = vlorpi_arena_push(arena, n_rows, sizeof(int32_t));
    engine->row_serial = vlorpi_arena_push(arena, n_rows, sizeof(int64_t));
    engine->segments = vlorpi_arena_push(arena, n_slots, sizeof *engine->segments);
    engine->want_tokens = vlorpi_arena_push(arena, n_wants, sizeof(int32_t));
    engine->want_targets = vlorpi_arena_push(arena, n_wants, sizeof(int32_t));
    engine->want_slots = vlorpi_arena_push(arena, n_wants, sizeof(int32_t));
    engine->want_positions = vlorpi_arena_push(arena, n_wants, sizeof(int32_t));
    engine->want_best = vlorpi_arena_push(arena, n_wants, sizeof(int32_t));
    engine->want_losses = vlorpi_arena_push_f32(arena, n_wants);
    engine->logits = vlorpi_arena_push_f32(arena, engine->V);
    engine->scratch = vlorpi_arena_push(arena, (int64_t)vlorpi_sample_scratch_bytes(engine->V), 1);
    for (int64_t i = 0; engine->slots != NULL && i < n_slots; i++) {
        engine->slots[i] = (vlorpi_engine_slot){.ids = ids + i * limits->max_positions,
                                                .rows = rows + i * limits->max_positions};
    }
    if (engine->slots != NULL) {
        vlorpi_engine_forget(engine);
    }
}

vlorp_status vlorpi_engine_open(vlorpi_engine *engine, vlorpi_loaded_model *loaded, const vlorpi_kernels *kernels,
                                const vlorpi_engine_limits *limits, vlorp_err *err)
{
    *engine = (vlorpi_engine){0};
    vlorpi_model_usage usage = vlorpi_engine_usage(limits);
    VLORP_TRY(vlorpi_loaded_model_layout(loaded, &usage, err));
    vlorpi_arena count = vlorpi_arena_counter();
    vlorpi_engine_layout(engine, loaded->model, kernels, limits, &count);
    VLORP_TRY(vlorpi_arena_init(&engine->arena, loaded->mem, VLORPI_MEM_WORKSPACE, count.peak_bytes, err));
    engine->mem = loaded->mem;
    vlorpi_engine_layout(engine, loaded->model, kernels, limits, &engine->arena);
    return VLORP_OK;
}

void vlorpi_engine_close(vlorpi_engine *engine)
{
    if (engine->mem != NULL) {
        vlorpi_arena_deinit(&engine->arena, engine->mem);
    }
    memset(engine, 0, sizeof *engine);
}

/* --- what is wanted of a pass --- */

/* Number of the slot's token at a position among those of the pass. */
static int32_t pass_token(const vlorpi_engine *engine, const vlorpi_engine_slot *slot, int64_t position)
{
    return (int32_t)(engine->row_serial[slot->rows[position]] - engine->pass_serial);
}

static bool is_drawn(const vlorpi_engine_slot *slot, int64_t position)
{
    return position + 1 >= slot->n_given;
}

/* Hands the wants to the head, and what comes of it to the slots. */
static vlorp_status answer_wants(vlorpi_engine *engine, vlorp_err *err)
{
    VLORP_TRY(vlorpi_model_extend_scores(engine->model, engine->want_tokens, engine->want_targets, engine->n_wants,
                                         engine->want_losses, engine->want_best, err));
    for (int64_t i = 0; i < engine->n_wants; i++) {
        vlorpi_engine_slot *slot = &engine->slots[engine->want_slots[i]];
        if (is_drawn(slot, engine->want_positions[i])) {
            slot->drawn = engine->want_best[i];
        } else {
            slot->log_likelihood -= (double)engine->want_losses[i];
            slot->greedy = slot->greedy && engine->want_best[i] == engine->want_targets[i];
        }
    }
    engine->n_wants = 0;
    return VLORP_OK;
}

/* What follows the fresh tokens of the slot: scored ones, and the token behind the last when it is the likeliest. */
static vlorp_status want_of_slot(vlorpi_engine *engine, int32_t index, vlorp_err *err)
{
    const vlorpi_engine_slot *slot = &engine->slots[index];
    for (int64_t p = max2(slot->n_fresh, slot->n_prompt - 1); p < slot->n_cached; p++) {
        if (is_drawn(slot, p) && slot->sampling.temperature > 0) {
            return VLORP_OK;
        }
        if (engine->n_wants == engine->limits.pass_tokens) {
            VLORP_TRY(answer_wants(engine, err));
        }
        int64_t i = engine->n_wants++;
        engine->want_tokens[i] = pass_token(engine, slot, p);
        engine->want_targets[i] = is_drawn(slot, p) ? 0 : slot->ids[p + 1];
        engine->want_slots[i] = index;
        engine->want_positions[i] = (int32_t)p;
    }
    return VLORP_OK;
}

static vlorp_status sample(vlorpi_engine *engine, vlorpi_engine_slot *slot, vlorp_err *err)
{
    int32_t token = pass_token(engine, slot, slot->n - 1);
    VLORP_TRY(vlorpi_model_extend_logits(engine->model, &token, 1, engine->logits, err));
    int64_t bad = engine->kernels->model->find_nonfinite(engine->logits, engine->V);
    if (bad >= 0) {
        VLORP_FAIL(err, VLORP_E_NUMERIC, "logit %lld of token %lld is not finite", (long long)bad,
                   (long long)slot->n + 1);
    }
    slot->drawn = vlorpi_sample(&slot->sampling, engine->logits, engine->V, slot->draw++, engine->scratch);
    return VLORP_OK;
}

/* --- running --- */

static vlorp_status end_slot(vlorpi_engine *engine, const vlorpi_engine_source *source, vlorpi_engine_slot *slot,
                             vlorpi_finish finish, vlorp_err *err)
{
    vlorpi_sequence_result result = {.tag = slot->tag,
                                     .log_likelihood = slot->log_likelihood,
                                     .greedy = slot->greedy,
                                     .ids = slot->ids,
                                     .n_ids = slot->n_given,
                                     .n_new = slot->n - slot->n_given,
                                     .n_shared = slot->n_shared,
                                     .finish = finish};
    vlorpi_engine_end(engine, slot);
    return source->done(source->ctx, &result, err);
}

/* The token behind the slot's last one. */
static vlorp_status draw(vlorpi_engine *engine, const vlorpi_engine_source *source, vlorpi_engine_slot *slot,
                         vlorp_err *err)
{
    if (source->wants_stop != NULL && source->wants_stop(source->ctx)) {
        return end_slot(engine, source, slot, VLORPI_FINISH_STOPPED, err);
    }
    if (slot->sampling.temperature > 0) {
        VLORP_TRY(sample(engine, slot, err));
    }
    if (source->tokenizer != NULL && vlorpi_tokenizer_is_end(source->tokenizer, slot->drawn)) {
        return end_slot(engine, source, slot, VLORPI_FINISH_END, err);
    }
    slot->ids[slot->n++] = slot->drawn;
    bool stop = false;
    if (source->token != NULL) {
        VLORP_TRY(source->token(source->ctx, slot->tag, slot->ids, slot->n, &stop, err));
    }
    if (stop) {
        return end_slot(engine, source, slot, VLORPI_FINISH_STOPPED, err);
    }
    if (slot->n == slot->n_most) {
        return end_slot(engine, source, slot, slot->cut ? VLORPI_FINISH_CONTEXT : VLORPI_FINISH_LENGTH, err);
    }
    return VLORP_OK;
}

static int64_t pass_room(const vlorpi_engine *engine)
{
    return engine->limits.pass_tokens - (engine->serial - engine->pass_serial);
}

/* Adds what the running sequences have to compute; false when one of them is not through with its prompt. */
static bool schedule_running(vlorpi_engine *engine)
{
    vlorpi_engine_slot *unfinished = NULL; /* one at most: nobody begins before it is through */
    for (int64_t i = 0; i < engine->limits.max_sequences; i++) {
        vlorpi_engine_slot *slot = &engine->slots[i];
        slot->n_fresh = slot->n_cached;
        if (slot->running && vlorpi_engine_todo(slot) > 1) {
            unfinished = slot;
        } else if (slot->running) {
            vlorpi_engine_schedule(engine, slot, 1);
        }
    }
    if (unfinished != NULL && pass_room(engine) > 0) {
        vlorpi_engine_schedule(engine, unfinished, min2(vlorpi_engine_todo(unfinished), pass_room(engine)));
    }
    return unfinished == NULL || vlorpi_engine_todo(unfinished) == 0;
}

static vlorp_status check_sequence(const vlorpi_engine *engine, const vlorpi_sequence *sequence, vlorp_err *err)
{
    int64_t most = engine->limits.max_positions - (sequence->max_new_tokens > 0);
    if (sequence->n_prompt < 1 || sequence->n_prompt > sequence->n_ids || sequence->n_ids > most) {
        VLORP_FAIL(err, VLORP_E_ARG, "the prompt has %lld tokens and %lld to score; there are %lld positions for it and "
                   "what follows", (long long)sequence->n_prompt, (long long)(sequence->n_ids - sequence->n_prompt),
                   (long long)engine->limits.max_positions);
    }
    return VLORP_OK;
}

/* Begins sequences as long as there are places, cache and room in the pass.  *waiting: sequence is the next. */
static vlorp_status begin_sequences(vlorpi_engine *engine, const vlorpi_engine_source *source,
                                    vlorpi_sequence *sequence, bool *waiting, vlorp_err *err)
{
    for (;;) {
        vlorpi_engine_slot *slot = NULL;
        if (*waiting && pass_room(engine) > 0) {
            slot = vlorpi_engine_begin(engine, sequence);
        }
        if (slot == NULL) {
            return VLORP_OK;
        }
        int64_t todo = vlorpi_engine_todo(slot);
        if (todo > 0) {
            vlorpi_engine_schedule(engine, slot, min2(todo, pass_room(engine)));
        }
        VLORP_TRY(source->next(source->ctx, sequence, waiting, err));
        if (*waiting) {
            VLORP_TRY(check_sequence(engine, sequence, err));
        }
    }
}

static vlorp_status run_pass(vlorpi_engine *engine, const vlorpi_engine_source *source, vlorp_err *err)
{
    int32_t n_slots = (int32_t)engine->limits.max_sequences;
    VLORP_TRY(vlorpi_model_extend(engine->model, engine->segments, engine->n_segments, err));
    for (int32_t i = 0; i < n_slots; i++) {
        if (engine->slots[i].running) {
            VLORP_TRY(want_of_slot(engine, i, err));
        }
    }
    VLORP_TRY(answer_wants(engine, err));
    for (int32_t i = 0; i < n_slots; i++) {
        vlorpi_engine_slot *slot = &engine->slots[i];
        if (slot->running && vlorpi_engine_todo(slot) == 0) {
            VLORP_TRY(slot->n < slot->n_most ? draw(engine, source, slot, err)
                                             : end_slot(engine, source, slot, VLORPI_FINISH_LENGTH, err));
        }
    }
    return VLORP_OK;
}

static bool any_runs(const vlorpi_engine *engine)
{
    for (int64_t i = 0; i < engine->limits.max_sequences; i++) {
        if (engine->slots[i].running) {
            return true;
        }
    }
    return false;
}

static vlorp_status run_all(vlorpi_engine *engine, const vlorpi_engine_source *source, vlorp_err *err)
{
    vlorpi_sequence sequence = {0};
    bool waiting = false;
    VLORP_TRY(source->next(source->ctx, &sequence, &waiting, err));
    VLORP_TRY(waiting ? check_sequence(engine, &sequence, err) : VLORP_OK);
    do {
        engine->n_passes++;
        engine->n_segments = 0;
        engine->pass_serial = engine->serial;
        if (schedule_running(engine)) {
            VLORP_TRY(begin_sequences(engine, source, &sequence, &waiting, err));
        }
        VLORP_TRY(run_pass(engine, source, err));
    } while (waiting || any_runs(engine));
    return VLORP_OK;
}

vlorp_status vlorpi_engine_run(vlorpi_engine *engine, const vlorpi_engine_source *source, vlorp_err *err)
{
    vlorp_status status = run_all(engine, source, err);
    if (status != VLORP_OK) {
        engine->n_wants = 0;
        vlorpi_engine_forget(engine);
    }
    return status;
}
