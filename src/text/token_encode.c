/* token_encode.c - text to tokens: the parts of a tokenizer in their order. */
#include <assert.h>
#include <string.h>

#include "text/tokenizer_parts.h"

/* What one call of encode works with. */
typedef struct encoder {
    const vlorpi_tokenizer *t;
    vlorpi_tokens *out;
    vlorpi_regex_match *match;
    vlorpi_text_buffer normal;
    vlorpi_bpe bpe;
    bool special; /* special tokens in the text are tokens */
    vlorp_err *err;
} encoder;

static vlorp_status reserve_tokens(vlorpi_tokens *out, int64_t n, vlorp_err *err)
{
    return vlorpi_mem_room(out->mem, VLORPI_MEM_DATA, &out->items, (size_t)n, sizeof out->items[0], err);
}

static vlorp_status add_token(encoder *e, int32_t id, int64_t begin, int64_t end)
{
    VLORP_TRY(reserve_tokens(e->out, e->out->n + 1, e->err));
    e->out->items[e->out->n++] = (vlorpi_token){.id = id, .begin = begin, .end = end};
    return VLORP_OK;
}

/* A vlorpi_piece_sink. */
static vlorp_status encode_piece(void *ctx, const vlorpi_text *piece, bool byte_level, vlorp_err *err)
{
    encoder *e = ctx;
    VLORP_TRY(vlorpi_bpe_encode(e->t, &e->bpe, piece->bytes, piece->n_bytes, byte_level, err));
    VLORP_TRY(reserve_tokens(e->out, e->out->n + (int64_t)e->bpe.n, err));
    for (size_t i = 0; i < e->bpe.n; i++) {
        uint32_t from;
        uint32_t to;
        vlorpi_text_range(piece, e->bpe.begin[i], e->bpe.end[i], &from, &to);
        e->out->items[e->out->n++] = (vlorpi_token){.id = e->bpe.id[i], .begin = from, .end = to};
    }
    return VLORP_OK;
}

static vlorp_status encode_plain(encoder *e, const vlorpi_text *text)
{
    return vlorpi_split_text(e->t, e->match, text, encode_piece, e, e->err);
}

static vlorp_status encode_normal(encoder *e, const vlorpi_text *raw)
{
    vlorpi_text text;
    e->normal.n_bytes = 0;
    VLORP_TRY(vlorpi_normalize(e->t, e->match, &text, &e->normal, raw, e->err));
    for (size_t at = 0; at < text.n_bytes;) {
        const vlorpi_added_token *token;
        size_t begin;
        size_t end;
        vlorpi_added_find(e->t, text.bytes, text.n_bytes, at, true, e->special, &token, &begin, &end);
        vlorpi_text plain = vlorpi_text_slice(&text, at, begin);
        VLORP_TRY(encode_plain(e, &plain));
        if (token != NULL) {
            uint32_t from;
            uint32_t to;
            vlorpi_text_range(&text, begin, end, &from, &to);
            VLORP_TRY(add_token(e, token->id, from, to));
        }
        at = end;
    }
    return VLORP_OK;
}

static vlorp_status encode_raw(encoder *e, const vlorpi_text *text)
{
    for (size_t at = 0; at < text->n_bytes;) {
        const vlorpi_added_token *token;
        size_t begin;
        size_t end;
        vlorpi_added_find(e->t, text->bytes, text->n_bytes, at, false, e->special, &token, &begin, &end);
        if (begin > at) {
            vlorpi_text piece = vlorpi_text_slice(text, at, begin);
            VLORP_TRY(encode_normal(e, &piece));
        }
        if (token != NULL) {
            uint32_t from;
            uint32_t to;
            vlorpi_text_range(text, begin, end, &from, &to);
            VLORP_TRY(add_token(e, token->id, from, to));
        }
        at = end;
    }
    return VLORP_OK;
}

/* Copies text with one U+FFFD for each run of bytes that cannot be a character. */
static vlorp_status repair(vlorpi_text_buffer *out, const char *text, size_t n_bytes, vlorp_err *err)
{
    VLORP_TRY(vlorpi_text_buffer_reserve(out, n_bytes, err));
    for (size_t i = 0; i < n_bytes;) {
        int32_t codepoint;
        size_t length = vlorpi_utf8_read(text + i, n_bytes - i, &codepoint);
        uint32_t from = (uint32_t)i;
        uint32_t to = (uint32_t)(i + length);
        if (codepoint < 0) {
            VLORP_TRY(vlorpi_text_buffer_add(out, "\xEF\xBF\xBD", 3, from, to, err));
        } else {
            VLORP_TRY(vlorpi_text_buffer_add(out, text + i, length, from, to, err));
        }
        i += length;
    }
    return VLORP_OK;
}

static vlorp_status encode_text(encoder *e, const char *text, size_t n_bytes)
{
    vlorpi_text view = {.bytes = text, .n_bytes = n_bytes};
    if (vlorpi_utf8_valid(text, n_bytes)) {
        return encode_raw(e, &view);
    }
    vlorpi_text_buffer repaired = {.mem = e->t->mem};
    vlorp_status status = repair(&repaired, text, n_bytes, e->err);
    if (status == VLORP_OK) {
        view = vlorpi_text_buffer_view(&repaired);
        status = encode_raw(e, &view);
    }
    vlorpi_text_buffer_deinit(&repaired);
    return status;
}

static vlorp_status add_specials(encoder *e, const int32_t *ids, int n, int64_t at)
{
    for (int i = 0; i < n; i++) {
        VLORP_TRY(add_token(e, ids[i], at, at));
    }
    return VLORP_OK;
}

vlorp_status vlorpi_tokenizer_encode(const vlorpi_tokenizer *t, vlorpi_tokens *tokens, const char *text,
                                     size_t n_bytes, vlorpi_encode_options options, vlorp_err *err)
{
    if (n_bytes > VLORPI_TEXT_MAX_BYTES) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "a text of %zu bytes; at most %zu are encoded at once", n_bytes,
                   VLORPI_TEXT_MAX_BYTES);
    }
    encoder e = {.t = t, .out = tokens, .normal = {.mem = t->mem}, .bpe = {.mem = t->mem},
                 .special = options.parse_special, .err = err};
    int64_t n_before = tokens->n;
    vlorp_status status = vlorpi_regex_match_create(&e.match, t->mem, err);
    if (status == VLORP_OK && options.add_special) {
        status = add_specials(&e, t->prefix, t->n_prefix, 0);
    }
    if (status == VLORP_OK) {
        status = encode_text(&e, text, n_bytes);
    }
    if (status == VLORP_OK && options.add_special) {
        status = add_specials(&e, t->suffix, t->n_suffix, (int64_t)n_bytes);
    }
    vlorpi_regex_match_free(e.match);
    vlorpi_text_buffer_deinit(&e.normal);
    vlorpi_bpe_deinit(&e.bpe);
    if (status != VLORP_OK) {
        tokens->n = n_before;
    }
    return status;
}

void vlorpi_tokens_deinit(vlorpi_tokens *tokens)
{
    if (tokens->mem != NULL) {
        vlorpi_mem_free(tokens->mem, tokens->items);
    }
    *tokens = (vlorpi_tokens){.mem = tokens->mem};
}
