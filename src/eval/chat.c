#include "eval/chat.h"

#include <time.h>

vlorp_status vlorpi_chat_open(vlorpi_chat_template *chat, const vlorpi_tokenizer *tokenizer, vlorp_err *err)
{
    vlorp_status status = vlorpi_chat_template_of(chat, tokenizer, err);
    if (status == VLORP_E_UNSUPPORTED) {
        vlorpi_err_hint(err, "without --chat a prompt is taken as it stands: write what the model expects into it");
    }
    struct tm day;
    time_t now = time(NULL);
    if (status == VLORP_OK && chat->asks_date && localtime_r(&now, &day) != NULL) {
        (void)strftime(chat->date, sizeof chat->date, "%d %b %Y", &day);
    }
    return status;
}

vlorp_status vlorpi_chat_say(json_t *messages, const char *role, const char *text, size_t n_bytes, vlorp_err *err)
{
    json_t *message = json_pack("{s:s,s:s%}", "role", role, "content", text, n_bytes);
    if (message == NULL || json_array_append_new(messages, message) != 0) {
        VLORP_FAIL(err, VLORP_E_ARG, "chat: the message is not UTF-8 text");
    }
    return VLORP_OK;
}

vlorp_status vlorpi_chat_encode(vlorpi_tokens *tokens, const vlorpi_chat_template *chat,
                                const vlorpi_tokenizer *tokenizer, const json_t *messages, vlorp_err *err)
{
    vlorpi_rendered rendered = {.mem = tokens->mem};
    vlorpi_encode_options options = {.parse_special = true}; /* BOS stands in the rendered text */
    vlorp_status status = vlorpi_chat_template_render(&rendered, chat, messages, true, err);
    if (status == VLORP_OK) {
        tokens->n = 0;
        status = vlorpi_tokenizer_encode(tokenizer, tokens, rendered.bytes, rendered.n_bytes, options, err);
    }
    vlorpi_rendered_deinit(&rendered);
    return status;
}
