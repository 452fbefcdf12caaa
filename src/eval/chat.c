#include "eval/chat.h"

#include <string.h>

#include "data/chatml.h"

vlorp_status vlorpi_chat_prompt(char **prompt, vlorpi_mem *mem, const vlorpi_tokenizer *tokenizer, const char *message,
                                vlorp_err *err)
{
    static const char opening[] = "<|im_start|>assistant\n";
    *prompt = NULL;
    VLORP_TRY(vlorpi_chatml_check(tokenizer, err));
    json_t *messages = json_pack("[{s:s,s:s}]", "role", "user", "content", message);
    if (messages == NULL) {
        VLORP_FAIL(err, VLORP_E_ARG, "chat: the message is not UTF-8 text");
    }
    vlorpi_rendered rendered = {.mem = mem};
    vlorp_status status = vlorpi_chatml_render(&rendered, vlorpi_tokenizer_chat_template(tokenizer), messages, err);
    json_decref(messages);
    if (status == VLORP_OK) {
        status = vlorpi_rendered_append(&rendered, opening, sizeof opening, err); /* with its NUL */
    }
    if (status == VLORP_OK) {
        *prompt = vlorpi_mem_strdup(mem, VLORPI_MEM_DATA, rendered.bytes);
        status = *prompt != NULL ? VLORP_OK : vlorpi_mem_fail(mem, VLORPI_MEM_DATA, rendered.n_bytes, err);
    }
    vlorpi_rendered_deinit(&rendered);
    return status;
}
