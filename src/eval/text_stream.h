/* text_stream.h - token ids becoming text, one at a time, in whole characters.
 *
 * Layer 5.  Knows: the tokenizer's decoder.  Does not know: models, where the text goes.
 */
#ifndef VLORPI_EVAL_TEXT_STREAM_H
#define VLORPI_EVAL_TEXT_STREAM_H

#include "text/tokenizer.h"

/* Receives new text as soon as it is final: whole characters of valid UTF-8, n_bytes > 0.  A status
 * other than OK is returned to whoever pushed. */
typedef struct vlorpi_text_sink {
    vlorp_status (*write)(void *ctx, const char *text, size_t n_bytes, vlorp_err *err);
    void *ctx;
} vlorpi_text_sink;

/* Plain storage.  Tokens [0, shown) of a text of n have been written or were there before; what [shown, n) add is
 * the difference between decoding [from, n) and [from, shown), because a token's text may depend on the one
 * before it.  from and shown are always between whole characters. */
typedef struct vlorpi_text_stream {
    const vlorpi_tokenizer *tokenizer; /* borrowed */
    vlorpi_mem *mem;                   /* borrowed */
    const vlorpi_text_sink *sink;      /* borrowed */
    int64_t from, shown;
} vlorpi_text_stream;

/* The first n_before tokens are a text that was there before and is not written. */
vlorpi_text_stream vlorpi_text_stream_begin(const vlorpi_tokenizer *tokenizer, vlorpi_mem *mem,
                                            const vlorpi_text_sink *sink, int64_t n_before);
/* The text has grown to ids [n]: writes what is final by that; special tokens write nothing. */
VLORP_CHECKED vlorp_status vlorpi_text_stream_push(vlorpi_text_stream *stream, const int32_t *ids, int64_t n,
                                                   vlorp_err *err);
/* The text stays ids [n]: writes what was held back; an unfinished character becomes U+FFFD. */
VLORP_CHECKED vlorp_status vlorpi_text_stream_end(vlorpi_text_stream *stream, const int32_t *ids, int64_t n,
                                                  vlorp_err *err);

#endif
