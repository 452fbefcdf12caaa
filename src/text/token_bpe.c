/* token_bpe.c - one piece of text to tokens: symbols, then the pair of lowest rank joins, leftmost
 * first, until no pair has a merge. */
#include <assert.h>
#include <string.h>

#include "text/tokenizer_parts.h"

enum {
    SHORT_PIECE = 48,        /* up to this many symbols a scan for the minimum beats a heap */
    WHOLE_PIECE_BYTES = 1024 /* longer pieces are not looked up whole */
};

static const uint32_t NO_MERGE = UINT32_MAX;

void vlorpi_bpe_deinit(vlorpi_bpe *bpe)
{
    vlorpi_mem_free(bpe->mem, bpe->id); /* one block: see reserve */
    vlorpi_mem_free(bpe->mem, bpe->heap);
    *bpe = (vlorpi_bpe){.mem = bpe->mem};
}

/* Room for n symbols.  The arrays are one block of seven times capacity words. */
static vlorp_status reserve(vlorpi_bpe *bpe, size_t n, vlorp_err *err)
{
    if (n <= bpe->capacity) {
        return VLORP_OK;
    }
    size_t capacity = n + n / 2 + 64;
    int32_t *block = vlorpi_mem_alloc(bpe->mem, VLORPI_MEM_DATA, capacity * 7 * sizeof *block);
    if (block == NULL) {
        return vlorpi_mem_fail(bpe->mem, VLORPI_MEM_DATA, capacity * 7 * sizeof *block, err);
    }
    vlorpi_mem_free(bpe->mem, bpe->id);
    bpe->id = block;
    bpe->begin = (uint32_t *)block + capacity;
    bpe->end = (uint32_t *)block + 2 * capacity;
    bpe->rank = (uint32_t *)block + 3 * capacity;
    bpe->joined = block + 4 * capacity;
    bpe->previous = block + 5 * capacity;
    bpe->next = block + 6 * capacity;
    bpe->capacity = capacity;
    return VLORP_OK;
}

static void add_symbol(vlorpi_bpe *bpe, int32_t id, size_t begin, size_t end)
{
    bpe->id[bpe->n] = id;
    bpe->begin[bpe->n] = (uint32_t)begin;
    bpe->end[bpe->n] = (uint32_t)end;
    bpe->n++;
}

/* A character that is no token: its bytes, or the unknown token (one for a run of them), or nothing. */
static void add_unknown(const vlorpi_tokenizer *t, vlorpi_bpe *bpe, const char *piece, size_t begin, size_t end)
{
    if (t->byte_fallback) {
        bool all = true;
        for (size_t i = begin; i < end; i++) {
            all = all && t->byte_ids[(unsigned char)piece[i]] >= 0;
        }
        if (all) {
            for (size_t i = begin; i < end; i++) {
                add_symbol(bpe, t->byte_ids[(unsigned char)piece[i]], i, i + 1);
            }
            return;
        }
    }
    if (t->unknown < 0) {
        return;
    }
    if (t->fuse_unknown && bpe->n > 0 && bpe->id[bpe->n - 1] == t->unknown && bpe->end[bpe->n - 1] == begin) {
        bpe->end[bpe->n - 1] = (uint32_t)end;
    } else {
        add_symbol(bpe, t->unknown, begin, end);
    }
}

/* The piece's bytes or characters as symbols; at most n_bytes of them. */
static void make_symbols(const vlorpi_tokenizer *t, vlorpi_bpe *bpe, const char *piece, size_t n_bytes,
                         bool byte_level)
{
    bpe->n = 0;
    if (byte_level) {
        for (size_t i = 0; i < n_bytes; i++) {
            int32_t id = t->alphabet_ids[(unsigned char)piece[i]];
            if (id >= 0) {
                add_symbol(bpe, id, i, i + 1);
            } else {
                add_unknown(t, bpe, piece, i, i + 1);
            }
        }
        return;
    }
    for (size_t i = 0; i < n_bytes;) {
        int32_t codepoint;
        size_t length = vlorpi_utf8_read(piece + i, n_bytes - i, &codepoint);
        int32_t id = vlorpi_vocab_find_model(&t->vocab, piece + i, length);
        if (id >= 0) {
            add_symbol(bpe, id, i, i + length);
        } else {
            add_unknown(t, bpe, piece, i, i + length);
        }
        i += length;
    }
}

static void look_up(const vlorpi_tokenizer *t, vlorpi_bpe *bpe, size_t left, size_t right)
{
    const vlorpi_merge *merge = vlorpi_merges_find(&t->merges, bpe->id[left], bpe->id[right]);
    bpe->rank[left] = merge != NULL ? merge->rank : NO_MERGE;
    bpe->joined[left] = merge != NULL ? merge->id : -1;
}

static void merge_short(const vlorpi_tokenizer *t, vlorpi_bpe *bpe)
{
    size_t n = bpe->n;
    for (size_t i = 0; i + 1 < n; i++) {
        look_up(t, bpe, i, i + 1);
    }
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++) {
            best = bpe->rank[i] < bpe->rank[best] ? i : best;
        }
        if (bpe->rank[best] == NO_MERGE) {
            break;
        }
        bpe->id[best] = bpe->joined[best];
        bpe->end[best] = bpe->end[best + 1];
        size_t tail = n - best - 2;
        memmove(bpe->id + best + 1, bpe->id + best + 2, tail * sizeof *bpe->id);
        memmove(bpe->begin + best + 1, bpe->begin + best + 2, tail * sizeof *bpe->begin);
        memmove(bpe->end + best + 1, bpe->end + best + 2, tail * sizeof *bpe->end);
        if (tail > 0) {
            memmove(bpe->rank + best + 1, bpe->rank + best + 2, (tail - 1) * sizeof *bpe->rank);
            memmove(bpe->joined + best + 1, bpe->joined + best + 2, (tail - 1) * sizeof *bpe->joined);
        }
        n--;
        if (best + 1 < n) {
            look_up(t, bpe, best, best + 1);
        }
        if (best > 0) {
            look_up(t, bpe, best - 1, best);
        }
    }
    bpe->n = n;
}

/* The heap holds rank << 32 | position: the lowest rank, then the leftmost.  An entry whose rank is
 * no longer the symbol's is stale and skipped. */
static void heap_push(vlorpi_bpe *bpe, uint64_t entry)
{
    size_t i = bpe->n_heap++;
    assert(i < bpe->heap_capacity);
    while (i > 0 && bpe->heap[(i - 1) / 2] > entry) {
        bpe->heap[i] = bpe->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    bpe->heap[i] = entry;
}

static uint64_t heap_pop(vlorpi_bpe *bpe)
{
    uint64_t top = bpe->heap[0];
    uint64_t last = bpe->heap[--bpe->n_heap];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= bpe->n_heap) {
            break;
        }
        child += child + 1 < bpe->n_heap && bpe->heap[child + 1] < bpe->heap[child] ? 1 : 0;
        if (bpe->heap[child] >= last) {
            break;
        }
        bpe->heap[i] = bpe->heap[child];
        i = child;
    }
    bpe->heap[i] = last;
    return top;
}

static void push_pair(const vlorpi_tokenizer *t, vlorpi_bpe *bpe, int32_t left)
{
    look_up(t, bpe, (size_t)left, (size_t)bpe->next[left]);
    if (bpe->rank[left] != NO_MERGE) {
        heap_push(bpe, (uint64_t)bpe->rank[left] << 32 | (uint32_t)left);
    }
}

static void merge_all(const vlorpi_tokenizer *t, vlorpi_bpe *bpe)
{
    while (bpe->n_heap > 0) {
        uint64_t entry = heap_pop(bpe);
        int32_t left = (int32_t)(entry & UINT32_MAX);
        if (bpe->id[left] < 0 || bpe->rank[left] != (uint32_t)(entry >> 32)) {
            continue;
        }
        int32_t right = bpe->next[left];
        bpe->id[left] = bpe->joined[left];
        bpe->end[left] = bpe->end[right];
        bpe->id[right] = -1;
        bpe->next[left] = bpe->next[right];
        bpe->rank[left] = NO_MERGE;
        if (bpe->next[left] >= 0) {
            bpe->previous[bpe->next[left]] = left;
            push_pair(t, bpe, left);
        }
        if (bpe->previous[left] >= 0) {
            push_pair(t, bpe, bpe->previous[left]);
        }
    }
}

static vlorp_status merge_long(const vlorpi_tokenizer *t, vlorpi_bpe *bpe, vlorp_err *err)
{
    size_t n = bpe->n;
    /* One entry for each first pair, and each of at most n - 1 merges brings two. */
    if (3 * n > bpe->heap_capacity) {
        vlorpi_mem_free(bpe->mem, bpe->heap);
        bpe->heap_capacity = 0;
        bpe->heap = vlorpi_mem_alloc(bpe->mem, VLORPI_MEM_DATA, 3 * n * sizeof *bpe->heap);
        if (bpe->heap == NULL) {
            return vlorpi_mem_fail(bpe->mem, VLORPI_MEM_DATA, 3 * n * sizeof *bpe->heap, err);
        }
        bpe->heap_capacity = 3 * n;
    }
    bpe->n_heap = 0;
    for (size_t i = 0; i < n; i++) {
        bpe->previous[i] = (int32_t)i - 1;
        bpe->next[i] = i + 1 < n ? (int32_t)i + 1 : -1;
        bpe->rank[i] = NO_MERGE;
    }
    for (size_t i = 0; i + 1 < n; i++) {
        push_pair(t, bpe, (int32_t)i);
    }
    merge_all(t, bpe);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (bpe->id[i] >= 0) {
            bpe->id[kept] = bpe->id[i];
            bpe->begin[kept] = bpe->begin[i];
            bpe->end[kept] = bpe->end[i];
            kept++;
        }
    }
    bpe->n = kept;
    return VLORP_OK;
}

/* The id of the piece as a whole, or -1. */
static int32_t whole_piece(const vlorpi_tokenizer *t, const char *piece, size_t n_bytes, bool byte_level)
{
    if (!byte_level) {
        return vlorpi_vocab_find_model(&t->vocab, piece, n_bytes);
    }
    if (n_bytes > WHOLE_PIECE_BYTES) {
        return -1;
    }
    char spelled[2 * WHOLE_PIECE_BYTES];
    size_t n = 0;
    for (size_t i = 0; i < n_bytes; i++) {
        n += vlorpi_utf8_write(spelled + n, vlorpi_byte_alphabet_char((unsigned char)piece[i]));
    }
    return vlorpi_vocab_find_model(&t->vocab, spelled, n);
}

vlorp_status vlorpi_bpe_encode(const vlorpi_tokenizer *t, vlorpi_bpe *bpe, const char *piece, size_t n_bytes,
                               bool byte_level, vlorp_err *err)
{
    VLORP_TRY(reserve(bpe, n_bytes, err));
    if (t->ignore_merges) {
        int32_t id = whole_piece(t, piece, n_bytes, byte_level);
        if (id >= 0) {
            bpe->n = 0;
            add_symbol(bpe, id, 0, n_bytes);
            return VLORP_OK;
        }
    }
    make_symbols(t, bpe, piece, n_bytes, byte_level);
    if (bpe->n > SHORT_PIECE) {
        return merge_long(t, bpe, err);
    }
    merge_short(t, bpe);
    return VLORP_OK;
}
