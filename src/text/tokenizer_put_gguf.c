/* tokenizer_put_gguf.c - a tokenizer as GGUF metadata, from which llama.cpp makes the same one.
 *
 * GGUF holds no steps: a byte-level tokenizer names its family (tokenizer.ggml.pre), and llama.cpp
 * knows that family's split.  SentencePiece's merges follow from scores, which are made here from the
 * merges' ranks.  What cannot be said that way is refused. */
#include <stdio.h>
#include <string.h>

#include "text/tokenizer_readers.h"

static const char CANNOT[] = "GGUF cannot hold this tokenizer";

static bool is_byte_level(const vlorpi_tokenizer *t)
{
    return t->n_split > 0 && t->split[t->n_split - 1].kind == VLORPI_SPLIT_BYTE_LEVEL;
}

/* A token's type as llama.cpp reads it: it finds types 3 and 4 in the text before anything else. */
static int32_t kind_of(const vlorpi_tokenizer *t, int64_t id)
{
    size_t n_bytes;
    if (id >= t->vocab.n_ids || vlorpi_vocab_text(&t->vocab, id, &n_bytes) == NULL) {
        return VLORPI_TOKEN_UNUSED;
    }
    if (id == t->unknown && !is_byte_level(t)) {
        return VLORPI_TOKEN_UNKNOWN;
    }
    for (int byte = 0; byte < 256 && t->vocab.kind[id] == VLORPI_TOKEN_NORMAL && t->byte_fallback; byte++) {
        if (t->byte_ids[byte] == id) {
            return VLORPI_TOKEN_BYTE;
        }
    }
    return t->vocab.kind[id];
}

/* --- SentencePiece --- */

/* A visible space in front of a text. */
static bool adds_space(const vlorpi_tokenizer *t)
{
    for (int i = 0; i < t->n_normal; i++) {
        if (t->normal[i].kind == VLORPI_NORMAL_PREPEND) {
            return true;
        }
    }
    return t->n_split == 1 && t->split[0].kind == VLORPI_SPLIT_METASPACE && t->split[0].prepend != VLORPI_PREPEND_NEVER;
}

/* Spaces made visible, maybe one in front, and nothing else. */
static bool steps_are_pieces(const vlorpi_tokenizer *t)
{
    static const char space[] = VLORPI_VISIBLE_SPACE;
    bool visible = t->n_split == 1;
    for (int i = 0; i < t->n_normal; i++) {
        const vlorpi_normal_step *step = &t->normal[i];
        bool text = step->n_text == sizeof space - 1 && memcmp(step->text, space, step->n_text) == 0;
        if (step->kind == VLORPI_NORMAL_REPLACE && step->literal &&
            strcmp(vlorpi_regex_pattern(step->pattern), " ") == 0 && text) {
            visible = true;
        } else if (step->kind != VLORPI_NORMAL_PREPEND || !text) {
            return false;
        }
    }
    for (int i = 0; i < t->n_split; i++) {
        if (t->split[i].kind != VLORPI_SPLIT_METASPACE || strcmp(t->split[i].space, space) != 0) {
            return false;
        }
    }
    return visible && t->n_split <= 1;
}

/* The best merge that makes a token is its score, as in SentencePiece; what no merge makes gets a
 * score below all. */
static void fill_scores(float *scores, const vlorpi_tokenizer *t)
{
    for (int64_t id = 0; id < t->vocab.n_ids; id++) {
        scores[id] = -(float)t->merges.n - 1.0f;
        if (kind_of(t, id) != VLORPI_TOKEN_NORMAL) {
            scores[id] = 0.0f;
        }
    }
    for (size_t i = 0; i < t->merges.n_slots; i++) {
        const vlorpi_merge *merge = &t->merges.slots[i];
        if (merge->pair != UINT64_MAX && -(float)merge->rank > scores[merge->id]) {
            scores[merge->id] = -(float)merge->rank;
        }
    }
}

/* llama.cpp joins any two tokens whose texts together are a token: the merges must say no less. */
static vlorp_status check_scores(const vlorpi_tokenizer *t, const float *scores, vlorp_err *err)
{
    vlorpi_merges all = {0};
    VLORP_TRY(vlorpi_merges_from_scores(&all, t->mem, &t->vocab, scores, err));
    vlorp_status status = VLORP_OK;
    for (size_t i = 0; i < all.n_slots && status == VLORP_OK; i++) {
        int32_t left = (int32_t)(all.slots[i].pair >> 32);
        int32_t right = (int32_t)(all.slots[i].pair & UINT32_MAX);
        if (all.slots[i].pair != UINT64_MAX && vlorpi_merges_find(&t->merges, left, right) == NULL) {
            status = vlorpi_err_set(err, VLORP_E_UNSUPPORTED, "%s: it does not merge tokens %d and %d into %d, as "
                                    "SentencePiece would", CANNOT, (int)left, (int)right, (int)all.slots[i].id);
        }
    }
    vlorpi_merges_deinit(&all);
    return status;
}

static vlorp_status put_scores(vlorpi_gguf_writer *w, const vlorpi_tokenizer *t, int64_t n, vlorp_err *err)
{
    size_t n_bytes = (size_t)t->vocab.n_ids * sizeof(float);
    float *scores = vlorpi_mem_alloc(t->mem, VLORPI_MEM_DATA, n_bytes);
    if (scores == NULL) {
        return vlorpi_mem_fail(t->mem, VLORPI_MEM_DATA, n_bytes, err);
    }
    fill_scores(scores, t);
    vlorp_status status = check_scores(t, scores, err);
    vlorpi_gguf_put_floats(w, "tokenizer.ggml.scores", n);
    for (int64_t id = 0; id < n; id++) {
        vlorpi_gguf_put_item_float(w, id < t->vocab.n_ids ? scores[id] : 0.0f);
    }
    vlorpi_mem_free(t->mem, scores);
    return status;
}

/* --- byte-level BPE --- */

static vlorp_status put_merges(vlorpi_gguf_writer *w, const vlorpi_tokenizer *t, vlorp_err *err)
{
    size_t n;
    vlorpi_merge *merges;
    VLORP_TRY(vlorpi_merges_sorted(&merges, &n, &t->merges, err));
    vlorpi_gguf_put_texts(w, "tokenizer.ggml.merges", (int64_t)n);
    for (size_t i = 0; i < n; i++) {
        size_t n_left;
        size_t n_right;
        const char *left = vlorpi_vocab_text(&t->vocab, (int64_t)(merges[i].pair >> 32), &n_left);
        const char *right = vlorpi_vocab_text(&t->vocab, (int64_t)(merges[i].pair & UINT32_MAX), &n_right);
        vlorpi_gguf_put_item_pair(w, left, n_left, right, n_right);
    }
    vlorpi_mem_free(t->mem, merges);
    return VLORP_OK;
}

static vlorp_status put_byte_level(vlorpi_gguf_writer *w, const vlorpi_tokenizer *t, vlorp_err *err)
{
    char name[VLORPI_TOKENIZER_MAX_PRESET_NAME];
    if (!vlorpi_tokenizer_preset_of(t, name)) {
        (void)vlorpi_err_set(err, VLORP_E_UNSUPPORTED, "%s: its way of splitting text is none of those GGUF has a "
                             "name for", CANNOT);
        vlorpi_err_hint(err, "convert to safetensors, which keeps tokenizer.json");
        return VLORP_E_UNSUPPORTED;
    }
    vlorpi_gguf_put_text(w, "tokenizer.ggml.pre", name, strlen(name));
    return put_merges(w, t, err);
}

/* --- what both have --- */

static void put_texts(vlorpi_gguf_writer *w, const vlorpi_tokenizer *t, int64_t n)
{
    vlorpi_gguf_put_texts(w, "tokenizer.ggml.tokens", n);
    for (int64_t id = 0; id < n; id++) {
        char pad[32];
        size_t n_bytes = 0;
        const char *text = id < t->vocab.n_ids ? vlorpi_vocab_text(&t->vocab, id, &n_bytes) : NULL;
        if (text == NULL) { /* as llama.cpp's own converter fills a vocabulary up */
            n_bytes = (size_t)snprintf(pad, sizeof pad, "[PAD%lld]", (long long)id);
            text = pad;
        }
        vlorpi_gguf_put_item_text(w, text, n_bytes);
    }
    vlorpi_gguf_put_ints(w, "tokenizer.ggml.token_type", n);
    for (int64_t id = 0; id < n; id++) {
        vlorpi_gguf_put_item_int(w, kind_of(t, id));
    }
}

static void put_id(vlorpi_gguf_writer *w, const char *key, int32_t id)
{
    if (id >= 0) {
        vlorpi_gguf_put_u32(w, key, (uint32_t)id);
    }
}

/* BOS and EOS are all that GGUF puts around a text. */
static vlorp_status put_specials(vlorpi_gguf_writer *w, const vlorpi_tokenizer *t, vlorp_err *err)
{
    bool add_bos = t->n_prefix > 0;
    bool add_eos = t->n_suffix > 0;
    if (t->n_prefix > 1 || t->n_suffix > 1 || (add_bos && t->prefix[0] != t->bos) ||
        (add_eos && t->suffix[0] != t->eos)) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "%s: it puts other tokens than BOS and EOS around a text", CANNOT);
    }
    put_id(w, "tokenizer.ggml.bos_token_id", t->bos);
    put_id(w, "tokenizer.ggml.eos_token_id", t->eos);
    put_id(w, "tokenizer.ggml.unknown_token_id", t->named_unknown >= 0 ? t->named_unknown : t->unknown);
    put_id(w, "tokenizer.ggml.padding_token_id", t->pad);
    put_id(w, "tokenizer.ggml.eot_token_id", t->n_ends > 0 ? t->ends[0] : -1);
    put_id(w, "tokenizer.ggml.eom_token_id", t->n_ends > 1 ? t->ends[1] : -1);
    vlorpi_gguf_put_bool(w, "tokenizer.ggml.add_bos_token", add_bos);
    vlorpi_gguf_put_bool(w, "tokenizer.ggml.add_eos_token", add_eos);
    if (t->chat_template != NULL) {
        vlorpi_gguf_put_text(w, "tokenizer.chat_template", t->chat_template, strlen(t->chat_template));
    }
    return VLORP_OK;
}

vlorp_status vlorpi_tokenizer_put_gguf(vlorpi_gguf_writer *w, const vlorpi_tokenizer *t, int64_t n, vlorp_err *err)
{
    bool byte_level = is_byte_level(t);
    if (t->vocab.n_ids > n) {
        VLORP_FAIL(err, VLORP_E_SHAPE, "the tokenizer has ids up to %lld, the model has %lld",
                   (long long)t->vocab.n_ids - 1, (long long)n);
    }
    if (!byte_level && !steps_are_pieces(t)) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "%s: it is neither byte-level BPE nor SentencePiece's", CANNOT);
    }
    const char *model = byte_level ? "gpt2" : "llama";
    vlorpi_gguf_put_text(w, "tokenizer.ggml.model", model, strlen(model));
    put_texts(w, t, n);
    if (byte_level) {
        VLORP_TRY(put_byte_level(w, t, err));
    } else {
        vlorpi_gguf_put_text(w, "tokenizer.ggml.pre", "default", 7);
        VLORP_TRY(put_scores(w, t, n, err));
        vlorpi_gguf_put_bool(w, "tokenizer.ggml.add_space_prefix", adds_space(t));
    }
    VLORP_TRY(put_specials(w, t, err));
    return w->status;
}
