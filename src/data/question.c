#include "data/question.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* The published commonsense sets: how an instruction ends, and what every answer begins with. */
static const char answer_format[] = "Answer format: ";
static const char correct_answer[] = "the correct answer is ";

static int answer_field(const vlorpi_question *question)
{
    const vlorpi_form_traits *form = vlorpi_form_of(question->record.form);
    for (int i = 0; i < form->n_fields; i++) {
        if (strcmp(form->fields[i], question->row->answer_column) == 0) {
            return i;
        }
    }
    assert(false && "a question's template has no column for answers");
    return 0;
}

vlorpi_bytes vlorpi_question_reference(const vlorpi_question *question)
{
    return question->record.fields[answer_field(question)];
}

const char *vlorpi_question_label(const vlorpi_question *question, int option)
{
    return question->options[option] + question->n_label;
}

static vlorpi_bytes trimmed(vlorpi_bytes text)
{
    while (text.n_bytes > 0 && strchr(" \t\r\n", text.text[text.n_bytes - 1]) != NULL) {
        text.n_bytes--;
    }
    return text;
}

/* What follows the last place of `lead` in text; text NULL: it is not there. */
static vlorpi_bytes behind_last(vlorpi_bytes text, const char *lead)
{
    size_t n = strlen(lead);
    for (size_t at = text.n_bytes >= n ? text.n_bytes - n + 1 : 0; at-- > 0;) {
        if (memcmp(text.text + at, lead, n) == 0) {
            return (vlorpi_bytes){.text = text.text + at + n, .n_bytes = text.n_bytes - at - n};
        }
    }
    return (vlorpi_bytes){NULL, 0};
}

/* Adds the option with that label; which is the right one is found on the way. */
static vlorp_status add_label(vlorpi_question *question, vlorpi_bytes label, vlorpi_bytes right, vlorp_err *err)
{
    if (question->n_options == VLORPI_QUESTION_MAX_OPTIONS) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "the instruction names more than %d answers", VLORPI_QUESTION_MAX_OPTIONS);
    }
    char *option = question->options[question->n_options];
    int n = snprintf(option, VLORPI_QUESTION_OPTION_BYTES, "%s%.*s", correct_answer, (int)label.n_bytes, label.text);
    if (label.n_bytes == 0 || n >= VLORPI_QUESTION_OPTION_BYTES || memchr(label.text, '\n', label.n_bytes) != NULL) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "the instruction does not end in a list of short answers behind \"%s\"",
                   answer_format);
    }
    if (label.n_bytes == right.n_bytes && memcmp(label.text, right.text, right.n_bytes) == 0) {
        question->answer = question->n_options;
    }
    question->n_options++;
    return VLORP_OK;
}

static vlorp_status read_labels(vlorpi_question *question, vlorp_err *err)
{
    vlorpi_bytes output = trimmed(vlorpi_question_reference(question));
    size_t n_lead = sizeof correct_answer - 1;
    if (output.n_bytes <= n_lead || memcmp(output.text, correct_answer, n_lead) != 0) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "the output does not begin with \"%s\"", correct_answer);
    }
    vlorpi_bytes right = {.text = output.text + n_lead, .n_bytes = output.n_bytes - n_lead};
    vlorpi_bytes labels = trimmed(behind_last(question->record.fields[0], answer_format));
    if (labels.text == NULL) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "the instruction does not name its answers behind \"%s\"", answer_format);
    }
    question->n_label = (int)n_lead;
    question->answer = -1;
    for (bool more = true; more;) {
        const char *slash = memchr(labels.text, '/', labels.n_bytes);
        more = slash != NULL;
        vlorpi_bytes label = {.text = labels.text,
                              .n_bytes = more ? (size_t)(slash - labels.text) : labels.n_bytes};
        VLORP_TRY(add_label(question, label, right, err));
        labels.text += label.n_bytes + more;
        labels.n_bytes -= label.n_bytes + more;
    }
    if (question->answer < 0) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "the output's answer is none of those that the instruction names");
    }
    return VLORP_OK;
}

static vlorp_status read_letter(vlorpi_question *question, vlorp_err *err)
{
    enum { N_LETTERS = 4 };
    vlorpi_bytes letter = vlorpi_question_reference(question);
    if (letter.n_bytes != 1 || letter.text[0] < 'A' || letter.text[0] >= 'A' + N_LETTERS) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "the answer is no letter A to D");
    }
    question->n_options = N_LETTERS;
    question->answer = letter.text[0] - 'A';
    for (int i = 0; i < N_LETTERS; i++) {
        question->options[i][0] = (char)('A' + i);
    }
    return VLORP_OK;
}

vlorp_status vlorpi_question_of(vlorpi_question *question, vlorpi_question_kind kind, const vlorpi_record *record,
                                vlorp_err *err)
{
    *question = (vlorpi_question){.record = *record, .row = vlorpi_template_for(record), .answer = -1};
    switch (kind) {
    case VLORPI_QUESTION_LABELS: return read_labels(question, err);
    case VLORPI_QUESTION_LETTERS: return read_letter(question, err);
    case VLORPI_QUESTION_FREE: break;
    }
    return VLORP_OK;
}

vlorp_status vlorpi_question_render(vlorpi_rendered *rendered, const vlorpi_question *question, int option,
                                    vlorp_err *err)
{
    vlorpi_record record = question->record;
    if (option >= 0) {
        const char *text = question->options[option];
        record.fields[answer_field(question)] = (vlorpi_bytes){.text = text, .n_bytes = strlen(text)};
    }
    return vlorpi_template_render_shots(rendered, question->row, question->shots, question->n_shots, &record,
                                        option >= 0, err);
}
