/* rendered.h - a text with the places in it that a model has to write.
 *
 * Layer 3.  Knows: bytes.  Does not know: tokens, where the text comes from.
 */
#ifndef VLORPI_TEXT_RENDERED_H
#define VLORPI_TEXT_RENDERED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"

/* Bytes [begin, end) of a rendered text that the model has to learn to write. */
typedef struct vlorpi_span {
    int64_t begin, end;
} vlorpi_span;

/* A text with its answers.  Zero-initialise, mem set; _clear and use again; _deinit. */
typedef struct vlorpi_rendered {
    vlorpi_mem *mem;
    char *bytes;
    size_t n_bytes;
    vlorpi_span *spans; /* ascending, disjoint */
    int n_spans;
    bool add_special;   /* the tokenizer's BOS and EOS belong around it */
    bool add_eos;       /* generation must stop behind it */
} vlorpi_rendered;

void vlorpi_rendered_clear(vlorpi_rendered *rendered);
void vlorpi_rendered_deinit(vlorpi_rendered *rendered);
/* Appends bytes; from may be NULL when n is 0. */
VLORP_CHECKED vlorp_status vlorpi_rendered_append(vlorpi_rendered *rendered, const char *from, size_t n,
                                                  vlorp_err *err);
/* Marks everything from byte begin up to the present end as answer. */
VLORP_CHECKED vlorp_status vlorpi_rendered_mark(vlorpi_rendered *rendered, size_t begin, vlorp_err *err);

#endif
