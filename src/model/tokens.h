/* tokens.h - a packed micro-batch as the model reads it.
 *
 * Layer 4.  Plain storage; data/batch.h fills it.
 */
#ifndef VLORPI_MODEL_TOKENS_H
#define VLORPI_MODEL_TOKENS_H

#include <stdint.h>

/* Capacities are fixed by the layout; n_tokens and n_segments say how much is filled. */
typedef struct vlorpi_token_batch {
    int64_t max_tokens, max_segments;
    int64_t n_tokens, n_segments, n_targets;
    int32_t *ids;           /* [max_tokens] */
    int32_t *positions;     /* [max_tokens], restarting at 0 in each segment */
    int32_t *targets;       /* [max_tokens], the id to predict at this place, or -1 */
    int32_t *segment_begin; /* [max_segments + 1], segment s is tokens segment_begin[s] .. segment_begin[s+1]-1 */
} vlorpi_token_batch;

#endif
