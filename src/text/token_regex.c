#include "text/token_regex.h"

#include <stdio.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum {
    MAX_PATTERN_BYTES = 65536,
    MATCH_LIMIT = 10000000, /* backtracking points of one match: well below a second */
    HEAP_LIMIT_KIB = 65536
};

struct vlorpi_regex {
    vlorpi_mem *mem;
    pcre2_code *code;
    char *pattern;
};

struct vlorpi_regex_match {
    vlorpi_mem *mem;
    pcre2_match_data *data;
    pcre2_match_context *context;
};

static void *regex_alloc(size_t n_bytes, void *mem)
{
    return vlorpi_mem_alloc(mem, VLORPI_MEM_DATA, n_bytes);
}

static void regex_free(void *memory, void *mem)
{
    vlorpi_mem_free(mem, memory);
}

/* Oniguruma has operators that PCRE2 would read as plain characters: refuse rather than differ. */
static vlorp_status check_dialect(const char *pattern, size_t n_bytes, vlorp_err *err)
{
    for (size_t i = 0; i + 1 < n_bytes; i++) {
        if (pattern[i] == '&' && pattern[i + 1] == '&') {
            VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "pattern \"%.200s\": set intersection (&&) is not supported", pattern);
        }
        if (pattern[i] == '\\') {
            if (pattern[i + 1] == 'h' || pattern[i + 1] == 'H') {
                VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "pattern \"%.200s\": \\%c is not supported", pattern,
                           pattern[i + 1]);
            }
            i++;
        }
    }
    return VLORP_OK;
}

/* What Oniguruma means by \s and \w: PCRE2 adds U+180E to the one and leaves marks out of the other. */
#define SPACE "\\t-\\r\\x{85}\\p{Z}"
#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
enum { TRANSLATED = sizeof "[^" WORD "]" }; /* more than two bytes of a pattern ever become */

/* The pattern in PCRE2's words; room for n_bytes * TRANSLATED.  Negated classes inside a class stay. */
static size_t translate(char *out, const char *pattern, size_t n_bytes)
{
    size_t n = 0;
    bool in_class = false;
    for (size_t i = 0; i < n_bytes; i++) {
        char c = pattern[i];
        char next = i + 1 < n_bytes ? pattern[i + 1] : 0;
        bool space = c == '\\' && (next == 's' || next == 'S');
        bool word = c == '\\' && (next == 'w' || next == 'W');
        const char *set = space ? SPACE : word ? WORD : NULL;
        bool negated = next == 'S' || next == 'W';
        if (set != NULL && !(in_class && negated)) {
            n += (size_t)sprintf(out + n, in_class ? "%s" : negated ? "[^%s]" : "[%s]", set);
            i++;
        } else if (c == '\\' && next != 0) {
            out[n++] = c;
            out[n++] = next;
            i++;
        } else {
            bool opens = c == '[' && !in_class;
            in_class = opens || (in_class && c != ']');
            out[n++] = c;
            if (opens) { /* a bracket right behind the opening one is a character */
                if (next == '^') {
                    out[n++] = pattern[++i];
                    next = i + 1 < n_bytes ? pattern[i + 1] : 0;
                }
                if (next == ']') {
                    out[n++] = pattern[++i];
                }
            }
        }
    }
    out[n] = 0;
    return n;
}

static vlorp_status compile(vlorpi_regex *regex, size_t n_bytes, bool literal, pcre2_general_context *general,
                            vlorp_err *err)
{
    pcre2_compile_context *context = pcre2_compile_context_create(general);
    char *pattern = vlorpi_mem_alloc(regex->mem, VLORPI_MEM_DATA, n_bytes * TRANSLATED + 1);
    if (context == NULL || pattern == NULL) {
        pcre2_compile_context_free(context);
        vlorpi_mem_free(regex->mem, pattern);
        return vlorpi_mem_fail(regex->mem, VLORPI_MEM_DATA, n_bytes, err);
    }
    if (literal) {
        memcpy(pattern, regex->pattern, n_bytes);
    } else {
        n_bytes = translate(pattern, regex->pattern, n_bytes);
    }
    int code = 0;
    PCRE2_SIZE offset = 0;
    uint32_t options = PCRE2_UTF | (literal ? PCRE2_LITERAL : (PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C));
    regex->code = pcre2_compile((PCRE2_SPTR)pattern, n_bytes, options, &code, &offset, context);
    pcre2_compile_context_free(context);
    vlorpi_mem_free(regex->mem, pattern);
    if (regex->code == NULL) {
        unsigned char reason[200] = "";
        (void)pcre2_get_error_message(code, reason, sizeof reason);
        VLORP_FAIL(err, code == PCRE2_ERROR_HEAP_FAILED ? VLORP_E_NOMEM : VLORP_E_UNSUPPORTED,
                   "pattern \"%.200s\": %s at byte %zu", regex->pattern, (const char *)reason, (size_t)offset);
    }
    /* Without JIT pcre2_match interprets: slower, the same result. */
    (void)pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE);
    return VLORP_OK;
}

vlorp_status vlorpi_regex_compile(vlorpi_regex **out, vlorpi_mem *mem, const char *pattern, size_t n_bytes,
                                  bool literal, vlorp_err *err)
{
    *out = NULL;
    if (n_bytes == 0 || n_bytes > MAX_PATTERN_BYTES) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "a pattern of %zu bytes; 1 to %d are read", n_bytes, MAX_PATTERN_BYTES);
    }
    if (memchr(pattern, 0, n_bytes) != NULL) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "a pattern with a NUL character is not supported");
    }
    if (!literal) {
        VLORP_TRY(check_dialect(pattern, n_bytes, err));
    }
    vlorpi_regex *regex = vlorpi_mem_calloc(mem, VLORPI_MEM_DATA, 1, sizeof *regex);
    if (regex == NULL) {
        return vlorpi_mem_fail(mem, VLORPI_MEM_DATA, sizeof *regex, err);
    }
    regex->mem = mem;
    regex->pattern = vlorpi_mem_alloc(mem, VLORPI_MEM_DATA, n_bytes + 1);
    pcre2_general_context *general = pcre2_general_context_create(regex_alloc, regex_free, mem);
    vlorp_status status;
    if (regex->pattern == NULL || general == NULL) {
        status = vlorpi_mem_fail(mem, VLORPI_MEM_DATA, n_bytes, err);
    } else {
        memcpy(regex->pattern, pattern, n_bytes);
        regex->pattern[n_bytes] = 0;
        status = compile(regex, n_bytes, literal, general, err);
    }
    pcre2_general_context_free(general);
    if (status != VLORP_OK) {
        vlorpi_regex_free(regex);
        return status;
    }
    *out = regex;
    return VLORP_OK;
}

void vlorpi_regex_free(vlorpi_regex *regex)
{
    if (regex == NULL) {
        return;
    }
    pcre2_code_free(regex->code);
    vlorpi_mem_free(regex->mem, regex->pattern);
    vlorpi_mem_free(regex->mem, regex);
}

vlorp_status vlorpi_regex_match_create(vlorpi_regex_match **out, vlorpi_mem *mem, vlorp_err *err)
{
    *out = NULL;
    vlorpi_regex_match *match = vlorpi_mem_calloc(mem, VLORPI_MEM_DATA, 1, sizeof *match);
    if (match == NULL) {
        return vlorpi_mem_fail(mem, VLORPI_MEM_DATA, sizeof *match, err);
    }
    match->mem = mem;
    pcre2_general_context *general = pcre2_general_context_create(regex_alloc, regex_free, mem);
    if (general != NULL) {
        match->data = pcre2_match_data_create(1, general);
        match->context = pcre2_match_context_create(general);
    }
    pcre2_general_context_free(general);
    if (match->data == NULL || match->context == NULL) {
        vlorpi_regex_match_free(match);
        return vlorpi_mem_fail(mem, VLORPI_MEM_DATA, sizeof *match, err);
    }
    (void)pcre2_set_match_limit(match->context, MATCH_LIMIT);
    (void)pcre2_set_heap_limit(match->context, HEAP_LIMIT_KIB);
    *out = match;
    return VLORP_OK;
}

void vlorpi_regex_match_free(vlorpi_regex_match *match)
{
    if (match == NULL) {
        return;
    }
    pcre2_match_data_free(match->data);
    pcre2_match_context_free(match->context);
    vlorpi_mem_free(match->mem, match);
}

vlorp_status vlorpi_regex_find(const vlorpi_regex *regex, vlorpi_regex_match *match, const char *text, size_t n_bytes,
                               size_t from, size_t *begin, size_t *end, vlorp_err *err)
{
    *begin = n_bytes;
    *end = n_bytes;
    if (from >= n_bytes) {
        return VLORP_OK;
    }
    const uint32_t options = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY;
    PCRE2_SPTR subject = (PCRE2_SPTR)text;
    int found = pcre2_match(regex->code, subject, n_bytes, from, options, match->data, match->context);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
        /* The interpreter's stack is on the heap, within HEAP_LIMIT_KIB. */
        found = pcre2_match(regex->code, subject, n_bytes, from, options | PCRE2_NO_JIT, match->data, match->context);
    }
    if (found == PCRE2_ERROR_NOMATCH) {
        return VLORP_OK;
    }
    if (found < 0) {
        unsigned char reason[200] = "";
        (void)pcre2_get_error_message(found, reason, sizeof reason);
        VLORP_FAIL(err, found == PCRE2_ERROR_NOMEMORY ? VLORP_E_NOMEM : VLORP_E_LIMIT,
                   "pattern \"%.200s\" gives up at byte %zu of a piece of %zu: %s", regex->pattern, from, n_bytes,
                   (const char *)reason);
    }
    const PCRE2_SIZE *pair = pcre2_get_ovector_pointer(match->data);
    /* \K in a lookaround can put the ends in the wrong order. */
    if (pair[0] < from || pair[1] <= pair[0] || pair[1] > n_bytes) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "pattern \"%.200s\": \\K is not supported", regex->pattern);
    }
    *begin = pair[0];
    *end = pair[1];
    return VLORP_OK;
}

const char *vlorpi_regex_pattern(const vlorpi_regex *regex)
{
    return regex->pattern;
}
