/* chat_canonical.h - a Jinja template's source without what does not matter to its output.
 *
 * Layer 3, inside text/.
 */
#ifndef VLORPI_TEXT_CHAT_CANONICAL_H
#define VLORPI_TEXT_CHAT_CANONICAL_H

#include "base/mem.h"

/* *out: the source with blanks outside of strings dropped, strings in single quotes and joined where two
 * are added, m["x"] as m.x, comments dropped, line breaks spelled \n, and outside of tags only the white
 * space that is written (Jinja's - signs, trim_blocks and lstrip_blocks applied, as transformers sets
 * them).  NUL-terminated, under DATA.  Owner: the caller, vlorpi_mem_free. */
VLORP_CHECKED vlorp_status vlorpi_chat_canonical(char **out, vlorpi_mem *mem, const char *source, vlorp_err *err);

#endif
