/* chat_template.h - conversations in the form that a model was taught, training and generation alike.
 *
 * Layer 3.  Knows: the forms of one table.  Does not know: Jinja in general.  A template of the
 * tokenizer's files is recognised by what it writes for a turn; one that does anything else is refused,
 * because a form that is nearly right spoils answers silently.
 */
#ifndef VLORPI_TEXT_CHAT_TEMPLATE_H
#define VLORPI_TEXT_CHAT_TEMPLATE_H

#include <jansson.h>

#include "text/rendered.h"
#include "text/tokenizer.h"

typedef struct vlorpi_chat_form vlorpi_chat_form; /* a row of the table */

/* Plain storage; the fields are read-only to others but for date.  Texts are borrowed from what it was
 * recognised from. */
typedef struct vlorpi_chat_template {
    const vlorpi_chat_form *form;
    vlorpi_bytes bos, eos;       /* the texts of the tokens, empty where there is none */
    vlorpi_bytes default_system; /* the system message of a conversation without one, or empty */
    bool begins_with_bos;
    bool trims;     /* contents lose the white space at their ends */
    bool has_think; /* answers to the last question begin with reasoning marks, older ones lose theirs */
    bool has_date;  /* the system message begins with dates (LLaMA 3.1 and later) */
    bool asks_date; /* and the template asks for the day it is used on */
    char date[16];  /* "26 Jul 2024", what the template falls back to, until the caller knows better */
} vlorpi_chat_template;

/* Recognises the template of a tokenizer's files.  template borrows from tokenizer.
 * Errors: E_UNSUPPORTED when there is none, or it is none of the known forms (which the text names); the
 * caller adds the hint.  E_NOMEM. */
VLORP_CHECKED vlorp_status vlorpi_chat_template_of(vlorpi_chat_template *out, const vlorpi_tokenizer *tokenizer,
                                                   vlorp_err *err);
/* The same from a template's source; mem is for scratch. */
VLORP_CHECKED vlorp_status vlorpi_chat_template_parse(vlorpi_chat_template *out, vlorpi_mem *mem, const char *source,
                                                      vlorpi_bytes bos, vlorpi_bytes eos, vlorp_err *err);
/* "chatml", "llama2", "mistral", "llama3", "zephyr". */
const char *vlorpi_chat_template_name(const vlorpi_chat_template *chat);

/* Renders a list of {"role", "content"} into rendered, which is cleared first, to the byte as the template
 * does.  The text holds its own BOS (add_special and add_eos are false).  Each assistant's turn is a span:
 * its content with the token that ends it, and the blank before it where the form has one.  open_answer:
 * the opening of an assistant's turn comes last, for the model to go on.
 * Errors: E_FORMAT naming the message; E_NOMEM. */
VLORP_CHECKED vlorp_status vlorpi_chat_template_render(vlorpi_rendered *rendered, const vlorpi_chat_template *chat,
                                                       const json_t *messages, bool open_answer, vlorp_err *err);

#endif
