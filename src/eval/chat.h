/* chat.h - a conversation as the tokens that a model was taught to answer.
 *
 * Layer 5.  Knows: chat templates, the tokenizer.  Does not know: models.
 */
#ifndef VLORPI_EVAL_CHAT_H
#define VLORPI_EVAL_CHAT_H

#include "text/chat_template.h"

/* The template of the tokenizer's files, dated today where it asks for the day.  chat borrows from tokenizer.
 * Errors: E_UNSUPPORTED with a hint how to go on; E_NOMEM. */
VLORP_CHECKED vlorp_status vlorpi_chat_open(vlorpi_chat_template *chat, const vlorpi_tokenizer *tokenizer,
                                            vlorp_err *err);
/* Appends a message to a JSON array of them.  Errors: E_ARG when text is not UTF-8. */
VLORP_CHECKED vlorp_status vlorpi_chat_say(json_t *messages, const char *role, const char *text, size_t n_bytes,
                                           vlorp_err *err);
/* Replaces tokens by those of the conversation up to the opening of the next answer. */
VLORP_CHECKED vlorp_status vlorpi_chat_encode(vlorpi_tokens *tokens, const vlorpi_chat_template *chat,
                                              const vlorpi_tokenizer *tokenizer, const json_t *messages,
                                              vlorp_err *err);

#endif
