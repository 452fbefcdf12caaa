/* form.h - the forms a record may have: which columns make it, in which order they are handed on.
 *
 * Layer 4.  Knows: names of columns.  Does not know: files, templates.
 */
#ifndef VLORPI_DATA_FORM_H
#define VLORPI_DATA_FORM_H

#include <stdbool.h>
#include <stddef.h>

typedef enum vlorpi_form {
    VLORPI_FORM_ANY = 0, /* to be detected */
    VLORPI_FORM_CHAT,
    VLORPI_FORM_ALPACA,
    VLORPI_FORM_SELF_INSTRUCT,
    VLORPI_FORM_PROMPT,
    VLORPI_FORM_MMLU,
    VLORPI_FORM_QA,
    VLORPI_FORM_TEXT,
    VLORPI_FORM_STREAM, /* no records: one text, cut in windows */
    VLORPI_FORM_N
} vlorpi_form;

enum { VLORPI_FORM_MAX_FIELDS = 7 };

/* The first n_required fields must be there, the others may be absent or null.  nested: the last
 * required field is a JSON list, the others are strings; such a form does not exist in CSV. */
typedef struct vlorpi_form_traits {
    const char *name;
    int n_required, n_fields;
    bool nested;
    const char *fields[VLORPI_FORM_MAX_FIELDS];
} vlorpi_form_traits;

/* A constant row; form may be any but ANY. */
const vlorpi_form_traits *vlorpi_form_of(vlorpi_form form);

/* The first form whose required columns has() knows; ANY when there is none. */
vlorpi_form vlorpi_form_detect(bool (*has)(const void *ctx, const char *column), const void *ctx, bool with_nested);

/* Writes the columns that form wants, or with ANY those of every form, as one phrase. */
void vlorpi_form_wanted(vlorpi_form form, bool with_nested, char *text, size_t n_bytes);

#endif
