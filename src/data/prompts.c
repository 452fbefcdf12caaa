#include "data/prompts.h"

#include <assert.h>
#include <string.h>

enum { ALPACA, ALPACA_INPUT, QA, PROMPT, TEXT, MMLU, MMLU_SUBJECT, N_TEMPLATES };

/* The Alpaca texts are those of the instruction-tuning recipe that LLM-Adapters and the published
 * commonsense evaluation go back to (without the source file's indentation); question and answer are
 * joined as the common GSM8K harness does; MMLU is the text of Hendrycks et al.  The blank before an
 * answer belongs to the answer: a prompt that ends in a blank would be tokenised otherwise alone
 * than with its answer. */
static const vlorpi_template templates[N_TEMPLATES] = {
    [ALPACA] = {"alpaca", 1, VLORPI_FORM_ALPACA, "",
     "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
     "### Instruction:\n{instruction}\n\n### Response:\n",
     "{output}", "output"},
    [ALPACA_INPUT] = {"alpaca-input", 1, VLORPI_FORM_ALPACA, "",
     "Below is an instruction that describes a task, paired with an input that provides further context. "
     "Write a response that appropriately completes the request.\n\n"
     "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n",
     "{output}", "output"},
    [QA] = {"question-answer", 1, VLORPI_FORM_QA, "", "Question: {question}\nAnswer:", " {answer}", "answer"},
    [PROMPT] = {"prompt-completion", 1, VLORPI_FORM_PROMPT, "", "{prompt}", "{completion}", "completion"},
    [TEXT] = {"text", 1, VLORPI_FORM_TEXT, "", "", "{text}", NULL},
    [MMLU] = {"mmlu", 1, VLORPI_FORM_MMLU, "The following are multiple choice questions (with answers).\n\n",
     "{question}\nA. {A}\nB. {B}\nC. {C}\nD. {D}\nAnswer:", " {answer}", "answer"},
    [MMLU_SUBJECT] = {"mmlu-subject", 1, VLORPI_FORM_MMLU,
     "The following are multiple choice questions (with answers) about {subject}.\n\n",
     "{question}\nA. {A}\nB. {B}\nC. {C}\nD. {D}\nAnswer:", " {answer}", "answer"},
};

const vlorpi_template *vlorpi_template_find(const char *name)
{
    for (int i = 0; i < N_TEMPLATES; i++) {
        if (strcmp(templates[i].name, name) == 0) {
            return &templates[i];
        }
    }
    return NULL;
}

const vlorpi_template *vlorpi_template_for(const vlorpi_record *record)
{
    const vlorpi_form_traits *form = vlorpi_form_of(record->form);
    bool has_optional = form->n_fields > form->n_required && record->fields[form->n_required].n_bytes > 0;
    switch (record->form) {
    case VLORPI_FORM_ALPACA: return &templates[has_optional ? ALPACA_INPUT : ALPACA];
    case VLORPI_FORM_PROMPT: return &templates[PROMPT];
    case VLORPI_FORM_MMLU: return &templates[has_optional ? MMLU_SUBJECT : MMLU];
    case VLORPI_FORM_QA: return &templates[QA];
    case VLORPI_FORM_TEXT: return &templates[TEXT];
    default: assert(false && "a form without a template"); return &templates[TEXT];
    }
}

/* The field that "name" of length n stands for; the table names only columns of its form. */
static vlorpi_bytes field_named(const vlorpi_record *record, const char *name, size_t n)
{
    const vlorpi_form_traits *form = vlorpi_form_of(record->form);
    for (int i = 0; i < form->n_fields; i++) {
        if (strlen(form->fields[i]) == n && memcmp(form->fields[i], name, n) == 0) {
            return record->fields[i];
        }
    }
    assert(false && "a template names a column that its form does not have");
    return (vlorpi_bytes){NULL, 0};
}

static vlorp_status expand(vlorpi_rendered *rendered, const char *pattern, const vlorpi_record *record, vlorp_err *err)
{
    for (const char *p = pattern; *p != '\0';) {
        const char *open = strchr(p, '{');
        size_t literal = open != NULL ? (size_t)(open - p) : strlen(p);
        VLORP_TRY(vlorpi_rendered_append(rendered, p, literal, err));
        p += literal;
        if (open != NULL) {
            size_t n = strcspn(open + 1, "}");
            vlorpi_bytes field = field_named(record, open + 1, n);
            VLORP_TRY(vlorpi_rendered_append(rendered, field.text, field.n_bytes, err));
            p += n + 2;
        }
    }
    return VLORP_OK;
}

vlorp_status vlorpi_template_render_shots(vlorpi_rendered *rendered, const vlorpi_template *row,
                                          const vlorpi_record *shots, int n_shots, const vlorpi_record *record,
                                          bool with_answer, vlorp_err *err)
{
    vlorpi_rendered_clear(rendered);
    VLORP_TRY(expand(rendered, row->head, record, err));
    for (int i = 0; i < n_shots; i++) {
        VLORP_TRY(expand(rendered, row->prompt, &shots[i], err));
        VLORP_TRY(expand(rendered, row->answer, &shots[i], err));
        VLORP_TRY(vlorpi_rendered_append(rendered, "\n\n", 2, err));
    }
    VLORP_TRY(expand(rendered, row->prompt, record, err));
    if (!with_answer) {
        return VLORP_OK;
    }
    size_t begin = rendered->n_bytes;
    VLORP_TRY(expand(rendered, row->answer, record, err));
    return vlorpi_rendered_mark(rendered, begin, err);
}

vlorp_status vlorpi_template_render(vlorpi_rendered *rendered, const vlorpi_template *row, const vlorpi_record *record,
                                    bool with_answer, vlorp_err *err)
{
    return vlorpi_template_render_shots(rendered, row, NULL, 0, record, with_answer, err);
}
