#include "data/chatml.h"

#include <string.h>

#define TURN_BEGIN "<|im_start|>"
#define TURN_END "<|im_end|>"

vlorp_status vlorpi_chatml_check(const vlorpi_tokenizer *tokenizer, vlorp_err *err)
{
    const char *source = vlorpi_tokenizer_chat_template(tokenizer);
    const char *what = NULL;
    if (source == NULL) {
        what = "the tokenizer has no chat template";
    } else if (strstr(source, TURN_BEGIN) == NULL || strstr(source, TURN_END) == NULL ||
               vlorpi_tokenizer_id(tokenizer, TURN_BEGIN) < 0 || vlorpi_tokenizer_id(tokenizer, TURN_END) < 0) {
        what = "the tokenizer's chat template is not chatml";
    } else if (strstr(source, "<think>") != NULL) {
        what = "the tokenizer's chat template adds reasoning marks to chatml";
    }
    if (what == NULL) {
        return VLORP_OK;
    }
    vlorp_status status = vlorpi_err_set(err, VLORP_E_UNSUPPORTED, "chat data needs plain chatml: %s", what);
    vlorpi_err_hint(err, "write the conversations as prompt and completion, or as text");
    return status;
}

/* The literal text between "<|im_start|>system\n" and "<|im_end|>" in the template's source, where
 * the line break may be spelled as an escape; n_bytes 0 when every such place holds an expression. */
static vlorpi_bytes default_system(const char *source)
{
    static const char opening[] = TURN_BEGIN "system";
    for (const char *p = strstr(source, opening); p != NULL; p = strstr(p, opening)) {
        p += strlen(opening);
        size_t n_break = *p == '\n' ? 1 : strncmp(p, "\\n", 2) == 0 ? 2 : 0;
        size_t n = strcspn(p + n_break, "'\"{}\\<");
        if (n_break > 0 && n > 0 && strncmp(p + n_break + n, TURN_END, strlen(TURN_END)) == 0) {
            return (vlorpi_bytes){.text = p + n_break, .n_bytes = n};
        }
    }
    return (vlorpi_bytes){NULL, 0};
}

static vlorp_status append_text(vlorpi_rendered *rendered, const char *text, vlorp_err *err)
{
    return vlorpi_rendered_append(rendered, text, strlen(text), err);
}

static vlorp_status append_turn(vlorpi_rendered *rendered, const char *role, vlorpi_bytes content, vlorp_err *err)
{
    VLORP_TRY(append_text(rendered, TURN_BEGIN, err));
    VLORP_TRY(append_text(rendered, role, err));
    VLORP_TRY(append_text(rendered, "\n", err));
    size_t begin = rendered->n_bytes;
    VLORP_TRY(vlorpi_rendered_append(rendered, content.text, content.n_bytes, err));
    VLORP_TRY(append_text(rendered, TURN_END, err));
    if (strcmp(role, "assistant") == 0 && content.n_bytes > 0) {
        VLORP_TRY(vlorpi_rendered_mark(rendered, begin, err));
    }
    return append_text(rendered, "\n", err);
}

vlorp_status vlorpi_chatml_render(vlorpi_rendered *rendered, const char *chat_template, const json_t *messages,
                                  vlorp_err *err)
{
    vlorpi_rendered_clear(rendered);
    rendered->add_special = false;
    rendered->add_eos = false;
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *message = json_array_get(messages, i);
        const char *role = json_string_value(json_object_get(message, "role"));
        const json_t *content = json_object_get(message, "content");
        if (role == NULL || !json_is_string(content)) {
            VLORP_FAIL(err, VLORP_E_FORMAT, "message %zu is no object with the strings role and content", i + 1);
        }
        if (strcmp(role, "system") != 0 && strcmp(role, "user") != 0 && strcmp(role, "assistant") != 0) {
            VLORP_FAIL(err, VLORP_E_FORMAT, "message %zu has an unknown role; wanted: system, user or assistant",
                       i + 1);
        }
        if (i == 0 && strcmp(role, "system") != 0) {
            vlorpi_bytes system = default_system(chat_template);
            if (system.n_bytes > 0) {
                VLORP_TRY(append_turn(rendered, "system", system, err));
            }
        }
        vlorpi_bytes text = {.text = json_string_value(content), .n_bytes = json_string_length(content)};
        VLORP_TRY(append_turn(rendered, role, text, err));
    }
    return VLORP_OK;
}
