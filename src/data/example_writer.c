#include "data/example_writer.h"

#include <string.h>

static bool is_trained(const vlorpi_token *token, const vlorpi_span *span)
{
    if (token->begin == token->end) {
        return token->begin > span->begin && token->begin < span->end;
    }
    return token->end > span->begin && token->begin < span->end;
}

/* Codes of the first n tokens of the list; returns how many are trained, the first included. */
static int64_t encode_mask(int32_t *codes, const vlorpi_tokens *tokens, int64_t n, const vlorpi_span *spans,
                           int n_spans)
{
    int64_t n_trained = 0;
    int s = 0;
    for (int64_t t = 0; t < n; t++) {
        const vlorpi_token *token = &tokens->items[t];
        while (s < n_spans && spans[s].end <= token->begin) {
            s++;
        }
        bool trained = s < n_spans && is_trained(token, &spans[s]);
        n_trained += trained;
        codes[t] = trained ? token->id : ~token->id;
    }
    return n_trained;
}

/* Drops or keeps the n codes that lie reserved; the first is never trained. */
static void finish(vlorpi_example_writer *writer, int32_t *codes, int64_t n, bool truncated)
{
    vlorpi_dataset_report *report = writer->report;
    if (n > 0 && codes[0] >= 0) {
        codes[0] = ~codes[0];
    }
    int64_t n_targets = 0;
    for (int64_t t = 0; t < n; t++) {
        n_targets += codes[t] >= 0;
    }
    if (n_targets == 0) {
        report->n_without_target++;
        return;
    }
    vlorpi_token_store_commit(writer->store, n);
    report->n_examples++;
    report->n_truncated += truncated;
    report->n_tokens += n;
    report->n_targets += n_targets;
    report->longest = n > report->longest ? n : report->longest;
}

vlorp_status vlorpi_example_writer_add(vlorpi_example_writer *writer, const vlorpi_rendered *rendered, vlorp_err *err)
{
    vlorpi_tokens *tokens = &writer->tokens;
    tokens->n = 0;
    vlorpi_encode_options options = {.add_special = rendered->add_special, .parse_special = true};
    VLORP_TRY(vlorpi_tokenizer_encode(writer->tokenizer, tokens, rendered->bytes, rendered->n_bytes, options, err));
    int32_t eos = rendered->add_eos ? vlorpi_tokenizer_eos(writer->tokenizer) : -1;
    /* One EOS, put there by us: not twice where the text spells it or the tokenizer adds it. */
    if (eos >= 0 && tokens->n > 0 && tokens->items[tokens->n - 1].id == eos) {
        tokens->n--;
    }
    int64_t n_all = tokens->n + (eos >= 0);
    int64_t n = n_all < writer->max_length ? n_all : writer->max_length;
    int64_t n_text = n < tokens->n ? n : tokens->n;
    int32_t *codes;
    VLORP_TRY(vlorpi_token_store_reserve(&codes, writer->store, n, err));
    vlorpi_span whole = {.begin = 0, .end = (int64_t)rendered->n_bytes};
    const vlorpi_span *spans = writer->train_on_prompts ? &whole : rendered->spans;
    int n_spans = writer->train_on_prompts ? 1 : rendered->n_spans;
    int64_t n_trained = encode_mask(codes, tokens, n_text, spans, n_spans);
    if (n > n_text) {
        codes[n - 1] = n_trained > 0 ? eos : ~eos; /* an empty answer does not become a lone EOS */
    }
    finish(writer, codes, n, n < n_all);
    return VLORP_OK;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Whether the tokens after text[at] are the same with and without what stands before it: every
 * pre-tokeniser ends a run of letters before a line break or a blank, and no vocabulary without one
 * joins a letter to the white space after it. */
static bool is_safe_cut(const char *text, size_t at)
{
    return (text[at] == '\n' || text[at] == ' ') && is_letter(text[at - 1]);
}

/* The end of the chunk that begins at begin.  A text without safe cuts is cut between two
 * characters in the end, which may change one token. */
static size_t chunk_end(const char *text, size_t n_bytes, size_t begin, size_t chunk_bytes)
{
    enum { PATIENCE = 16 };
    if (n_bytes - begin <= chunk_bytes) {
        return n_bytes;
    }
    size_t at = begin + chunk_bytes;
    size_t last = (n_bytes - begin) / PATIENCE <= chunk_bytes ? n_bytes : begin + PATIENCE * chunk_bytes;
    while (at < last && !is_safe_cut(text, at)) {
        at++;
    }
    while (at < n_bytes && ((unsigned char)text[at] & 0xC0) == 0x80) {
        at++;
    }
    return at;
}

/* The window that is being filled. */
typedef struct window {
    int32_t *codes;
    int64_t n;
} window;

static vlorp_status push(vlorpi_example_writer *writer, window *w, int32_t id, vlorp_err *err)
{
    if (w->n == writer->max_length) {
        finish(writer, w->codes, w->n, false);
        w->n = 0;
    }
    if (w->n == 0) {
        VLORP_TRY(vlorpi_token_store_reserve(&w->codes, writer->store, writer->max_length, err));
    }
    w->codes[w->n++] = id;
    return VLORP_OK;
}

vlorp_status vlorpi_example_writer_add_stream(vlorpi_example_writer *writer, const char *text, size_t n_bytes,
                                              size_t chunk_bytes, vlorp_err *err)
{
    vlorpi_tokens *tokens = &writer->tokens;
    window w = {0};
    for (size_t begin = 0, end; begin < n_bytes; begin = end) {
        end = chunk_end(text, n_bytes, begin, chunk_bytes);
        /* The character before the chunk goes along, so that what a tokenizer puts before a text (a
         * blank, BOS) falls on it and is left out with it. */
        size_t lead = begin == 0 ? 0 : 1;
        while (lead < begin && lead > 0 && ((unsigned char)text[begin - lead] & 0xC0) == 0x80) {
            lead++;
        }
        tokens->n = 0;
        vlorpi_encode_options options = {.add_special = begin == 0, .parse_special = true};
        VLORP_TRY(vlorpi_tokenizer_encode(writer->tokenizer, tokens, text + begin - lead, end - begin + lead, options,
                                          err));
        int64_t n = tokens->n;
        while (n > 0 && tokens->items[n - 1].begin == tokens->items[n - 1].end) {
            n--; /* an end token: the stream goes on, or was cut */
        }
        for (int64_t t = 0; t < n; t++) {
            if (begin == 0 || tokens->items[t].end > (int64_t)lead) {
                VLORP_TRY(push(writer, &w, tokens->items[t].id, err));
            }
        }
    }
    if (w.n > 0) {
        finish(writer, w.codes, w.n, false);
    }
    return VLORP_OK;
}
