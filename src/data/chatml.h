/* chatml.h - conversations as chatml text, with the assistant's turns marked as answers.
 *
 * Layer 4.  Knows: the one template family "<|im_start|>role\ncontent<|im_end|>\n".  Does not know: Jinja;
 * a tokenizer whose template is of another kind is refused.
 */
#ifndef VLORPI_DATA_CHATML_H
#define VLORPI_DATA_CHATML_H

#include "data/prompts.h"
#include "text/tokenizer.h"

/* Whether the tokenizer's chat template is plain chatml.  Errors: E_UNSUPPORTED with what it is. */
VLORP_CHECKED vlorp_status vlorpi_chatml_check(const vlorpi_tokenizer *tokenizer, vlorp_err *err);

/* Renders a list of {"role", "content"} into rendered, which is cleared first.  A conversation that
 * does not begin with a system message gets the template's own default one where it has one.  An
 * assistant's content and the <|im_end|> behind it are answers; BOS, EOS are not added.
 * Errors: E_FORMAT naming the message. */
VLORP_CHECKED vlorp_status vlorpi_chatml_render(vlorpi_rendered *rendered, const char *chat_template,
                                                const json_t *messages, vlorp_err *err);

#endif
