/* token_decode.c - token texts to text: a list of pieces, which each decoder step rewrites. */
#include <string.h>

#include "text/tokenizer_parts.h"

/* The pieces lie back to back in bytes; piece i ends at ends[i]. */
typedef struct pieces {
    vlorpi_mem *mem;
    char *bytes;
    size_t n_bytes;
    size_t *ends;
    size_t n;
} pieces;

static vlorp_status add_bytes(pieces *p, const char *bytes, size_t n_bytes, vlorp_err *err)
{
    size_t need = p->n_bytes + n_bytes + 1;
    VLORP_TRY(vlorpi_mem_room(p->mem, VLORPI_MEM_DATA, &p->bytes, need, 1, err));
    if (n_bytes > 0) {
        memcpy(p->bytes + p->n_bytes, bytes, n_bytes);
    }
    p->n_bytes += n_bytes;
    return VLORP_OK;
}

/* Ends the piece that add_bytes made. */
static vlorp_status end_piece(pieces *p, vlorp_err *err)
{
    VLORP_TRY(vlorpi_mem_room(p->mem, VLORPI_MEM_DATA, &p->ends, p->n + 1, sizeof p->ends[0], err));
    p->ends[p->n++] = p->n_bytes;
    return VLORP_OK;
}

static const char *piece_at(const pieces *p, size_t i, size_t *n_bytes)
{
    size_t begin = i > 0 ? p->ends[i - 1] : 0;
    *n_bytes = p->ends[i] - begin;
    return p->bytes + begin;
}

static void pieces_deinit(pieces *p)
{
    vlorpi_mem_free(p->mem, p->bytes);
    vlorpi_mem_free(p->mem, p->ends);
    *p = (pieces){.mem = p->mem};
}

/* Valid UTF-8 stays; what cannot be a character becomes U+FFFD. */
static vlorp_status add_repaired(pieces *out, const char *bytes, size_t n_bytes, vlorp_err *err)
{
    for (size_t i = 0; i < n_bytes;) {
        int32_t codepoint;
        size_t length = vlorpi_utf8_read(bytes + i, n_bytes - i, &codepoint);
        VLORP_TRY(codepoint < 0 ? add_bytes(out, "\xEF\xBF\xBD", 3, err) : add_bytes(out, bytes + i, length, err));
        i += length;
    }
    return VLORP_OK;
}

/* The bytes that a token of the byte alphabet spells; a token with any other character is itself. */
static vlorp_status add_spelled(pieces *out, const char *token, size_t n_bytes, vlorp_err *err)
{
    size_t start = out->n_bytes;
    for (size_t i = 0; i < n_bytes;) {
        int32_t codepoint;
        i += vlorpi_utf8_read(token + i, n_bytes - i, &codepoint);
        int byte = vlorpi_byte_alphabet_byte(codepoint);
        if (byte < 0) {
            out->n_bytes = start;
            return add_bytes(out, token, n_bytes, err);
        }
        char c = (char)byte;
        VLORP_TRY(add_bytes(out, &c, 1, err));
    }
    return VLORP_OK;
}

static vlorp_status decode_byte_level(pieces *out, const pieces *in, vlorp_err *err)
{
    pieces raw = {.mem = out->mem};
    vlorp_status status = VLORP_OK;
    for (size_t i = 0; i < in->n && status == VLORP_OK; i++) {
        size_t n_bytes;
        const char *token = piece_at(in, i, &n_bytes);
        status = add_spelled(&raw, token, n_bytes, err);
    }
    if (status == VLORP_OK) {
        status = add_repaired(out, raw.bytes, raw.n_bytes, err);
    }
    pieces_deinit(&raw);
    return status == VLORP_OK ? end_piece(out, err) : status;
}

/* The byte of "<0xXX>", or -1. */
static int byte_token(const char *text, size_t n_bytes)
{
    if (n_bytes != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') {
        return -1;
    }
    int value = 0;
    for (int i = 3; i < 5; i++) {
        const char *digits = "0123456789abcdef";
        const char *digit = strchr(digits, text[i] >= 'A' && text[i] <= 'F' ? text[i] + 32 : text[i]);
        if (digit == NULL || *digit == 0) {
            return -1;
        }
        value = value * 16 + (int)(digit - digits);
    }
    return value;
}

/* A run of byte tokens: its text when it is UTF-8, else one U+FFFD for each byte. */
static vlorp_status add_byte_run(pieces *out, const char *bytes, size_t n_bytes, vlorp_err *err)
{
    if (vlorpi_utf8_valid(bytes, n_bytes)) {
        VLORP_TRY(add_bytes(out, bytes, n_bytes, err));
    } else {
        for (size_t i = 0; i < n_bytes; i++) {
            VLORP_TRY(add_bytes(out, "\xEF\xBF\xBD", 3, err));
        }
    }
    return end_piece(out, err);
}

static vlorp_status decode_byte_fallback(pieces *out, const pieces *in, vlorp_err *err)
{
    pieces run = {.mem = out->mem};
    vlorp_status status = VLORP_OK;
    for (size_t i = 0; i <= in->n && status == VLORP_OK; i++) {
        size_t n_bytes = 0;
        const char *token = i < in->n ? piece_at(in, i, &n_bytes) : "";
        int byte = byte_token(token, n_bytes);
        if (byte >= 0) {
            char c = (char)byte;
            status = add_bytes(&run, &c, 1, err);
            continue;
        }
        if (run.n_bytes > 0) {
            status = add_byte_run(out, run.bytes, run.n_bytes, err);
            run.n_bytes = 0;
        }
        if (status == VLORP_OK && i < in->n) {
            status = add_bytes(out, token, n_bytes, err);
            status = status == VLORP_OK ? end_piece(out, err) : status;
        }
    }
    pieces_deinit(&run);
    return status;
}

static vlorp_status decode_replace(const vlorpi_decode_step *step, vlorpi_regex_match *match, pieces *out,
                                   const pieces *in, vlorp_err *err)
{
    for (size_t i = 0; i < in->n; i++) {
        size_t n_bytes;
        const char *text = piece_at(in, i, &n_bytes);
        for (size_t at = 0; at < n_bytes;) {
            size_t begin;
            size_t end;
            VLORP_TRY(vlorpi_regex_find(step->pattern, match, text, n_bytes, at, &begin, &end, err));
            VLORP_TRY(add_bytes(out, text + at, begin - at, err));
            if (begin < end) {
                VLORP_TRY(add_bytes(out, step->text, step->n_text, err));
            }
            at = end;
        }
        VLORP_TRY(end_piece(out, err));
    }
    return VLORP_OK;
}

static vlorp_status decode_strip(const vlorpi_decode_step *step, pieces *out, const pieces *in, vlorp_err *err)
{
    for (size_t i = 0; i < in->n; i++) {
        size_t n_bytes;
        const char *text = piece_at(in, i, &n_bytes);
        for (int64_t k = 0; k < step->start && n_bytes >= step->n_text; k++) {
            if (memcmp(text, step->text, step->n_text) != 0) {
                break;
            }
            text += step->n_text;
            n_bytes -= step->n_text;
        }
        for (int64_t k = 0; k < step->stop && n_bytes >= step->n_text; k++) {
            if (memcmp(text + n_bytes - step->n_text, step->text, step->n_text) != 0) {
                break;
            }
            n_bytes -= step->n_text;
        }
        VLORP_TRY(add_bytes(out, text, n_bytes, err));
        VLORP_TRY(end_piece(out, err));
    }
    return VLORP_OK;
}

/* As Hugging Face does: in the first piece every visible space goes when a space was put in front. */
static vlorp_status decode_metaspace(const vlorpi_decode_step *step, pieces *out, const pieces *in, vlorp_err *err)
{
    for (size_t i = 0; i < in->n; i++) {
        size_t n_bytes;
        const char *text = piece_at(in, i, &n_bytes);
        for (size_t at = 0; at < n_bytes;) {
            bool space = n_bytes - at >= step->n_text && memcmp(text + at, step->text, step->n_text) == 0;
            if (!space) {
                VLORP_TRY(add_bytes(out, text + at, 1, err));
            } else if (i > 0 || !step->strip_first) {
                VLORP_TRY(add_bytes(out, " ", 1, err));
            }
            at += space ? step->n_text : 1;
        }
        VLORP_TRY(end_piece(out, err));
    }
    return VLORP_OK;
}

static vlorp_status run_step(const vlorpi_decode_step *step, vlorpi_regex_match *match, pieces *out, const pieces *in,
                             vlorp_err *err)
{
    switch (step->kind) {
    case VLORPI_DECODE_BYTE_LEVEL: return decode_byte_level(out, in, err);
    case VLORPI_DECODE_REPLACE: return decode_replace(step, match, out, in, err);
    case VLORPI_DECODE_BYTE_FALLBACK: return decode_byte_fallback(out, in, err);
    case VLORPI_DECODE_STRIP: return decode_strip(step, out, in, err);
    case VLORPI_DECODE_METASPACE: return decode_metaspace(step, out, in, err);
    case VLORPI_DECODE_FUSE: break;
    }
    VLORP_TRY(add_bytes(out, in->bytes, in->n_bytes, err));
    return end_piece(out, err);
}

static vlorp_status collect(const vlorpi_tokenizer *t, pieces *out, const int32_t *ids, int64_t n, bool skip_special,
                            vlorp_err *err)
{
    for (int64_t i = 0; i < n; i++) {
        size_t n_bytes;
        const char *text = vlorpi_vocab_text(&t->vocab, ids[i], &n_bytes);
        if (ids[i] < 0) {
            VLORP_FAIL(err, VLORP_E_ARG, "token %lld has the id %d", (long long)i, (int)ids[i]);
        }
        if (text == NULL || (skip_special && vlorpi_added_is_special(t, ids[i]))) {
            continue;
        }
        if (t->joined_by_space && out->n > 0) {
            VLORP_TRY(add_bytes(out, " ", 1, err));
        }
        /* Patterns of the steps need valid text; a vocabulary may hold anything. */
        VLORP_TRY(add_repaired(out, text, n_bytes, err));
        VLORP_TRY(end_piece(out, err));
    }
    return VLORP_OK;
}

vlorp_status vlorpi_tokenizer_decode(const vlorpi_tokenizer *t, char **text, size_t *n_bytes, const int32_t *ids,
                                     int64_t n, bool skip_special, vlorp_err *err)
{
    *text = NULL;
    *n_bytes = 0;
    pieces now = {.mem = t->mem};
    pieces then = {.mem = t->mem};
    vlorpi_regex_match *match = NULL;
    vlorp_status status = vlorpi_regex_match_create(&match, t->mem, err);
    if (status == VLORP_OK) {
        status = collect(t, &now, ids, n, skip_special, err);
    }
    for (int i = 0; i < t->n_decode && status == VLORP_OK; i++) {
        then.n_bytes = 0;
        then.n = 0;
        status = run_step(&t->decode[i], match, &then, &now, err);
        pieces swap = now;
        now = then;
        then = swap;
    }
    if (status == VLORP_OK) {
        status = add_bytes(&now, "", 0, err);
    }
    if (status == VLORP_OK) {
        now.bytes[now.n_bytes] = 0;
        *text = now.bytes;
        *n_bytes = now.n_bytes;
        now.bytes = NULL;
    }
    pieces_deinit(&now);
    pieces_deinit(&then);
    vlorpi_regex_match_free(match);
    return status;
}
