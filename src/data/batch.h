/* batch.h - examples packed into one row of tokens, without padding.
 *
 * Layer 4.  Attention is block-diagonal over segments; positions restart at each.
 */
#ifndef VLORPI_DATA_BATCH_H
#define VLORPI_DATA_BATCH_H

#include "base/arena.h"
#include "data/dataset.h"
#include "model/tokens.h"

/* Lays out the arrays of a micro-batch of at most max_tokens tokens and max_segments examples. */
void vlorpi_batch_layout(vlorpi_token_batch *batch, vlorpi_arena *arena, int64_t max_tokens, int64_t max_segments);

/* Empties it. */
void vlorpi_batch_clear(vlorpi_token_batch *batch);
/* Appends one example as a segment; false when it does not fit. */
bool vlorpi_batch_add(vlorpi_token_batch *batch, const vlorpi_example *example);

/* One optimizer step is a range of stream places, cut into micro-batches of consecutive examples, as many as
 * fit in max_examples and max_tokens.  Fills batch with the one that begins at *place of a step that
 * ends before end, and moves *place behind it; false, and an empty batch, when none is left.
 * max_tokens is at least the longest example's and at most the batch's. */
bool vlorpi_batch_next(vlorpi_token_batch *batch, const vlorpi_dataset *dataset, uint64_t seed, int64_t *place,
                       int64_t end, int64_t max_examples, int64_t max_tokens);

/* One epoch cut in micro-batches as the steps of a run cut it. */
typedef struct vlorpi_batch_statistics {
    int64_t n_steps, n_micro_batches, n_examples;
    int64_t n_tokens;        /* what packed micro-batches compute */
    int64_t n_padded_tokens; /* what they would, each example padded to the longest of its micro-batch */
} vlorpi_batch_statistics;
vlorpi_batch_statistics vlorpi_batch_count(const vlorpi_dataset *dataset, uint64_t seed, int64_t n_examples_per_step,
                                           int64_t max_examples, int64_t max_tokens);

/* How many examples of the stream, from its first, hold at least n_tokens tokens together.  Not for an empty set. */
int64_t vlorpi_batch_examples_for(const vlorpi_dataset *dataset, uint64_t seed, int64_t n_tokens);

/* The tokens of the largest micro-batch that any step of n_steps will have (the default of
 * --micro_tokens), for micro-batches of max_examples, where an example of more than `longest` tokens counts as cut there.  Only the first 2^22 examples of the stream are looked at: a
 * later micro-batch that would be larger is cut by the bound, as any is. */
int64_t vlorpi_batch_largest(const vlorpi_dataset *dataset, uint64_t seed, int64_t n_examples_per_step,
                             int64_t n_steps, int64_t max_examples, int64_t longest);

#endif
