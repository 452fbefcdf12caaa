#include "text/token_vocab.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FNV_BASIS UINT64_C(0xCBF29CE484222325)
#define FNV_PRIME UINT64_C(0x100000001B3)

static uint64_t hash_more(uint64_t hash, const char *text, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++) {
        hash = (hash ^ (unsigned char)text[i]) * FNV_PRIME;
    }
    return hash;
}

/* FNV's low bits are weak for tables of a power of two. */
static size_t slot_of(uint64_t hash, size_t n_slots)
{
    return (size_t)(hash ^ (hash >> 29)) & (n_slots - 1);
}

static size_t slots_for(size_t n)
{
    size_t slots = 16;
    while (slots < n + n / 2 + n / 4) {
        slots *= 2;
    }
    return slots;
}

vlorp_status vlorpi_vocab_init(vlorpi_vocab *vocab, vlorpi_mem *mem, int64_t n_ids, size_t pool_bytes, vlorp_err *err)
{
    *vocab = (vlorpi_vocab){.mem = mem};
    if (n_ids < 1) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "the vocabulary is empty");
    }
    if (n_ids > INT32_MAX / 4 || pool_bytes > UINT32_MAX) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "a vocabulary of %lld ids and %zu bytes of text is too large", (long long)n_ids,
                   pool_bytes);
    }
    size_t n = (size_t)n_ids;
    vocab->n_ids = n_ids;
    vocab->n_slots = slots_for(n);
    vocab->pool_capacity = pool_bytes;
    vocab->pool = vlorpi_mem_alloc(mem, VLORPI_MEM_DATA, pool_bytes);
    vocab->offset = vlorpi_mem_calloc(mem, VLORPI_MEM_DATA, n, sizeof *vocab->offset);
    vocab->length = vlorpi_mem_calloc(mem, VLORPI_MEM_DATA, n, sizeof *vocab->length);
    vocab->kind = vlorpi_mem_calloc(mem, VLORPI_MEM_DATA, n, sizeof *vocab->kind);
    vocab->added_only = vlorpi_mem_calloc(mem, VLORPI_MEM_DATA, n, sizeof *vocab->added_only);
    vocab->slots = vlorpi_mem_alloc(mem, VLORPI_MEM_DATA, vocab->n_slots * sizeof *vocab->slots);
    if (vocab->pool == NULL || vocab->offset == NULL || vocab->length == NULL || vocab->kind == NULL ||
        vocab->added_only == NULL || vocab->slots == NULL) {
        vlorpi_vocab_deinit(vocab);
        return vlorpi_mem_fail(mem, VLORPI_MEM_DATA, pool_bytes + n * 18, err);
    }
    memset(vocab->slots, 0xFF, vocab->n_slots * sizeof *vocab->slots);
    return VLORP_OK;
}

void vlorpi_vocab_deinit(vlorpi_vocab *vocab)
{
    vlorpi_mem_free(vocab->mem, vocab->pool);
    vlorpi_mem_free(vocab->mem, vocab->offset);
    vlorpi_mem_free(vocab->mem, vocab->length);
    vlorpi_mem_free(vocab->mem, vocab->kind);
    vlorpi_mem_free(vocab->mem, vocab->added_only);
    vlorpi_mem_free(vocab->mem, vocab->slots);
    *vocab = (vlorpi_vocab){.mem = vocab->mem};
}

static bool has_text(const vlorpi_vocab *vocab, int32_t id, const char *a, size_t n_a, const char *b, size_t n_b)
{
    const char *text = vocab->pool + vocab->offset[id];
    return vocab->length[id] == n_a + n_b && memcmp(text, a, n_a) == 0 && memcmp(text + n_a, b, n_b) == 0;
}

/* The slot that holds the text a + b, or the empty one where it belongs. */
static size_t find_slot(const vlorpi_vocab *vocab, const char *a, size_t n_a, const char *b, size_t n_b)
{
    size_t slot = slot_of(hash_more(hash_more(FNV_BASIS, a, n_a), b, n_b), vocab->n_slots);
    while (vocab->slots[slot] >= 0 && !has_text(vocab, vocab->slots[slot], a, n_a, b, n_b)) {
        slot = (slot + 1) & (vocab->n_slots - 1);
    }
    return slot;
}

vlorp_status vlorpi_vocab_set(vlorpi_vocab *vocab, int64_t id, const char *text, size_t n_bytes,
                              vlorpi_token_kind kind, vlorp_err *err)
{
    if (id < 0 || id >= vocab->n_ids) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "token \"%.*s\": id %lld is outside 0..%lld",
                   (int)(n_bytes < 80 ? n_bytes : 80), text, (long long)id, (long long)vocab->n_ids - 1);
    }
    if (vocab->kind[id] != VLORPI_TOKEN_NONE) {
        if (has_text(vocab, (int32_t)id, text, n_bytes, "", 0)) {
            vocab->kind[id] = (uint8_t)kind;
            return VLORP_OK;
        }
        VLORP_FAIL(err, VLORP_E_FORMAT, "tokens \"%.*s\" and \"%.*s\" both have id %lld",
                   (int)(vocab->length[id] < 80 ? vocab->length[id] : 80), vocab->pool + vocab->offset[id],
                   (int)(n_bytes < 80 ? n_bytes : 80), text, (long long)id);
    }
    assert(n_bytes <= vocab->pool_capacity - vocab->pool_bytes);
    memcpy(vocab->pool + vocab->pool_bytes, text, n_bytes);
    vocab->offset[id] = (uint32_t)vocab->pool_bytes;
    vocab->length[id] = (uint32_t)n_bytes;
    vocab->kind[id] = (uint8_t)kind;
    vocab->pool_bytes += n_bytes;
    size_t slot = find_slot(vocab, text, n_bytes, "", 0);
    if (vocab->slots[slot] < 0) {
        vocab->slots[slot] = (int32_t)id;
    }
    return VLORP_OK;
}

int32_t vlorpi_vocab_find(const vlorpi_vocab *vocab, const char *text, size_t n_bytes)
{
    return vocab->slots[find_slot(vocab, text, n_bytes, "", 0)];
}

int32_t vlorpi_vocab_find_model(const vlorpi_vocab *vocab, const char *text, size_t n_bytes)
{
    int32_t id = vlorpi_vocab_find(vocab, text, n_bytes);
    return id >= 0 && vocab->added_only[id] ? -1 : id;
}

int32_t vlorpi_vocab_find_joined(const vlorpi_vocab *vocab, int32_t a, int32_t b)
{
    return vocab->slots[find_slot(vocab, vocab->pool + vocab->offset[a], vocab->length[a],
                                  vocab->pool + vocab->offset[b], vocab->length[b])];
}

const char *vlorpi_vocab_text(const vlorpi_vocab *vocab, int64_t id, size_t *n_bytes)
{
    if (id < 0 || id >= vocab->n_ids || vocab->kind[id] == VLORPI_TOKEN_NONE) {
        *n_bytes = 0;
        return NULL;
    }
    *n_bytes = vocab->length[id];
    return vocab->pool + vocab->offset[id];
}

vlorp_status vlorpi_merges_init(vlorpi_merges *merges, vlorpi_mem *mem, size_t capacity, vlorp_err *err)
{
    *merges = (vlorpi_merges){.mem = mem, .capacity = capacity};
    if (capacity > (size_t)INT32_MAX / 4) {
        VLORP_FAIL(err, VLORP_E_LIMIT, "%zu merges are too many", capacity);
    }
    merges->n_slots = slots_for(capacity);
    merges->slots = vlorpi_mem_alloc(mem, VLORPI_MEM_DATA, merges->n_slots * sizeof *merges->slots);
    if (merges->slots == NULL) {
        return vlorpi_mem_fail(mem, VLORPI_MEM_DATA, merges->n_slots * sizeof *merges->slots, err);
    }
    memset(merges->slots, 0xFF, merges->n_slots * sizeof *merges->slots);
    return VLORP_OK;
}

void vlorpi_merges_deinit(vlorpi_merges *merges)
{
    vlorpi_mem_free(merges->mem, merges->slots);
    *merges = (vlorpi_merges){.mem = merges->mem};
}

static size_t merge_slot(const vlorpi_merges *merges, uint64_t pair)
{
    size_t slot = slot_of(pair * UINT64_C(0x9E3779B97F4A7C15) >> 16, merges->n_slots);
    while (merges->slots[slot].pair != pair && merges->slots[slot].pair != UINT64_MAX) {
        slot = (slot + 1) & (merges->n_slots - 1);
    }
    return slot;
}

void vlorpi_merges_put(vlorpi_merges *merges, int32_t left, int32_t right, uint32_t rank, int32_t id)
{
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    vlorpi_merge *slot = &merges->slots[merge_slot(merges, pair)];
    if (slot->pair == UINT64_MAX) {
        assert(merges->n < merges->capacity);
        merges->n++;
    }
    *slot = (vlorpi_merge){.pair = pair, .rank = rank, .id = id};
}

const vlorpi_merge *vlorpi_merges_find(const vlorpi_merges *merges, int32_t left, int32_t right)
{
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    const vlorpi_merge *slot = &merges->slots[merge_slot(merges, pair)];
    return slot->pair == pair ? slot : NULL;
}

vlorp_status vlorpi_merges_put_text(vlorpi_merges *merges, const vlorpi_vocab *vocab, const char *left, size_t n_left,
                                    const char *right, size_t n_right, size_t rank, const char *what, vlorp_err *err)
{
    int32_t a = vlorpi_vocab_find(vocab, left, n_left);
    int32_t b = vlorpi_vocab_find(vocab, right, n_right);
    int32_t joined = a >= 0 && b >= 0 ? vlorpi_vocab_find_joined(vocab, a, b) : -1;
    if (joined < 0) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s %zu: \"%.*s\" + \"%.*s\": %s not a token", what, rank,
                   (int)(n_left < 80 ? n_left : 80), left, (int)(n_right < 80 ? n_right : 80), right,
                   a < 0 ? "the first is" : (b < 0 ? "the second is" : "both joined are"));
    }
    vlorpi_merges_put(merges, a, b, (uint32_t)rank, joined);
    return VLORP_OK;
}

vlorp_status vlorpi_merges_put_line(vlorpi_merges *merges, const vlorpi_vocab *vocab, const char *line, size_t n_bytes,
                                    size_t rank, const char *what, vlorp_err *err)
{
    const char *space = n_bytes > 1 ? memchr(line + 1, ' ', n_bytes - 1) : NULL;
    if (space == NULL) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "%s %zu: \"%.*s\" must be two tokens with a space between", what, rank,
                   (int)(n_bytes < 80 ? n_bytes : 80), line);
    }
    size_t n_left = (size_t)(space - line);
    return vlorpi_merges_put_text(merges, vocab, line, n_left, space + 1, n_bytes - n_left - 1, rank, what, err);
}

/* A token that SentencePiece may build from others. */
static bool merges_to(const vlorpi_vocab *vocab, int64_t id)
{
    return vocab->kind[id] == VLORPI_TOKEN_NORMAL || vocab->kind[id] == VLORPI_TOKEN_UNUSED;
}

/* Calls put (counts when merges is NULL) for each split of token id in two; returns their number. */
static size_t split_token(const vlorpi_vocab *vocab, int32_t id, vlorpi_merges *merges, uint32_t rank)
{
    const char *text = vocab->pool + vocab->offset[id];
    size_t length = vocab->length[id];
    size_t n = 0;
    for (size_t cut = 1; cut < length; cut++) {
        if (((unsigned char)text[cut] & 0xC0u) == 0x80u) {
            continue;
        }
        int32_t left = vlorpi_vocab_find(vocab, text, cut);
        int32_t right = left >= 0 ? vlorpi_vocab_find(vocab, text + cut, length - cut) : -1;
        if (right >= 0 && merges_to(vocab, left) && merges_to(vocab, right)) {
            n++;
            if (merges != NULL) {
                vlorpi_merges_put(merges, left, right, rank, id);
            }
        }
    }
    return n;
}

typedef struct scored {
    float score;
    int32_t id;
} scored;

static int by_score(const void *a, const void *b)
{
    const scored *x = a;
    const scored *y = b;
    if (x->score != y->score) {
        return x->score > y->score ? -1 : 1;
    }
    return (x->id > y->id) - (x->id < y->id);
}

vlorp_status vlorpi_merges_from_scores(vlorpi_merges *merges, vlorpi_mem *mem, const vlorpi_vocab *vocab,
                                       const float *scores, vlorp_err *err)
{
    size_t n_pairs = 0;
    size_t n_tokens = 0;
    scored *order = vlorpi_mem_alloc(mem, VLORPI_MEM_DATA, (size_t)vocab->n_ids * sizeof *order);
    if (order == NULL) {
        return vlorpi_mem_fail(mem, VLORPI_MEM_DATA, (size_t)vocab->n_ids * sizeof *order, err);
    }
    vlorp_status status = VLORP_OK;
    for (int32_t id = 0; id < vocab->n_ids && status == VLORP_OK; id++) {
        if (!merges_to(vocab, id)) {
            continue;
        }
        if (vocab->length[id] > 4096) {
            status = vlorpi_err_set(err, VLORP_E_LIMIT, "token %d has %u bytes; at most 4096 are read", (int)id,
                                    vocab->length[id]);
        } else if (isnan(scores[id])) {
            status = vlorpi_err_set(err, VLORP_E_FORMAT, "token %d: its score is not a number", (int)id);
        } else {
            n_pairs += split_token(vocab, id, NULL, 0);
            order[n_tokens++] = (scored){.score = scores[id], .id = id};
        }
    }
    if (status == VLORP_OK) {
        status = vlorpi_merges_init(merges, mem, n_pairs, err);
    }
    if (status == VLORP_OK) {
        qsort(order, n_tokens, sizeof *order, by_score);
        uint32_t rank = 0;
        for (size_t i = 0; i < n_tokens; i++) {
            rank = i > 0 && order[i].score == order[i - 1].score ? rank : (uint32_t)i;
            (void)split_token(vocab, order[i].id, merges, rank);
        }
    }
    vlorpi_mem_free(mem, order);
    return status;
}

static int by_rank(const void *a, const void *b)
{
    const vlorpi_merge *x = a;
    const vlorpi_merge *y = b;
    if (x->rank != y->rank) {
        return x->rank < y->rank ? -1 : 1;
    }
    return (x->pair > y->pair) - (x->pair < y->pair);
}

vlorp_status vlorpi_merges_sorted(vlorpi_merge **out, size_t *n, const vlorpi_merges *merges, vlorp_err *err)
{
    *n = 0;
    *out = vlorpi_mem_alloc(merges->mem, VLORPI_MEM_DATA, merges->n * sizeof **out);
    if (*out == NULL) {
        return vlorpi_mem_fail(merges->mem, VLORPI_MEM_DATA, merges->n * sizeof **out, err);
    }
    for (size_t i = 0; i < merges->n_slots; i++) {
        if (merges->slots[i].pair != UINT64_MAX) {
            (*out)[(*n)++] = merges->slots[i];
        }
    }
    qsort(*out, *n, sizeof **out, by_rank);
    return VLORP_OK;
}
