/* tokenizer_gguf.c - the tokenizer in a GGUF file's metadata. */
#include <string.h>

#include "text/tokenizer_readers.h"

static const char KEY_TOKENS[] = "tokenizer.ggml.tokens";
static const char KEY_TYPES[] = "tokenizer.ggml.token_type";
static const char KEY_SCORES[] = "tokenizer.ggml.scores";
static const char KEY_MERGES[] = "tokenizer.ggml.merges";

static vlorp_status read_texts(vlorpi_tokenizer *t, const vlorpi_gguf *gguf, vlorp_err *err)
{
    int64_t n = vlorpi_gguf_array_length(gguf, KEY_TOKENS);
    bool typed = vlorpi_gguf_has(gguf, KEY_TYPES);
    vlorpi_bytes text;
    if (n < 0 || (n > 0 && !vlorpi_gguf_array_string(gguf, KEY_TOKENS, 0, &text))) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s must be an array of strings", KEY_TOKENS);
    }
    if (typed && vlorpi_gguf_array_length(gguf, KEY_TYPES) != n) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s must have one entry for each of %lld tokens", KEY_TYPES, (long long)n);
    }
    size_t pool_bytes = 0; /* the texts lie in the file, so that their sum cannot overflow */
    for (int64_t i = 0; i < n; i++) {
        (void)vlorpi_gguf_array_string(gguf, KEY_TOKENS, i, &text);
        pool_bytes += text.n_bytes;
    }
    VLORP_TRY(vlorpi_vocab_init(&t->vocab, t->mem, n, pool_bytes, err));
    for (int64_t i = 0; i < n; i++) {
        int64_t kind = VLORPI_TOKEN_NORMAL;
        (void)vlorpi_gguf_array_string(gguf, KEY_TOKENS, i, &text);
        if (typed && (!vlorpi_gguf_array_int(gguf, KEY_TYPES, i, &kind) || kind < 0 || kind > VLORPI_TOKEN_BYTE)) {
            VLORP_FAIL(err, VLORP_E_FORMAT, "%s: entry %lld must be 1 to %d", KEY_TYPES, (long long)i,
                       VLORPI_TOKEN_BYTE);
        }
        kind = kind == VLORPI_TOKEN_NONE ? VLORPI_TOKEN_NORMAL : kind;
        VLORP_TRY(vlorpi_vocab_set(&t->vocab, i, text.text, text.n_bytes, (vlorpi_token_kind)kind, err));
    }
    return VLORP_OK;
}

/* *id: the token of that key, or fallback when the key is absent. */
static vlorp_status read_id(const vlorpi_tokenizer *t, const vlorpi_gguf *gguf, const char *key, int32_t fallback,
                            int32_t *id, vlorp_err *err)
{
    int64_t value;
    *id = fallback;
    if (!vlorpi_gguf_get_int(gguf, key, &value)) {
        return VLORP_OK;
    }
    if (value == -1 || value == UINT32_MAX) { /* written for "none" */
        *id = -1;
        return VLORP_OK;
    }
    *id = vlorpi_tokenizer_checked_id(t, value);
    if (*id < 0) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s is %lld; ids go from 0 to %lld", key, (long long)value,
                   (long long)t->vocab.n_ids - 1);
    }
    return VLORP_OK;
}

static bool read_flag(const vlorpi_gguf *gguf, const char *key, bool fallback)
{
    int64_t value;
    return vlorpi_gguf_get_int(gguf, key, &value) ? value != 0 : fallback;
}

static vlorp_status read_ids(vlorpi_tokenizer *t, const vlorpi_gguf *gguf, vlorp_err *err)
{
    int32_t end;
    VLORP_TRY(read_id(t, gguf, "tokenizer.ggml.bos_token_id", -1, &t->bos, err));
    VLORP_TRY(read_id(t, gguf, "tokenizer.ggml.eos_token_id", -1, &t->eos, err));
    VLORP_TRY(read_id(t, gguf, "tokenizer.ggml.unknown_token_id", -1, &t->unknown, err));
    t->named_unknown = t->unknown;
    VLORP_TRY(read_id(t, gguf, "tokenizer.ggml.padding_token_id", -1, &t->pad, err));
    VLORP_TRY(read_id(t, gguf, "tokenizer.ggml.eot_token_id", -1, &end, err));
    vlorpi_tokenizer_add_end(t, end);
    VLORP_TRY(read_id(t, gguf, "tokenizer.ggml.eom_token_id", -1, &end, err));
    vlorpi_tokenizer_add_end(t, end);
    return VLORP_OK;
}

/* SentencePiece: merges follow from scores. */
static vlorp_status read_pieces(vlorpi_tokenizer *t, const vlorpi_gguf *gguf, vlorp_err *err)
{
    int64_t n = t->vocab.n_ids;
    if (vlorpi_gguf_array_length(gguf, KEY_SCORES) != n) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s must have one entry for each of %lld tokens", KEY_SCORES, (long long)n);
    }
    float *scores = vlorpi_mem_alloc(t->mem, VLORPI_MEM_DATA, (size_t)n * sizeof *scores);
    if (scores == NULL) {
        return vlorpi_mem_fail(t->mem, VLORPI_MEM_DATA, (size_t)n * sizeof *scores, err);
    }
    vlorp_status status = VLORP_OK;
    for (int64_t i = 0; i < n && status == VLORP_OK; i++) {
        double score;
        if (!vlorpi_gguf_array_double(gguf, KEY_SCORES, i, &score)) {
            status = vlorpi_err_set(err, VLORP_E_FORMAT, "%s must be an array of floats", KEY_SCORES);
        } else {
            scores[i] = (float)score;
        }
    }
    if (status == VLORP_OK) {
        vlorpi_piece_options options = {
            .add_space_prefix = read_flag(gguf, "tokenizer.ggml.add_space_prefix", true),
            .add_bos = read_flag(gguf, "tokenizer.ggml.add_bos_token", t->bos >= 0),
            .add_eos = read_flag(gguf, "tokenizer.ggml.add_eos_token", false)};
        status = vlorpi_tokenizer_finish_pieces(t, scores, options, err);
    }
    vlorpi_mem_free(t->mem, scores);
    return status;
}

static vlorp_status read_merges(vlorpi_tokenizer *t, const vlorpi_gguf *gguf, vlorp_err *err)
{
    int64_t n = vlorpi_gguf_array_length(gguf, KEY_MERGES);
    vlorpi_bytes text;
    if (n < 0 || (n > 0 && !vlorpi_gguf_array_string(gguf, KEY_MERGES, 0, &text))) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s must be an array of strings", KEY_MERGES);
    }
    VLORP_TRY(vlorpi_merges_init(&t->merges, t->mem, (size_t)n, err));
    for (int64_t i = 0; i < n; i++) {
        (void)vlorpi_gguf_array_string(gguf, KEY_MERGES, i, &text);
        VLORP_TRY(vlorpi_merges_put_line(&t->merges, &t->vocab, text.text, text.n_bytes, (size_t)i, KEY_MERGES, err));
    }
    return VLORP_OK;
}

static vlorp_status read_byte_level(vlorpi_tokenizer *t, const vlorpi_gguf *gguf, vlorp_err *err)
{
    vlorpi_bytes pre = {"default", sizeof "default" - 1}; /* what files without the key were made with */
    (void)vlorpi_gguf_get_string(gguf, "tokenizer.ggml.pre", &pre);
    vlorpi_tokenizer_preset preset;
    vlorpi_decode_step *step = NULL;
    VLORP_TRY(read_merges(t, gguf, err));
    VLORP_TRY(vlorpi_tokenizer_split_preset(t, pre.text, pre.n_bytes, &preset, err));
    VLORP_TRY(vlorpi_tokenizer_add_decode(t, &step, err));
    step->kind = VLORPI_DECODE_BYTE_LEVEL;
    t->ignore_merges = preset.ignore_merges;
    t->unknown = -1; /* every byte has a token, as the encoders of this kind take for granted */
    VLORP_TRY(vlorpi_tokenizer_add_by_kind(t, err));
    bool add_bos = read_flag(gguf, "tokenizer.ggml.add_bos_token", preset.add_bos && t->bos >= 0);
    VLORP_TRY(vlorpi_tokenizer_set_bos(t, add_bos, err));
    return vlorpi_tokenizer_set_eos(t, read_flag(gguf, "tokenizer.ggml.add_eos_token", false), err);
}

vlorp_status vlorpi_tokenizer_read_gguf(vlorpi_tokenizer *t, const vlorpi_gguf *gguf, vlorp_err *err)
{
    vlorpi_bytes model;
    if (!vlorpi_gguf_get_string(gguf, "tokenizer.ggml.model", &model)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "there is no tokenizer: the key tokenizer.ggml.model is missing");
    }
    bool pieces = model.n_bytes == 5 && memcmp(model.text, "llama", 5) == 0;
    if (!pieces && !(model.n_bytes == 4 && memcmp(model.text, "gpt2", 4) == 0)) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "tokenizer.ggml.model \"%.*s\" is not supported; gpt2 and llama are",
                   (int)(model.n_bytes < 80 ? model.n_bytes : 80), model.text);
    }
    t->from_gguf = true;
    VLORP_TRY(read_texts(t, gguf, err));
    VLORP_TRY(read_ids(t, gguf, err));
    vlorpi_bytes template;
    if (vlorpi_gguf_get_string(gguf, "tokenizer.chat_template", &template)) {
        VLORP_TRY(vlorpi_tokenizer_copy_text(t, &t->chat_template, template.text, template.n_bytes, err));
    }
    return pieces ? read_pieces(t, gguf, err) : read_byte_level(t, gguf, err);
}
