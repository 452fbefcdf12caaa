/* token_added.c - tokens that are found in the text as they stand: special tokens and others that
 * were added to a vocabulary. */
#include <string.h>

#include "text/tokenizer_parts.h"

/* FNV-1a, grown byte by byte along the text. */
#define HASH_BASIS UINT64_C(0xCBF29CE484222325)

static uint64_t hash_byte(uint64_t hash, char byte)
{
    return (hash ^ (unsigned char)byte) * UINT64_C(0x100000001B3);
}

static size_t slot_of(const vlorpi_added_tokens *added, uint64_t hash)
{
    return (size_t)(hash ^ (hash >> 29)) & (added->n_slots - 1);
}

vlorp_status vlorpi_added_put(vlorpi_tokenizer *t, vlorpi_added_token token, vlorp_err *err)
{
    size_t n_bytes;
    if (vlorpi_vocab_text(&t->vocab, token.id, &n_bytes) == NULL || n_bytes == 0) {
        return VLORP_OK; /* nothing to look for */
    }
    if (n_bytes > VLORPI_TOKENIZER_MAX_ADDED) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "added token %d has %zu bytes; at most %d are read", (int)token.id, n_bytes,
                   VLORPI_TOKENIZER_MAX_ADDED);
    }
    VLORP_TRY(vlorpi_mem_room(t->mem, VLORPI_MEM_DATA, &t->added.items, (size_t)t->added.n + 1,
                              sizeof t->added.items[0], err));
    token.key = NULL;
    token.n_key = 0;
    t->added.items[t->added.n++] = token;
    return VLORP_OK;
}

/* The key of a normalised token is its text after the normaliser. */
static vlorp_status make_key(vlorpi_tokenizer *t, vlorpi_added_token *token, vlorpi_regex_match *match, vlorp_err *err)
{
    size_t n_bytes;
    const char *text = vlorpi_vocab_text(&t->vocab, token->id, &n_bytes);
    vlorpi_text view = {.bytes = text, .n_bytes = n_bytes};
    vlorpi_text_buffer buffer = {.mem = t->mem};
    vlorp_status status = VLORP_OK;
    if (token->normalized && vlorpi_utf8_valid(text, n_bytes)) {
        status = vlorpi_normalize(t, match, &view, &buffer, &view, err);
    }
    if (status == VLORP_OK) {
        status = vlorpi_tokenizer_copy_text(t, &token->key, view.bytes, view.n_bytes, err);
        token->n_key = view.n_bytes;
    }
    vlorpi_text_buffer_deinit(&buffer);
    return status;
}

static void index_token(vlorpi_added_tokens *added, int32_t i)
{
    const vlorpi_added_token *token = &added->items[i];
    if (token->n_key == 0 || token->n_key > UINT16_MAX) {
        return;
    }
    uint64_t hash = HASH_BASIS;
    for (size_t k = 0; k < token->n_key; k++) {
        hash = hash_byte(hash, token->key[k]);
    }
    size_t slot = slot_of(added, hash);
    while (added->slots[slot] >= 0) {
        slot = (slot + 1) & (added->n_slots - 1);
    }
    added->slots[slot] = i;
    uint16_t *longest = &added->max_bytes[(unsigned char)token->key[0]];
    *longest = token->n_key > *longest ? (uint16_t)token->n_key : *longest;
    added->any_normalized = added->any_normalized || token->normalized;
    added->any_raw = added->any_raw || !token->normalized;
}

vlorp_status vlorpi_added_index(vlorpi_tokenizer *t, vlorp_err *err)
{
    vlorpi_added_tokens *added = &t->added;
    added->n_slots = 16;
    while (added->n_slots < 2 * (size_t)added->n) {
        added->n_slots *= 2;
    }
    added->slots = vlorpi_mem_alloc(t->mem, VLORPI_MEM_DATA, added->n_slots * sizeof *added->slots);
    if (added->slots == NULL) {
        return vlorpi_mem_fail(t->mem, VLORPI_MEM_DATA, added->n_slots * sizeof *added->slots, err);
    }
    memset(added->slots, 0xFF, added->n_slots * sizeof *added->slots);
    vlorpi_regex_match *match;
    VLORP_TRY(vlorpi_regex_match_create(&match, t->mem, err));
    vlorp_status status = VLORP_OK;
    for (int64_t i = 0; i < added->n && status == VLORP_OK; i++) {
        status = make_key(t, &added->items[i], match, err);
        if (status == VLORP_OK) {
            index_token(added, (int32_t)i);
        }
    }
    vlorpi_regex_match_free(match);
    return status;
}

/* The longest token that starts at text and is looked for, or NULL. */
static const vlorpi_added_token *longest_at(const vlorpi_added_tokens *added, const char *text, size_t n_bytes,
                                            bool normalized, bool special)
{
    const vlorpi_added_token *best = NULL;
    size_t longest = added->max_bytes[(unsigned char)text[0]];
    longest = longest < n_bytes ? longest : n_bytes;
    uint64_t hash = HASH_BASIS;
    for (size_t length = 1; length <= longest; length++) {
        hash = hash_byte(hash, text[length - 1]);
        for (size_t slot = slot_of(added, hash); added->slots[slot] >= 0; slot = (slot + 1) & (added->n_slots - 1)) {
            const vlorpi_added_token *token = &added->items[added->slots[slot]];
            if (token->n_key == length && token->normalized == normalized && (special || !token->special) &&
                memcmp(token->key, text, length) == 0) {
                best = token;
                break;
            }
        }
    }
    return best;
}

/* The character that ends at text[end] (end > 0). */
static int32_t character_before(const char *text, size_t end, size_t *begin)
{
    int32_t codepoint;
    *begin = end - 1;
    while (*begin > 0 && ((unsigned char)text[*begin] & 0xC0u) == 0x80u) {
        (*begin)--;
    }
    (void)vlorpi_utf8_read(text + *begin, end - *begin, &codepoint);
    return codepoint;
}

static bool is_inside_word(const char *text, size_t n_bytes, size_t begin, size_t end)
{
    int32_t codepoint;
    size_t unused;
    if (begin > 0 && vlorpi_utf8_is_word(character_before(text, begin, &unused))) {
        return true;
    }
    if (end == n_bytes) {
        return false;
    }
    (void)vlorpi_utf8_read(text + end, n_bytes - end, &codepoint);
    return vlorpi_utf8_is_word(codepoint);
}

/* Extends [*begin, *end) over the white space that the token takes with it, not below from. */
static void take_space(const vlorpi_added_token *token, const char *text, size_t n_bytes, size_t from, size_t *begin,
                       size_t *end)
{
    size_t previous;
    while (token->lstrip && *begin > from && vlorpi_utf8_is_space(character_before(text, *begin, &previous))) {
        *begin = previous;
    }
    while (token->rstrip && *end < n_bytes) {
        int32_t codepoint;
        size_t length = vlorpi_utf8_read(text + *end, n_bytes - *end, &codepoint);
        if (!vlorpi_utf8_is_space(codepoint)) {
            break;
        }
        *end += length;
    }
}

void vlorpi_added_find(const vlorpi_tokenizer *t, const char *text, size_t n_bytes, size_t from, bool normalized,
                       bool special, const vlorpi_added_token **token, size_t *begin, size_t *end)
{
    *token = NULL;
    *begin = n_bytes;
    *end = n_bytes;
    if (!(normalized ? t->added.any_normalized : t->added.any_raw)) {
        return;
    }
    for (size_t i = from; i < n_bytes; i++) {
        if (t->added.max_bytes[(unsigned char)text[i]] == 0) {
            continue;
        }
        const vlorpi_added_token *found = longest_at(&t->added, text + i, n_bytes - i, normalized, special);
        if (found == NULL) {
            continue;
        }
        size_t stop = i + found->n_key;
        if (found->single_word && is_inside_word(text, n_bytes, i, stop)) {
            i = stop - 1;
            continue;
        }
        *token = found;
        *begin = i;
        *end = stop;
        take_space(found, text, n_bytes, from, begin, end);
        return;
    }
}

bool vlorpi_added_is_special(const vlorpi_tokenizer *t, int32_t id)
{
    if (id < 0 || id >= t->vocab.n_ids) {
        return false;
    }
    return t->vocab.kind[id] == VLORPI_TOKEN_CONTROL || t->vocab.kind[id] == VLORPI_TOKEN_UNKNOWN;
}
