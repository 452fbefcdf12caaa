#include "eval/engine_cache.h"

#include <assert.h>
#include <string.h>

static int64_t min2(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Gives back the slot's rows from token `from` on, the last first, so that they are taken again in their order: keys
 * that lie side by side need no gathering. */
static void release(vlorpi_engine *engine, vlorpi_engine_slot *slot, int64_t from)
{
    while (slot->n_cached > from) {
        int32_t row = slot->rows[--slot->n_cached];
        if (--engine->row_users[row] == 0) {
            engine->free_rows[engine->n_free++] = row;
        }
    }
}

/* The place that ended first, but for `except`; NULL: there is none. */
static vlorpi_engine_slot *oldest_ended(const vlorpi_engine *engine, bool with_rows, const vlorpi_engine_slot *except)
{
    vlorpi_engine_slot *oldest = NULL;
    for (int64_t i = 0; i < engine->limits.max_sequences; i++) {
        vlorpi_engine_slot *slot = &engine->slots[i];
        if (!slot->running && slot != except && (!with_rows || slot->n_cached > 0) &&
            (oldest == NULL || slot->ended < oldest->ended)) {
            oldest = slot;
        }
    }
    return oldest;
}

/* How many of the sequence's tokens slot has in the cache.  Where something is wanted of a token, its stream must be in
 * this pass, so that one which an earlier pass computed is computed again. */
static int64_t common_tokens(const vlorpi_engine *engine, const vlorpi_engine_slot *slot,
                             const vlorpi_sequence *sequence)
{
    int64_t most = min2(slot->n_cached, sequence->n_ids - (sequence->max_new_tokens == 0));
    int64_t n = 0;
    while (n < most && slot->ids[n] == sequence->ids[n]) {
        n++;
    }
    int64_t wanted = sequence->n_prompt - 1;
    return n > wanted && engine->row_serial[slot->rows[wanted]] < engine->pass_serial ? wanted : n;
}

/* The slot that has most of the sequence; one that does not run where others have as much. */
static vlorpi_engine_slot *longest_common(const vlorpi_engine *engine, const vlorpi_sequence *sequence, int64_t *n_common)
{
    vlorpi_engine_slot *best = NULL;
    *n_common = 0;
    for (int64_t i = 0; i < engine->limits.max_sequences; i++) {
        vlorpi_engine_slot *slot = &engine->slots[i];
        int64_t n = common_tokens(engine, slot, sequence);
        if (n > *n_common || (n > 0 && n == *n_common && best->running && !slot->running)) {
            *n_common = n;
            best = slot;
        }
    }
    return best;
}

/* Sets up the slot, whose first n_shared rows are in place. */
static void set_up(vlorpi_engine *engine, vlorpi_engine_slot *slot, const vlorpi_sequence *sequence, int64_t n_shared,
                   int64_t n_most)
{
    memcpy(slot->ids, sequence->ids, (size_t)sequence->n_ids * sizeof(int32_t));
    *slot = (vlorpi_engine_slot){.ids = slot->ids,
                                 .rows = slot->rows,
                                 .n = sequence->n_ids,
                                 .n_cached = n_shared,
                                 .n_given = sequence->n_ids,
                                 .n_prompt = sequence->n_prompt,
                                 .n_shared = n_shared,
                                 .n_most = n_most,
                                 .cut = n_most - sequence->n_ids < sequence->max_new_tokens,
                                 .n_fresh = min2(n_shared, sequence->n_prompt - 1),
                                 .drawn = -1,
                                 .tag = sequence->tag,
                                 .sampling = sequence->sampling,
                                 .draw = sequence->first_draw,
                                 .greedy = true,
                                 .running = true};
    engine->n_reserved += vlorpi_engine_last_computed(slot) - n_shared;
}

vlorpi_engine_slot *vlorpi_engine_begin(vlorpi_engine *engine, const vlorpi_sequence *sequence)
{
    int64_t n_shared;
    vlorpi_engine_slot *like = longest_common(engine, sequence, &n_shared);
    bool in_place = like != NULL && !like->running;
    vlorpi_engine_slot *slot = in_place ? like : oldest_ended(engine, false, NULL);
    if (slot == NULL) {
        return NULL;
    }
    release(engine, slot, in_place ? n_shared : 0);
    int64_t room = engine->limits.max_positions - sequence->n_ids;
    int64_t n_most = sequence->n_ids + min2(room, sequence->max_new_tokens);
    while (engine->n_free - engine->n_reserved < n_most - 1 - n_shared) {
        vlorpi_engine_slot *victim = oldest_ended(engine, true, like);
        if (victim == NULL) {
            return NULL;
        }
        release(engine, victim, 0);
    }
    for (int64_t t = 0; !in_place && t < n_shared; t++) {
        slot->rows[t] = like->rows[t];
        engine->row_users[slot->rows[t]]++;
    }
    set_up(engine, slot, sequence, n_shared, n_most);
    return slot;
}

void vlorpi_engine_schedule(vlorpi_engine *engine, vlorpi_engine_slot *slot, int64_t n)
{
    assert(n > 0 && n <= engine->n_reserved && engine->n_reserved <= engine->n_free);
    for (int64_t t = slot->n_cached; t < slot->n_cached + n; t++) {
        int32_t row = engine->free_rows[--engine->n_free];
        engine->row_users[row] = 1;
        engine->row_serial[row] = engine->serial++;
        slot->rows[t] = row;
    }
    engine->segments[engine->n_segments++] = (vlorpi_cached_segment){
        .ids = slot->ids + slot->n_cached, .n = n, .rows = slot->rows, .n_past = slot->n_cached};
    slot->n_cached += n;
    engine->n_reserved -= n;
}

void vlorpi_engine_end(vlorpi_engine *engine, vlorpi_engine_slot *slot)
{
    engine->n_reserved -= vlorpi_engine_last_computed(slot) - slot->n_cached;
    slot->running = false;
    slot->ended = engine->n_passes;
}

void vlorpi_engine_forget(vlorpi_engine *engine)
{
    for (int64_t i = 0; i < engine->limits.max_sequences; i++) {
        engine->slots[i].n_cached = 0;
        engine->slots[i].running = false;
    }
    engine->n_free = engine->limits.cache_tokens;
    engine->n_reserved = 0;
    engine->n_segments = 0;
    for (int64_t row = 0; row < engine->n_free; row++) {
        engine->free_rows[row] = (int32_t)(engine->n_free - 1 - row);
        engine->row_users[row] = 0;
    }
}
