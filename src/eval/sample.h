/* sample.h - the next token from its logits.
 *
 * Layer 5.  Knows: numbers.  Does not know: models, text.
 */
#ifndef VLORPI_EVAL_SAMPLE_H
#define VLORPI_EVAL_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

typedef struct vlorpi_sampling {
    double temperature; /* 0: the likeliest token, the lowest id among equals */
    int64_t top_k;      /* only the k likeliest; 0: all */
    double top_p;       /* then only the fewest likeliest that hold this much of what is left; 1: all */
    uint64_t seed;
} vlorpi_sampling;

/* Bytes of scratch for V logits. */
size_t vlorpi_sample_scratch_bytes(int64_t V);

/* The token chosen as number `index` of a text: the same for the same logits, settings and index.
 *   logits [V] finite; scratch is not kept between calls */
int32_t vlorpi_sample(const vlorpi_sampling *sampling, const float *logits, int64_t V, uint64_t index, void *scratch);

#endif
