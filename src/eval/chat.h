/* chat.h - a user's message in the form that a model was taught to answer.
 *
 * Layer 5.  This version knows the chatml form (<|im_start|>role ... <|im_end|>).
 */
#ifndef VLORPI_EVAL_CHAT_H
#define VLORPI_EVAL_CHAT_H

#include "text/tokenizer.h"

/* The prompt for one message: the template's own system message where it has one, the message, and
 * the opening of the answer.  NUL-terminated, under DATA.  Owner: the caller, vlorpi_mem_free.
 * Errors: E_UNSUPPORTED when the tokenizer's files name no template, or one of another form; E_ARG for
 * a message that is not UTF-8. */
VLORP_CHECKED vlorp_status vlorpi_chat_prompt(char **prompt, vlorpi_mem *mem, const vlorpi_tokenizer *tokenizer,
                                              const char *message, vlorp_err *err);

#endif
