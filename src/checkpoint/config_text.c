#include "checkpoint/config_text.h"

#include <string.h>

/* Forward through the text; depth counts open brackets. */
typedef struct scan {
    const char *text;
    size_t n_bytes, at;
    int depth;
} scan;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_blanks(scan *s)
{
    while (s->at < s->n_bytes && is_blank(s->text[s->at])) {
        s->at++;
    }
}

/* Past the string that starts here. */
static void skip_string(scan *s)
{
    for (s->at++; s->at < s->n_bytes && s->text[s->at] != '"'; s->at++) {
        s->at += s->text[s->at] == '\\';
    }
    s->at = s->at < s->n_bytes ? s->at + 1 : s->n_bytes;
}

static bool is_dtype_key(const char *key, size_t n)
{
    return (n == 13 && memcmp(key, "\"torch_dtype\"", 13) == 0) || (n == 7 && memcmp(key, "\"dtype\"", 7) == 0);
}

/* Finds the next value of a dtype key of the outermost object, [*begin, *end); false: none is left. */
static bool next_value(scan *s, size_t *begin, size_t *end)
{
    while (s->at < s->n_bytes) {
        char c = s->text[s->at];
        if (c != '"') {
            s->depth += c == '{' || c == '[';
            s->depth -= c == '}' || c == ']';
            s->at++;
            continue;
        }
        size_t key = s->at;
        skip_string(s);
        size_t n_key = s->at - key;
        skip_blanks(s);
        if (s->depth != 1 || s->at >= s->n_bytes || s->text[s->at] != ':' || !is_dtype_key(s->text + key, n_key)) {
            continue;
        }
        s->at++;
        skip_blanks(s);
        *begin = s->at;
        if (s->at < s->n_bytes && s->text[s->at] == '"') {
            skip_string(s);
        } else if (s->n_bytes - s->at >= 4 && memcmp(s->text + s->at, "null", 4) == 0) {
            s->at += 4;
        } else {
            continue; /* not a dtype's name: some other meaning */
        }
        *end = s->at;
        return true;
    }
    return false;
}

static vlorp_status put_quoted(vlorpi_file_writer *writer, const char *text, vlorp_err *err)
{
    VLORP_TRY(vlorpi_file_writer_put_text(writer, "\"", err));
    VLORP_TRY(vlorpi_file_writer_put_text(writer, text, err));
    return vlorpi_file_writer_put_text(writer, "\"", err);
}

/* `"torch_dtype": "float32",` behind the outermost object's bracket, which is put too; *at moves on. */
static vlorp_status put_first(vlorpi_file_writer *writer, const char *text, size_t n_bytes, const char *dtype,
                              size_t *at, vlorp_err *err)
{
    scan s = {.text = text, .n_bytes = n_bytes};
    while (s.at < n_bytes && text[s.at] != '{') {
        s.at++;
    }
    *at = s.at < n_bytes ? s.at + 1 : n_bytes;
    VLORP_TRY(vlorpi_file_writer_put(writer, text, *at, err));
    VLORP_TRY(vlorpi_file_writer_put_text(writer, "\n  \"torch_dtype\": ", err));
    VLORP_TRY(put_quoted(writer, dtype, err));
    s.at = *at;
    skip_blanks(&s);
    return vlorpi_file_writer_put_text(writer, s.at < n_bytes && text[s.at] == '}' ? "" : ",", err);
}

vlorp_status vlorpi_config_text_write(vlorpi_file_writer *writer, const char *text, size_t n_bytes, const char *dtype,
                                      bool add, vlorp_err *err)
{
    scan s = {.text = text, .n_bytes = n_bytes};
    size_t at = 0;
    size_t begin;
    size_t end;
    bool found = false;
    while (next_value(&s, &begin, &end)) {
        found = true;
        VLORP_TRY(vlorpi_file_writer_put(writer, text + at, begin - at, err));
        VLORP_TRY(put_quoted(writer, dtype, err));
        at = end;
    }
    if (!found && add) {
        VLORP_TRY(put_first(writer, text, n_bytes, dtype, &at, err));
    }
    return vlorpi_file_writer_put(writer, text + at, n_bytes - at, err);
}
