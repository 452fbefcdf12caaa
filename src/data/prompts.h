/* prompts.h - the exact texts that a model is trained and judged on.
 *
 * Layer 4.  Knows: records, templates.  Does not know: tokens.
 *
 * A template is a row of one table, with a name and a version that is raised whenever a byte of it
 * changes; training and evaluation render from the same row.
 */
#ifndef VLORPI_DATA_PROMPTS_H
#define VLORPI_DATA_PROMPTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "data/records.h"

/* "{column}" stands for the record's field of that name; everything else is literal.  What the model
 * has to write is `answer`; a generated answer is compared after the same prompt. */
typedef struct vlorpi_template {
    const char *name;
    int version;
    vlorpi_form form;
    const char *prompt;
    const char *answer;
} vlorpi_template;

/* The row of that name, or NULL. */
const vlorpi_template *vlorpi_template_find(const char *name);
/* The row that a record is rendered with; not for CHAT.  Which one depends on optional fields. */
const vlorpi_template *vlorpi_template_for(const vlorpi_record *record);

/* Bytes [begin, end) of a rendered text that the model has to learn to write. */
typedef struct vlorpi_span {
    int64_t begin, end;
} vlorpi_span;

/* A text with its answers.  Zero-initialise, mem set; _clear and use again; _deinit. */
typedef struct vlorpi_rendered {
    vlorpi_mem *mem;
    char *bytes;
    size_t n_bytes, capacity;
    vlorpi_span *spans; /* ascending, disjoint */
    int n_spans, spans_capacity;
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

/* Renders a record into rendered, which is cleared first: prompt and, with_answer, the answer, marked. */
VLORP_CHECKED vlorp_status vlorpi_template_render(vlorpi_rendered *rendered, const vlorpi_template *row,
                                                  const vlorpi_record *record, bool with_answer, vlorp_err *err);

#endif
