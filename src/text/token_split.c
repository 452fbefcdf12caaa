/* token_split.c - the splitter: steps that cut a text into the pieces that BPE works on.
 *
 * Every piece of a step goes through the following steps before the next piece is cut, so nothing
 * but the step's own state is kept. */
#include <string.h>

#include "text/tokenizer_parts.h"

typedef struct splitter {
    const vlorpi_tokenizer *t;
    vlorpi_regex_match *match;
    vlorpi_piece_sink *sink;
    void *ctx;
    vlorp_err *err;
} splitter;

static vlorp_status run_steps(const splitter *s, int step, const vlorpi_text *text);

/* --- one pattern over one text --- */

/* Spans of matches and of what lies between them, joined as the behaviour says. */
typedef struct spans {
    const splitter *s;
    const vlorpi_split_step *step;
    const vlorpi_text *text;
    vlorp_status (*emit)(const splitter *s, int next_step, const vlorpi_text *piece);
    int next_step;
    size_t held_begin, held_end; /* cut, not yet handed on; empty: nothing held */
    bool held_match;
} spans;

static vlorp_status spans_flush(spans *p)
{
    if (p->held_begin == p->held_end) {
        return VLORP_OK;
    }
    vlorpi_text piece = vlorpi_text_slice(p->text, p->held_begin, p->held_end);
    p->held_begin = p->held_end;
    return p->emit(p->s, p->next_step, &piece);
}

/* Whether the span after the held one joins it. */
static bool spans_join(const spans *p, bool is_match)
{
    if (p->held_begin == p->held_end) {
        return false;
    }
    switch (p->step->behavior) {
    case VLORPI_SPLIT_CONTIGUOUS: return is_match == p->held_match;
    case VLORPI_SPLIT_MERGED_WITH_PREVIOUS: return is_match && !p->held_match;
    case VLORPI_SPLIT_MERGED_WITH_NEXT: return !is_match && p->held_match;
    case VLORPI_SPLIT_ISOLATED:
    case VLORPI_SPLIT_REMOVED: break;
    }
    return false;
}

static vlorp_status spans_add(spans *p, size_t begin, size_t end, bool is_match)
{
    is_match = is_match != p->step->invert;
    if (begin == end || (is_match && p->step->behavior == VLORPI_SPLIT_REMOVED)) {
        return VLORP_OK;
    }
    if (spans_join(p, is_match)) {
        p->held_end = end;
        p->held_match = is_match;
        return VLORP_OK;
    }
    VLORP_TRY(spans_flush(p));
    p->held_begin = begin;
    p->held_end = end;
    p->held_match = is_match;
    return VLORP_OK;
}

/* Cuts text by the step's pattern; pieces go to emit. */
static vlorp_status cut(spans *p)
{
    const vlorpi_text *text = p->text;
    for (size_t at = 0; at < text->n_bytes;) {
        size_t begin;
        size_t end;
        VLORP_TRY(vlorpi_regex_find(p->step->pattern, p->s->match, text->bytes, text->n_bytes, at, &begin, &end,
                                    p->s->err));
        VLORP_TRY(spans_add(p, at, begin, false));
        VLORP_TRY(spans_add(p, begin, end, true));
        at = end;
    }
    return spans_flush(p);
}

/* --- the three kinds of steps --- */

static vlorp_status hand_over(const splitter *s, const vlorpi_text *piece, bool byte_level)
{
    return s->sink(s->ctx, piece, byte_level, s->err);
}

/* A piece of the byte-level step: the last step hands bytes over, else later steps see the alphabet. */
static vlorp_status emit_bytes(const splitter *s, int next_step, const vlorpi_text *piece)
{
    if (next_step == s->t->n_split) {
        return hand_over(s, piece, true);
    }
    vlorpi_text_buffer spelled = {.mem = s->t->mem};
    vlorp_status status = VLORP_OK;
    for (size_t i = 0; i < piece->n_bytes && status == VLORP_OK; i++) {
        char utf8[4];
        uint32_t from;
        uint32_t to;
        size_t n = vlorpi_utf8_write(utf8, vlorpi_byte_alphabet_char((unsigned char)piece->bytes[i]));
        vlorpi_text_range(piece, i, i + 1, &from, &to);
        status = vlorpi_text_buffer_add(&spelled, utf8, n, from, to, s->err);
    }
    if (status == VLORP_OK) {
        vlorpi_text view = vlorpi_text_buffer_view(&spelled);
        status = run_steps(s, next_step, &view);
    }
    vlorpi_text_buffer_deinit(&spelled);
    return status;
}

/* Puts text in front of a text that is not empty; it stands for the first character. */
static vlorp_status put_in_front(vlorpi_text_buffer *out, const vlorpi_text *text, const char *front, vlorp_err *err)
{
    int32_t codepoint;
    uint32_t from;
    uint32_t to;
    size_t first = vlorpi_utf8_read(text->bytes, text->n_bytes, &codepoint);
    vlorpi_text_range(text, 0, first, &from, &to);
    return vlorpi_text_buffer_add(out, front, strlen(front), from, to, err);
}

static vlorp_status cut_or_emit(const splitter *s, int step, const vlorpi_text *text,
                                vlorp_status (*emit)(const splitter *, int, const vlorpi_text *))
{
    if (s->t->split[step].pattern == NULL) {
        return emit(s, step + 1, text);
    }
    spans p = {.s = s, .step = &s->t->split[step], .text = text, .emit = emit, .next_step = step + 1};
    return cut(&p);
}

static vlorp_status run_byte_level(const splitter *s, int step, const vlorpi_text *text)
{
    if (!s->t->split[step].add_prefix_space || text->bytes[0] == ' ') {
        return cut_or_emit(s, step, text, emit_bytes);
    }
    vlorpi_text_buffer prefixed = {.mem = s->t->mem};
    vlorp_status status = put_in_front(&prefixed, text, " ", s->err);
    if (status == VLORP_OK) {
        status = vlorpi_text_buffer_copy(&prefixed, text, 0, text->n_bytes, s->err);
    }
    if (status == VLORP_OK) {
        vlorpi_text view = vlorpi_text_buffer_view(&prefixed);
        status = cut_or_emit(s, step, &view, emit_bytes);
    }
    vlorpi_text_buffer_deinit(&prefixed);
    return status;
}

static vlorp_status show_spaces(const splitter *s, const vlorpi_split_step *step, vlorpi_text_buffer *out,
                                const vlorpi_text *text)
{
    uint32_t from;
    uint32_t to;
    size_t n_space = strlen(step->space);
    bool has_space = text->bytes[0] == ' ' ||
                     (text->n_bytes >= n_space && memcmp(text->bytes, step->space, n_space) == 0);
    vlorpi_text_range(text, 0, 1, &from, &to);
    if (!has_space &&
        (step->prepend == VLORPI_PREPEND_ALWAYS || (step->prepend == VLORPI_PREPEND_FIRST && from == 0))) {
        VLORP_TRY(put_in_front(out, text, step->space, s->err));
    }
    for (size_t at = 0; at < text->n_bytes;) {
        const char *space = memchr(text->bytes + at, ' ', text->n_bytes - at);
        size_t end = space != NULL ? (size_t)(space - text->bytes) : text->n_bytes;
        VLORP_TRY(vlorpi_text_buffer_copy(out, text, at, end, s->err));
        if (space != NULL) {
            vlorpi_text_range(text, end, end + 1, &from, &to);
            VLORP_TRY(vlorpi_text_buffer_add(out, step->space, n_space, from, to, s->err));
            end++;
        }
        at = end;
    }
    return VLORP_OK;
}

static vlorp_status run_metaspace(const splitter *s, int step, const vlorpi_text *text)
{
    vlorpi_text_buffer shown = {.mem = s->t->mem};
    vlorp_status status = show_spaces(s, &s->t->split[step], &shown, text);
    if (status == VLORP_OK) {
        vlorpi_text view = vlorpi_text_buffer_view(&shown);
        status = cut_or_emit(s, step, &view, run_steps);
    }
    vlorpi_text_buffer_deinit(&shown);
    return status;
}

/* The end of the steps.  Where no merge crosses from a word to a visible space, cutting there changes
 * nothing but the time that a long text takes. */
static vlorp_status finish(const splitter *s, const vlorpi_text *text)
{
    if (!s->t->cut_at_visible_space) {
        return hand_over(s, text, false);
    }
    const size_t n_space = sizeof VLORPI_VISIBLE_SPACE - 1;
    size_t begin = 0;
    bool in_word = false;
    for (size_t i = 0; i < text->n_bytes;) {
        bool space = text->n_bytes - i >= n_space && memcmp(text->bytes + i, VLORPI_VISIBLE_SPACE, n_space) == 0;
        if (space && in_word) {
            vlorpi_text piece = vlorpi_text_slice(text, begin, i);
            VLORP_TRY(hand_over(s, &piece, false));
            begin = i;
        }
        in_word = !space;
        i += space ? n_space : 1;
    }
    vlorpi_text piece = vlorpi_text_slice(text, begin, text->n_bytes);
    return hand_over(s, &piece, false);
}

static vlorp_status run_steps(const splitter *s, int step, const vlorpi_text *text)
{
    if (step == s->t->n_split) {
        return finish(s, text);
    }
    switch (s->t->split[step].kind) {
    case VLORPI_SPLIT_PATTERN: return cut_or_emit(s, step, text, run_steps);
    case VLORPI_SPLIT_BYTE_LEVEL: return run_byte_level(s, step, text);
    case VLORPI_SPLIT_METASPACE: break;
    }
    return run_metaspace(s, step, text);
}

vlorp_status vlorpi_split_text(const vlorpi_tokenizer *t, vlorpi_regex_match *match, const vlorpi_text *text,
                               vlorpi_piece_sink *sink, void *ctx, vlorp_err *err)
{
    if (text->n_bytes == 0) {
        return VLORP_OK;
    }
    splitter s = {.t = t, .match = match, .sink = sink, .ctx = ctx, .err = err};
    return run_steps(&s, 0, text);
}
