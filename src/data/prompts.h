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

#include "data/records.h"
#include "text/rendered.h"

/* "{column}" stands for the record's field of that name; everything else is literal.  A text is the head, then
 * the solved examples, if any, each prompt and answer and an empty line, then the prompt; what the model has to write
 * is `answer`.  A generated answer is compared after the same prompt. */
typedef struct vlorpi_template {
    const char *name;
    int version;
    vlorpi_form form;
    const char *head;
    const char *prompt;
    const char *answer;
    const char *answer_column; /* that a question's other answers are put in; NULL: it has none */
} vlorpi_template;

/* The row of that name, or NULL. */
const vlorpi_template *vlorpi_template_find(const char *name);
/* The row that a record is rendered with; not for CHAT.  Which one depends on optional fields. */
const vlorpi_template *vlorpi_template_for(const vlorpi_record *record);

/* Renders a record into rendered, which is cleared first: prompt and, with_answer, the answer, marked. */
VLORP_CHECKED vlorp_status vlorpi_template_render(vlorpi_rendered *rendered, const vlorpi_template *row,
                                                  const vlorpi_record *record, bool with_answer, vlorp_err *err);
/* The same behind n_shots solved examples, records of the same form; their answers are not marked. */
VLORP_CHECKED vlorp_status vlorpi_template_render_shots(vlorpi_rendered *rendered, const vlorpi_template *row,
                                                        const vlorpi_record *shots, int n_shots,
                                                        const vlorpi_record *record, bool with_answer,
                                                        vlorp_err *err);

#endif
