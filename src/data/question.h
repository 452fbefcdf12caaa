/* question.h - a record as a question: its prompt, the answers to choose from, the right one.
 *
 * Layer 4.  Knows: records, templates.  Does not know: models, scores.
 */
#ifndef VLORPI_DATA_QUESTION_H
#define VLORPI_DATA_QUESTION_H

#include "data/prompts.h"

enum { VLORPI_QUESTION_MAX_OPTIONS = 8, VLORPI_QUESTION_OPTION_BYTES = 64 };

typedef enum vlorpi_question_kind {
    VLORPI_QUESTION_LABELS,  /* alpaca: the instruction ends in "Answer format: a/b/c", the output is "the correct answer is b" */
    VLORPI_QUESTION_LETTERS, /* mmlu: A to D */
    VLORPI_QUESTION_FREE     /* no list of answers: the answer is generated */
} vlorpi_question_kind;

/* Borrows the records. */
typedef struct vlorpi_question {
    vlorpi_record record;
    const vlorpi_template *row;
    const vlorpi_record *shots; /* [n_shots] solved examples before it */
    int n_shots;
    int group;                  /* of the set that it comes from */
    int n_options;              /* 0: FREE */
    int answer;                 /* the option that is right */
    char options[VLORPI_QUESTION_MAX_OPTIONS][VLORPI_QUESTION_OPTION_BYTES]; /* texts of the template's answer column */
    int n_label;                /* the option's name, "answer2", begins at this byte */
} vlorpi_question;

/* Fills all but shots, n_shots and group.
 * Errors: E_FORMAT for a record that names no answers, or whose answer is none of them. */
VLORP_CHECKED vlorp_status vlorpi_question_of(vlorpi_question *question, vlorpi_question_kind kind,
                                              const vlorpi_record *record, vlorp_err *err);
/* The option without what the options have in common: "answer2", "B". */
const char *vlorpi_question_label(const vlorpi_question *question, int option);
/* Renders the prompt alone, or with the given option marked as its answer (-1: none). */
VLORP_CHECKED vlorp_status vlorpi_question_render(vlorpi_rendered *rendered, const vlorpi_question *question,
                                                  int option, vlorp_err *err);
/* What the record says is right, whole: the field of the template's answer column. */
vlorpi_bytes vlorpi_question_reference(const vlorpi_question *question);

#endif
