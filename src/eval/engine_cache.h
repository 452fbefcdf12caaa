/* engine_cache.h - which rows of the cache hold which sequence's tokens.
 *
 * Layer 5, private to the engine.  A row is held by every sequence that begins with its token and what came before
 * it, and is free when nobody holds it any more.  Ended sequences keep their rows until somebody else needs them.
 */
#ifndef VLORPI_EVAL_ENGINE_CACHE_H
#define VLORPI_EVAL_ENGINE_CACHE_H

#include "eval/engine.h"

/* Tokens of the sequence that are computed in the end: one that nothing is wanted of, the last, never is. */
static inline int64_t vlorpi_engine_last_computed(const vlorpi_engine_slot *slot)
{
    return slot->n_most - 1;
}

/* Known tokens that are to be computed and are not yet. */
static inline int64_t vlorpi_engine_todo(const vlorpi_engine_slot *slot)
{
    return (slot->n < slot->n_most ? slot->n : slot->n_most - 1) - slot->n_cached;
}

/* Begins the sequence in a place that does not run, with all that the cache has of it; NULL: there is no place, or
 * too little of the cache is free as long as others run. */
vlorpi_engine_slot *vlorpi_engine_begin(vlorpi_engine *engine, const vlorpi_sequence *sequence);
/* Adds the slot's next n tokens to the pass. */
void vlorpi_engine_schedule(vlorpi_engine *engine, vlorpi_engine_slot *slot, int64_t n);
/* The sequence runs no more; its rows stay for those that begin as it did. */
void vlorpi_engine_end(vlorpi_engine *engine, vlorpi_engine_slot *slot);

#endif
