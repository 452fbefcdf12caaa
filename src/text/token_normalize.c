/* token_normalize.c - the normaliser: steps that rewrite text and keep its offsets. */
#include <string.h>

#include <utf8proc.h>

#include "text/tokenizer_parts.h"

static vlorp_status prepend(const vlorpi_normal_step *step, vlorpi_text_buffer *out, const vlorpi_text *text,
                            vlorp_err *err)
{
    if (text->n_bytes > 0) {
        int32_t codepoint;
        uint32_t from;
        uint32_t to;
        size_t first = vlorpi_utf8_read(text->bytes, text->n_bytes, &codepoint);
        /* What is put in front stands for the first character, as Hugging Face counts it. */
        vlorpi_text_range(text, 0, first, &from, &to);
        VLORP_TRY(vlorpi_text_buffer_add(out, step->text, step->n_text, from, to, err));
    }
    return vlorpi_text_buffer_copy(out, text, 0, text->n_bytes, err);
}

static vlorp_status replace(const vlorpi_normal_step *step, vlorpi_regex_match *match, vlorpi_text_buffer *out,
                            const vlorpi_text *text, vlorp_err *err)
{
    for (size_t at = 0; at < text->n_bytes;) {
        size_t begin;
        size_t end;
        VLORP_TRY(vlorpi_regex_find(step->pattern, match, text->bytes, text->n_bytes, at, &begin, &end, err));
        VLORP_TRY(vlorpi_text_buffer_copy(out, text, at, begin, err));
        if (begin < end) {
            uint32_t from;
            uint32_t to;
            vlorpi_text_range(text, begin, end, &from, &to);
            VLORP_TRY(vlorpi_text_buffer_add(out, step->text, step->n_text, from, to, err));
        }
        at = end;
    }
    return VLORP_OK;
}

static vlorp_status strip(const vlorpi_normal_step *step, vlorpi_text_buffer *out, const vlorpi_text *text,
                          vlorp_err *err)
{
    size_t begin = 0;
    size_t end = 0; /* after the last character that is not white space */
    bool started = !step->left;
    for (size_t i = 0; i < text->n_bytes;) {
        int32_t codepoint;
        size_t next = i + vlorpi_utf8_read(text->bytes + i, text->n_bytes - i, &codepoint);
        if (!vlorpi_utf8_is_space(codepoint)) {
            begin = started ? begin : i;
            started = true;
            end = next;
        }
        i = next;
    }
    end = step->right ? end : text->n_bytes;
    return vlorpi_text_buffer_copy(out, text, started ? begin : end, end, err);
}

static vlorp_status lowercase(vlorpi_text_buffer *out, const vlorpi_text *text, vlorp_err *err)
{
    for (size_t i = 0; i < text->n_bytes;) {
        int32_t codepoint;
        size_t length = vlorpi_utf8_read(text->bytes + i, text->n_bytes - i, &codepoint);
        uint32_t from;
        uint32_t to;
        vlorpi_text_range(text, i, i + length, &from, &to);
        char lower[6];
        size_t n = vlorpi_utf8_write(lower, utf8proc_tolower(codepoint));
        if (codepoint == 0x130) { /* the one letter whose lower case has two code points */
            n = vlorpi_utf8_write(lower, 'i');
            n += vlorpi_utf8_write(lower + n, 0x307);
        }
        VLORP_TRY(vlorpi_text_buffer_add(out, lower, n, from, to, err));
        i += length;
    }
    return VLORP_OK;
}

/* Whether a character can join the ones before it: marks, and the Hangul letters that compose. */
static bool joins(int32_t c)
{
    if (c < 0x300) {
        return false;
    }
    const utf8proc_property_t *property = utf8proc_get_property(c);
    return property->combining_class != 0 || property->category == UTF8PROC_CATEGORY_MN ||
           property->category == UTF8PROC_CATEGORY_MC || (c >= 0x1160 && c <= 0x11FF);
}

/* Hangul syllables do so by arithmetic, the rest by the table. */
static bool decomposes(int32_t c)
{
    return utf8proc_get_property(c)->decomp_seqindex != UINT16_MAX || (c >= 0xAC00 && c <= 0xD7A3);
}

/* Normalises one run [begin, end): a character and what can join it.  Output equal to the input keeps
 * each character's range; changed output stands for the whole run. */
static vlorp_status normalize_run(vlorpi_text_buffer *out, const vlorpi_text *text, size_t begin, size_t end,
                                  utf8proc_option_t options, vlorp_err *err)
{
    int32_t few[64];
    int32_t *points = few;
    utf8proc_ssize_t capacity = sizeof few / sizeof few[0];
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)text->bytes + begin;
    utf8proc_ssize_t n_bytes = (utf8proc_ssize_t)(end - begin);
    utf8proc_ssize_t n = utf8proc_decompose(bytes, n_bytes, points, capacity, options);
    if (n > capacity) {
        capacity = n;
        points = vlorpi_mem_alloc(out->mem, VLORPI_MEM_DATA, (size_t)capacity * sizeof *points);
        if (points == NULL) {
            return vlorpi_mem_fail(out->mem, VLORPI_MEM_DATA, (size_t)capacity * sizeof *points, err);
        }
        n = utf8proc_decompose(bytes, n_bytes, points, capacity, options);
    }
    n = n < 0 ? n : utf8proc_normalize_utf32(points, n, options);
    vlorp_status status = VLORP_OK;
    if (n < 0) {
        status = vlorpi_err_set(err, VLORP_E_LIMIT, "Unicode normalisation: %s", utf8proc_errmsg(n));
    }
    uint32_t from;
    uint32_t to;
    uint32_t unused;
    vlorpi_text_range(text, begin, begin + 1, &from, &unused);
    vlorpi_text_range(text, end - 1, end, &unused, &to);
    size_t start = out->n_bytes;
    for (utf8proc_ssize_t i = 0; i < n && status == VLORP_OK; i++) {
        char utf8[4];
        size_t length = vlorpi_utf8_write(utf8, points[i]);
        status = vlorpi_text_buffer_add(out, utf8, length, from, to, err);
    }
    if (status == VLORP_OK && out->n_bytes - start == end - begin &&
        memcmp(out->bytes + start, text->bytes + begin, end - begin) == 0) {
        out->n_bytes = start;
        status = vlorpi_text_buffer_copy(out, text, begin, end, err);
    }
    if (points != few) {
        vlorpi_mem_free(out->mem, points);
    }
    return status;
}

static vlorp_status normalize_unicode(const vlorpi_normal_step *step, vlorpi_text_buffer *out,
                                      const vlorpi_text *text, vlorp_err *err)
{
    unsigned options = UTF8PROC_STABLE;
    options |= step->kind == VLORPI_NORMAL_NFC || step->kind == VLORPI_NORMAL_NFKC ? UTF8PROC_COMPOSE
                                                                                 : UTF8PROC_DECOMPOSE;
    options |= step->kind == VLORPI_NORMAL_NFKC || step->kind == VLORPI_NORMAL_NFKD ? UTF8PROC_COMPAT : 0u;
    size_t n = text->n_bytes;
    size_t plain = 0; /* from here to i nothing changes */
    for (size_t i = 0; i < n;) {
        int32_t codepoint;
        size_t run_begin = i;
        i += vlorpi_utf8_read(text->bytes + i, n - i, &codepoint);
        bool alone = codepoint < 0x80 || !decomposes(codepoint);
        size_t run_end = i;
        while (run_end < n) {
            size_t length = vlorpi_utf8_read(text->bytes + run_end, n - run_end, &codepoint);
            if (!joins(codepoint)) {
                break;
            }
            run_end += length;
        }
        if (alone && run_end == i) {
            continue;
        }
        VLORP_TRY(vlorpi_text_buffer_copy(out, text, plain, run_begin, err));
        VLORP_TRY(normalize_run(out, text, run_begin, run_end, (utf8proc_option_t)options, err));
        i = run_end;
        plain = i;
    }
    return vlorpi_text_buffer_copy(out, text, plain, n, err);
}

/* Whether the step leaves this text as it is, by a look at its bytes. */
static bool is_idle(const vlorpi_normal_step *step, const vlorpi_text *text)
{
    switch (step->kind) {
    case VLORPI_NORMAL_NFC:
    case VLORPI_NORMAL_NFD:
    case VLORPI_NORMAL_NFKC:
    case VLORPI_NORMAL_NFKD:
        for (size_t i = 0; i < text->n_bytes; i++) {
            if ((unsigned char)text->bytes[i] >= 0x80) {
                return false;
            }
        }
        return true;
    case VLORPI_NORMAL_PREPEND: return text->n_bytes == 0 || step->n_text == 0;
    case VLORPI_NORMAL_STRIP: return text->n_bytes == 0 || (!step->left && !step->right);
    case VLORPI_NORMAL_REPLACE:
    case VLORPI_NORMAL_LOWERCASE: break;
    }
    return text->n_bytes == 0;
}

static vlorp_status apply(const vlorpi_normal_step *step, vlorpi_regex_match *match, vlorpi_text_buffer *out,
                          const vlorpi_text *text, vlorp_err *err)
{
    switch (step->kind) {
    case VLORPI_NORMAL_PREPEND: return prepend(step, out, text, err);
    case VLORPI_NORMAL_REPLACE: return replace(step, match, out, text, err);
    case VLORPI_NORMAL_STRIP: return strip(step, out, text, err);
    case VLORPI_NORMAL_LOWERCASE: return lowercase(out, text, err);
    case VLORPI_NORMAL_NFC:
    case VLORPI_NORMAL_NFD:
    case VLORPI_NORMAL_NFKC:
    case VLORPI_NORMAL_NFKD: break;
    }
    return normalize_unicode(step, out, text, err);
}

vlorp_status vlorpi_normalize(const vlorpi_tokenizer *t, vlorpi_regex_match *match, vlorpi_text *out,
                              vlorpi_text_buffer *buffer, const vlorpi_text *text, vlorp_err *err)
{
    vlorp_status status = VLORP_OK;
    vlorpi_text_buffer spare = {.mem = buffer->mem};
    *out = *text;
    for (int i = 0; i < t->n_normal && status == VLORP_OK; i++) {
        if (is_idle(&t->normal[i], out)) {
            continue;
        }
        /* out may view buffer: write into spare, then swap. */
        spare.n_bytes = 0;
        status = apply(&t->normal[i], match, &spare, out, err);
        vlorpi_text_buffer swap = *buffer;
        *buffer = spare;
        spare = swap;
        *out = vlorpi_text_buffer_view(buffer);
    }
    vlorpi_text_buffer_deinit(&spare);
    return status;
}
