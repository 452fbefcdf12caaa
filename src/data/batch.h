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

/* Cuts one optimizer step, stream places [first, first + n_examples), into micro-batches: consecutive examples,
 * each micro-batch as many as fit in max_examples and max_tokens.  Fills batch with micro-batch
 * number `micro` and returns false when the step has no such micro-batch.  max_tokens is at least the
 * longest example's and at most the batch's.  Costs about 0.1 us for each example that stands before. */
bool vlorpi_batch_fill(vlorpi_token_batch *batch, const vlorpi_dataset *dataset, uint64_t seed, int64_t first,
                       int64_t n_examples, int64_t micro, int64_t max_examples, int64_t max_tokens);

/* The same without counting: fills batch with the micro-batch that begins at stream place *place of a step
 * that ends before end, and moves *place behind it; false when none is left. */
bool vlorpi_batch_next(vlorpi_token_batch *batch, const vlorpi_dataset *dataset, uint64_t seed, int64_t *place,
                       int64_t end, int64_t max_examples, int64_t max_tokens);

/* The tokens of the largest micro-batch that any step of n_steps will have (the default of
 * --micro_tokens), for micro-batches of max_examples. */
int64_t vlorpi_batch_largest(const vlorpi_dataset *dataset, uint64_t seed, int64_t n_examples_per_step,
                             int64_t n_steps, int64_t max_examples);

#endif
