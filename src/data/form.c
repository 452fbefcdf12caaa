#include "data/form.h"

#include <stdio.h>
#include <string.h>

/* In order of detection: a form stands before those whose columns it contains. */
static const vlorpi_form_traits forms[VLORPI_FORM_N] = {
    [VLORPI_FORM_CHAT] = {"chat", 1, 1, true, {"messages"}},
    [VLORPI_FORM_ALPACA] = {"alpaca", 2, 3, false, {"instruction", "output", "input"}},
    [VLORPI_FORM_SELF_INSTRUCT] = {"self-instruct", 2, 2, true, {"instruction", "instances"}},
    [VLORPI_FORM_PROMPT] = {"prompt-completion", 2, 2, false, {"prompt", "completion"}},
    [VLORPI_FORM_MMLU] = {"mmlu", 6, 7, false, {"question", "A", "B", "C", "D", "answer", "subject"}},
    [VLORPI_FORM_QA] = {"question-answer", 2, 2, false, {"question", "answer"}},
    [VLORPI_FORM_TEXT] = {"text", 1, 1, false, {"text"}},
    [VLORPI_FORM_STREAM] = {"plain text", 0, 0, false, {NULL}},
};

const vlorpi_form_traits *vlorpi_form_of(vlorpi_form form)
{
    return &forms[form];
}

vlorpi_form vlorpi_form_detect(bool (*has)(const void *ctx, const char *column), const void *ctx, bool with_nested)
{
    for (int f = VLORPI_FORM_CHAT; f < VLORPI_FORM_STREAM; f++) {
        int found = 0;
        while (found < forms[f].n_required && has(ctx, forms[f].fields[found])) {
            found++;
        }
        if (found == forms[f].n_required && (with_nested || !forms[f].nested)) {
            return (vlorpi_form)f;
        }
    }
    return VLORPI_FORM_ANY;
}

static void append(char *text, size_t n_bytes, const char *more)
{
    size_t n = strlen(text);
    (void)snprintf(text + n, n_bytes - n, "%s", more);
}

static void append_columns(const vlorpi_form_traits *form, char *text, size_t n_bytes)
{
    for (int i = 0; i < form->n_required; i++) {
        append(text, n_bytes, i == 0 ? "" : i + 1 < form->n_required ? ", " : " and ");
        append(text, n_bytes, form->fields[i]);
    }
}

void vlorpi_form_wanted(vlorpi_form form, bool with_nested, char *text, size_t n_bytes)
{
    text[0] = '\0';
    for (int f = VLORPI_FORM_CHAT; f < VLORPI_FORM_STREAM; f++) {
        if ((form != VLORPI_FORM_ANY && form != (vlorpi_form)f) || (forms[f].nested && !with_nested)) {
            continue;
        }
        append(text, n_bytes, text[0] == '\0' ? "" : "; or ");
        append_columns(&forms[f], text, n_bytes);
    }
}
