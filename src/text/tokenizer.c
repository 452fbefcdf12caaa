/* tokenizer.c - the tokenizer object: its life, its parts, what others ask of it. */
#include "text/tokenizer.h"

#include <string.h>

#include "text/tokenizer_readers.h"

/* GPT-2's split, which ByteLevel implies. */
static const char GPT2_PATTERN[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

vlorp_status vlorpi_tokenizer_create(vlorpi_tokenizer **out, vlorpi_mem *mem, vlorp_err *err)
{
    vlorpi_tokenizer *t = vlorpi_mem_calloc(mem, VLORPI_MEM_DATA, 1, sizeof *t);
    *out = t;
    if (t == NULL) {
        return vlorpi_mem_fail(mem, VLORPI_MEM_DATA, sizeof *t, err);
    }
    t->mem = mem;
    t->vocab.mem = mem;
    t->merges.mem = mem;
    t->unknown = -1;
    t->named_unknown = -1;
    t->bos = -1;
    t->eos = -1;
    t->pad = -1;
    return VLORP_OK;
}

void vlorpi_tokenizer_free(vlorpi_tokenizer *t)
{
    if (t == NULL) {
        return;
    }
    for (int i = 0; i < t->n_normal; i++) {
        vlorpi_mem_free(t->mem, t->normal[i].text);
        vlorpi_regex_free(t->normal[i].pattern);
    }
    for (int i = 0; i < t->n_split; i++) {
        vlorpi_regex_free(t->split[i].pattern);
    }
    for (int i = 0; i < t->n_decode; i++) {
        vlorpi_mem_free(t->mem, t->decode[i].text);
        vlorpi_regex_free(t->decode[i].pattern);
    }
    for (int64_t i = 0; i < t->added.n; i++) {
        vlorpi_mem_free(t->mem, t->added.items[i].key);
    }
    vlorpi_mem_free(t->mem, t->added.items);
    vlorpi_mem_free(t->mem, t->added.slots);
    vlorpi_mem_free(t->mem, t->chat_template);
    vlorpi_vocab_deinit(&t->vocab);
    vlorpi_merges_deinit(&t->merges);
    vlorpi_mem_free(t->mem, t);
}

vlorp_status vlorpi_tokenizer_add_normal(vlorpi_tokenizer *t, vlorpi_normal_step **step, vlorp_err *err)
{
    if (t->n_normal == VLORPI_TOKENIZER_MAX_STEPS) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "more than %d normaliser steps", VLORPI_TOKENIZER_MAX_STEPS);
    }
    *step = &t->normal[t->n_normal++];
    return VLORP_OK;
}

vlorp_status vlorpi_tokenizer_add_split(vlorpi_tokenizer *t, vlorpi_split_step **step, vlorp_err *err)
{
    if (t->n_split == VLORPI_TOKENIZER_MAX_STEPS) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "more than %d pre-tokenizer steps", VLORPI_TOKENIZER_MAX_STEPS);
    }
    *step = &t->split[t->n_split++];
    return VLORP_OK;
}

vlorp_status vlorpi_tokenizer_add_decode(vlorpi_tokenizer *t, vlorpi_decode_step **step, vlorp_err *err)
{
    if (t->n_decode == VLORPI_TOKENIZER_MAX_STEPS) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "more than %d decoder steps", VLORPI_TOKENIZER_MAX_STEPS);
    }
    *step = &t->decode[t->n_decode++];
    return VLORP_OK;
}

vlorp_status vlorpi_tokenizer_copy_text(vlorpi_tokenizer *t, char **out, const char *text, size_t n_bytes,
                                        vlorp_err *err)
{
    *out = vlorpi_mem_alloc(t->mem, VLORPI_MEM_DATA, n_bytes + 1);
    if (*out == NULL) {
        return vlorpi_mem_fail(t->mem, VLORPI_MEM_DATA, n_bytes, err);
    }
    memcpy(*out, text, n_bytes);
    (*out)[n_bytes] = 0;
    return VLORP_OK;
}

vlorp_status vlorpi_tokenizer_split_by(vlorpi_tokenizer *t, const char *pattern, size_t n_bytes, bool literal,
                                       vlorpi_split_behavior behavior, bool invert, vlorp_err *err)
{
    vlorpi_split_step *step = NULL;
    VLORP_TRY(vlorpi_tokenizer_add_split(t, &step, err));
    step->kind = VLORPI_SPLIT_PATTERN;
    step->behavior = behavior;
    step->invert = invert;
    step->literal = literal;
    return vlorpi_regex_compile(&step->pattern, t->mem, pattern, n_bytes, literal, err);
}

vlorp_status vlorpi_tokenizer_split_bytes(vlorpi_tokenizer *t, bool add_prefix_space, bool use_pattern, vlorp_err *err)
{
    vlorpi_split_step *step = NULL;
    VLORP_TRY(vlorpi_tokenizer_add_split(t, &step, err));
    step->kind = VLORPI_SPLIT_BYTE_LEVEL;
    step->behavior = VLORPI_SPLIT_ISOLATED;
    step->add_prefix_space = add_prefix_space;
    return use_pattern ? vlorpi_regex_compile(&step->pattern, t->mem, GPT2_PATTERN, sizeof GPT2_PATTERN - 1, false, err)
                       : VLORP_OK;
}

vlorp_status vlorpi_tokenizer_normal_pieces(vlorpi_tokenizer *t, bool prefix_space, vlorp_err *err)
{
    const size_t n_space = sizeof VLORPI_VISIBLE_SPACE - 1;
    vlorpi_normal_step *step = NULL;
    if (prefix_space) {
        VLORP_TRY(vlorpi_tokenizer_add_normal(t, &step, err));
        step->kind = VLORPI_NORMAL_PREPEND;
        step->n_text = n_space;
        VLORP_TRY(vlorpi_tokenizer_copy_text(t, &step->text, VLORPI_VISIBLE_SPACE, n_space, err));
    }
    VLORP_TRY(vlorpi_tokenizer_add_normal(t, &step, err));
    step->kind = VLORPI_NORMAL_REPLACE;
    step->literal = true;
    step->n_text = n_space;
    VLORP_TRY(vlorpi_tokenizer_copy_text(t, &step->text, VLORPI_VISIBLE_SPACE, n_space, err));
    return vlorpi_regex_compile(&step->pattern, t->mem, " ", 1, true, err);
}

vlorp_status vlorpi_tokenizer_decode_pieces(vlorpi_tokenizer *t, bool strip_space, vlorp_err *err)
{
    vlorpi_decode_step *step = NULL;
    VLORP_TRY(vlorpi_tokenizer_add_decode(t, &step, err));
    step->kind = VLORPI_DECODE_REPLACE;
    step->literal = true;
    step->n_text = 1;
    VLORP_TRY(vlorpi_tokenizer_copy_text(t, &step->text, " ", 1, err));
    VLORP_TRY(vlorpi_regex_compile(&step->pattern, t->mem, VLORPI_VISIBLE_SPACE, sizeof VLORPI_VISIBLE_SPACE - 1, true,
                                   err));
    VLORP_TRY(vlorpi_tokenizer_add_decode(t, &step, err));
    step->kind = VLORPI_DECODE_BYTE_FALLBACK;
    VLORP_TRY(vlorpi_tokenizer_add_decode(t, &step, err));
    step->kind = VLORPI_DECODE_FUSE;
    if (!strip_space) {
        return VLORP_OK;
    }
    VLORP_TRY(vlorpi_tokenizer_add_decode(t, &step, err));
    step->kind = VLORPI_DECODE_STRIP;
    step->start = 1;
    step->n_text = 1;
    return vlorpi_tokenizer_copy_text(t, &step->text, " ", 1, err);
}

/* No token has a visible space after another character: no merge can then cross such a border. */
static bool no_token_crosses(const vlorpi_tokenizer *t)
{
    const size_t n_space = sizeof VLORPI_VISIBLE_SPACE - 1;
    if (t->ignore_merges || vlorpi_vocab_find(&t->vocab, VLORPI_VISIBLE_SPACE, n_space) < 0) {
        return false;
    }
    for (size_t i = 0; i < t->merges.n_slots; i++) {
        size_t n_bytes;
        if (t->merges.slots[i].pair == UINT64_MAX) {
            continue;
        }
        const char *text = vlorpi_vocab_text(&t->vocab, t->merges.slots[i].id, &n_bytes);
        bool in_word = false;
        for (size_t k = 0; k < n_bytes;) {
            bool space = n_bytes - k >= n_space && memcmp(text + k, VLORPI_VISIBLE_SPACE, n_space) == 0;
            if (space && in_word) {
                return false;
            }
            in_word = !space;
            k += space ? n_space : 1;
        }
    }
    return true;
}

/* A beginning-of-text token and the like that generation must not run past. */
static void find_end_tokens(vlorpi_tokenizer *t)
{
    static const char *const names[] = {
        "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_turn|>", "<end_of_turn>", "<|end|>",
        "<|endoftext|>", "<|end_of_text|>", "<EOT>", "<|EOT|>"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int32_t id = vlorpi_vocab_find(&t->vocab, names[i], strlen(names[i]));
        if (vlorpi_added_is_special(t, id)) {
            vlorpi_tokenizer_add_end(t, id);
        }
    }
}

vlorp_status vlorpi_tokenizer_finish(vlorpi_tokenizer *t, vlorp_err *err)
{
    for (int byte = 0; byte < 256; byte++) {
        static const char digits[] = "0123456789ABCDEF";
        const char token[6] = {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
        char spelled[4];
        size_t n = vlorpi_utf8_write(spelled, vlorpi_byte_alphabet_char((unsigned char)byte));
        t->byte_ids[byte] = vlorpi_vocab_find_model(&t->vocab, token, sizeof token);
        t->alphabet_ids[byte] = vlorpi_vocab_find_model(&t->vocab, spelled, n);
    }
    t->cut_at_visible_space = no_token_crosses(t);
    find_end_tokens(t);
    return vlorpi_added_index(t, err);
}

int32_t vlorpi_tokenizer_checked_id(const vlorpi_tokenizer *t, int64_t id)
{
    return id >= 0 && id < t->vocab.n_ids && t->vocab.kind[id] != VLORPI_TOKEN_NONE ? (int32_t)id : -1;
}

vlorp_status vlorpi_tokenizer_add_by_kind(vlorpi_tokenizer *t, vlorp_err *err)
{
    for (int32_t id = 0; id < t->vocab.n_ids; id++) {
        int kind = t->vocab.kind[id];
        if (kind == VLORPI_TOKEN_CONTROL || kind == VLORPI_TOKEN_UNKNOWN || kind == VLORPI_TOKEN_USER) {
            vlorpi_added_token token = {.id = id, .special = kind != VLORPI_TOKEN_USER};
            VLORP_TRY(vlorpi_added_put(t, token, err));
        }
    }
    return VLORP_OK;
}

void vlorpi_tokenizer_add_end(vlorpi_tokenizer *t, int32_t id)
{
    if (id >= 0 && !vlorpi_tokenizer_is_end(t, id) && t->n_ends < VLORPI_TOKENIZER_MAX_SPECIAL) {
        t->ends[t->n_ends++] = id;
    }
}

vlorp_status vlorpi_tokenizer_set_bos(vlorpi_tokenizer *t, bool add, vlorp_err *err)
{
    bool has = t->n_prefix > 0 && t->bos >= 0 && t->prefix[0] == t->bos;
    if (add && t->bos < 0) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "a BOS token is to be added, but none is named");
    }
    if (add && !has) {
        if (t->n_prefix == VLORPI_TOKENIZER_MAX_SPECIAL) {
            VLORP_FAIL(err, VLORP_E_LIMIT, "more than %d tokens before a text", VLORPI_TOKENIZER_MAX_SPECIAL);
        }
        memmove(t->prefix + 1, t->prefix, (size_t)t->n_prefix * sizeof t->prefix[0]);
        t->prefix[0] = t->bos;
        t->n_prefix++;
    } else if (!add && has) {
        t->n_prefix--;
        memmove(t->prefix, t->prefix + 1, (size_t)t->n_prefix * sizeof t->prefix[0]);
    }
    return VLORP_OK;
}

vlorp_status vlorpi_tokenizer_set_eos(vlorpi_tokenizer *t, bool add, vlorp_err *err)
{
    bool has = t->n_suffix > 0 && t->eos >= 0 && t->suffix[t->n_suffix - 1] == t->eos;
    if (add && t->eos < 0) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "an EOS token is to be added, but none is named");
    }
    if (add && !has) {
        if (t->n_suffix == VLORPI_TOKENIZER_MAX_SPECIAL) {
            VLORP_FAIL(err, VLORP_E_LIMIT, "more than %d tokens after a text", VLORPI_TOKENIZER_MAX_SPECIAL);
        }
        t->suffix[t->n_suffix++] = t->eos;
    } else if (!add && has) {
        t->n_suffix--;
    }
    return VLORP_OK;
}

int64_t vlorpi_tokenizer_vocab_size(const vlorpi_tokenizer *t)
{
    return t->vocab.n_ids;
}

int32_t vlorpi_tokenizer_bos(const vlorpi_tokenizer *t)
{
    return t->bos;
}

int32_t vlorpi_tokenizer_eos(const vlorpi_tokenizer *t)
{
    return t->eos;
}

bool vlorpi_tokenizer_is_end(const vlorpi_tokenizer *t, int32_t id)
{
    if (id < 0) {
        return false;
    }
    for (int i = 0; i < t->n_ends; i++) {
        if (t->ends[i] == id) {
            return true;
        }
    }
    return id == t->eos;
}

int32_t vlorpi_tokenizer_id(const vlorpi_tokenizer *t, const char *token)
{
    return vlorpi_vocab_find(&t->vocab, token, strlen(token));
}

const char *vlorpi_tokenizer_chat_template(const vlorpi_tokenizer *t)
{
    return t->chat_template;
}
