/* token_regex.h - the patterns of tokenizer files, matched by PCRE2 as Oniguruma would.
 *
 * Layer 3, inside text/.  Patterns are untrusted: their length and the work of a match are bounded.
 */
#ifndef VLORPI_TEXT_TOKEN_REGEX_H
#define VLORPI_TEXT_TOKEN_REGEX_H

#include <stdbool.h>

#include "base/mem.h"

typedef struct vlorpi_regex vlorpi_regex; /* opaque; one object serves any number of threads */

/* Compiles pattern once (with JIT where the machine has it); literal: no character is special.
 * Memory: DATA.  Errors: E_UNSUPPORTED naming the pattern and the place in it, E_LIMIT, E_NOMEM. */
VLORP_CHECKED vlorp_status vlorpi_regex_compile(vlorpi_regex **out, vlorpi_mem *mem, const char *pattern,
                                                size_t n_bytes, bool literal, vlorp_err *err);
/* Accepts NULL. */
void vlorpi_regex_free(vlorpi_regex *regex);

/* What one thread needs to match; reusable for any number of matches of any pattern. */
typedef struct vlorpi_regex_match vlorpi_regex_match; /* opaque */
VLORP_CHECKED vlorp_status vlorpi_regex_match_create(vlorpi_regex_match **out, vlorpi_mem *mem, vlorp_err *err);
/* Accepts NULL. */
void vlorpi_regex_match_free(vlorpi_regex_match *match);

/* The first match that is not empty in text[from, n_bytes), which must be valid UTF-8: sets *begin
 * < *end, or both to n_bytes when there is none.  E_LIMIT when the pattern takes too much work. */
VLORP_CHECKED vlorp_status vlorpi_regex_find(const vlorpi_regex *regex, vlorpi_regex_match *match, const char *text,
                                             size_t n_bytes, size_t from, size_t *begin, size_t *end,
                                             vlorp_err *err);
/* As compiled, for writing it back. */
const char *vlorpi_regex_pattern(const vlorpi_regex *regex);

#endif
