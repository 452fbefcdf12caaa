#include "eval/text_stream.h"

#include <string.h>

#include "text/token_text.h"

static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD */

/* Writes text with U+FFFD for every byte sequence that is not UTF-8. */
static vlorp_status write_valid(const vlorpi_text_stream *s, const char *text, size_t n_bytes, vlorp_err *err)
{
    size_t begin = 0;
    for (size_t i = 0; i < n_bytes;) {
        int32_t codepoint;
        size_t n = vlorpi_utf8_read(text + i, n_bytes - i, &codepoint);
        if (codepoint < 0) {
            if (i > begin) {
                VLORP_TRY(s->sink->write(s->sink->ctx, text + begin, i - begin, err));
            }
            VLORP_TRY(s->sink->write(s->sink->ctx, replacement, sizeof replacement - 1, err));
            begin = i + n;
        }
        i += n;
    }
    return n_bytes > begin ? s->sink->write(s->sink->ctx, text + begin, n_bytes - begin, err) : VLORP_OK;
}

/* Whether the last character may still grow: bytes of a character whose rest is in the next token,
 * as raw bytes or as the U+FFFD that a decoder puts for them. */
static bool ends_open(const char *text, size_t n_bytes)
{
    size_t n_mark = sizeof replacement - 1;
    if (n_bytes >= n_mark && memcmp(text + n_bytes - n_mark, replacement, n_mark) == 0) {
        return true;
    }
    size_t back = 0; /* to the first byte of the last character */
    while (back < 4 && back < n_bytes) {
        back++;
        unsigned char byte = (unsigned char)text[n_bytes - back];
        if ((byte & 0xC0) != 0x80) {
            size_t wanted = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
            return wanted > back;
        }
    }
    return false;
}

/* Writes what is new and final; with `last` also what could still have grown. */
static vlorp_status flush(vlorpi_text_stream *s, const int32_t *ids, int64_t n, bool last, vlorp_err *err)
{
    char *before = NULL;
    char *after = NULL;
    size_t n_before;
    size_t n_after;
    vlorp_status status = vlorpi_tokenizer_decode(s->tokenizer, &before, &n_before, ids + s->from, s->shown - s->from,
                                                  true, err);
    if (status == VLORP_OK) {
        status = vlorpi_tokenizer_decode(s->tokenizer, &after, &n_after, ids + s->from, n - s->from, true, err);
    }
    if (status == VLORP_OK && n_after > n_before && (last || !ends_open(after, n_after))) {
        status = write_valid(s, after + n_before, n_after - n_before, err);
        s->from = s->shown;
        s->shown = n;
    }
    vlorpi_mem_free(s->mem, before);
    vlorpi_mem_free(s->mem, after);
    return status;
}

vlorpi_text_stream vlorpi_text_stream_begin(const vlorpi_tokenizer *tokenizer, vlorpi_mem *mem,
                                            const vlorpi_text_sink *sink, int64_t n_before)
{
    return (vlorpi_text_stream){.tokenizer = tokenizer, .mem = mem, .sink = sink, .shown = n_before};
}

vlorp_status vlorpi_text_stream_push(vlorpi_text_stream *stream, const int32_t *ids, int64_t n, vlorp_err *err)
{
    return flush(stream, ids, n, false, err);
}

vlorp_status vlorpi_text_stream_end(vlorpi_text_stream *stream, const int32_t *ids, int64_t n, vlorp_err *err)
{
    return flush(stream, ids, n, true, err);
}
