/* token_vocab.h - the two tables of BPE: token <-> id, and which pair of ids becomes which.
 *
 * Layer 3, inside text/.  A few large allocations under DATA, sized by counts that the loader took
 * from data already in memory.
 */
#ifndef VLORPI_TEXT_TOKEN_VOCAB_H
#define VLORPI_TEXT_TOKEN_VOCAB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"

/* What a token is; the values are those of SentencePiece and GGUF. */
typedef enum vlorpi_token_kind {
    VLORPI_TOKEN_NONE = 0, /* a gap between ids */
    VLORPI_TOKEN_NORMAL = 1,
    VLORPI_TOKEN_UNKNOWN = 2,
    VLORPI_TOKEN_CONTROL = 3,
    VLORPI_TOKEN_USER = 4,
    VLORPI_TOKEN_UNUSED = 5,
    VLORPI_TOKEN_BYTE = 6
} vlorpi_token_kind;

/* Zero-initialise; the fields are read-only to others. */
typedef struct vlorpi_vocab {
    vlorpi_mem *mem;
    int64_t n_ids; /* highest id + 1 */
    char *pool;
    size_t pool_bytes, pool_capacity;
    uint32_t *offset, *length; /* [n_ids] into pool */
    uint8_t *kind;             /* [n_ids] vlorpi_token_kind */
    bool *added_only;          /* [n_ids] found in text as a whole, never made by merging */
    int32_t *slots;            /* [n_slots] hash table of ids, -1 empty; n_slots a power of two */
    size_t n_slots;
} vlorpi_vocab;

/* Room for ids [0, n_ids) whose texts have pool_bytes together.  Errors: E_LIMIT, E_NOMEM. */
VLORP_CHECKED vlorp_status vlorpi_vocab_init(vlorpi_vocab *vocab, vlorpi_mem *mem, int64_t n_ids, size_t pool_bytes,
                                             vlorp_err *err);
void vlorpi_vocab_deinit(vlorpi_vocab *vocab);
/* Gives id its text (copied).  E_FORMAT when id is out of range or has another text already.  Of two
 * ids with the same text the first is found. */
VLORP_CHECKED vlorp_status vlorpi_vocab_set(vlorpi_vocab *vocab, int64_t id, const char *text, size_t n_bytes,
                                            vlorpi_token_kind kind, vlorp_err *err);
/* The id of text, or of the texts of a and b joined; -1 when there is none. */
int32_t vlorpi_vocab_find(const vlorpi_vocab *vocab, const char *text, size_t n_bytes);
int32_t vlorpi_vocab_find_joined(const vlorpi_vocab *vocab, int32_t a, int32_t b);
/* As _find, among the tokens that merging starts from and may make. */
int32_t vlorpi_vocab_find_model(const vlorpi_vocab *vocab, const char *text, size_t n_bytes);
/* The text of id (not NUL-terminated), or NULL for a gap and ids out of range. */
const char *vlorpi_vocab_text(const vlorpi_vocab *vocab, int64_t id, size_t *n_bytes);

/* Pair of ids -> rank (lower merges first) and id of the joined token.  Zero-initialise. */
typedef struct vlorpi_merge {
    uint64_t pair; /* left << 32 | right; UINT64_MAX: empty */
    uint32_t rank;
    int32_t id;
} vlorpi_merge;

typedef struct vlorpi_merges {
    vlorpi_mem *mem;
    vlorpi_merge *slots;
    size_t n_slots, n, capacity;
} vlorpi_merges;

VLORP_CHECKED vlorp_status vlorpi_merges_init(vlorpi_merges *merges, vlorpi_mem *mem, size_t capacity,
                                              vlorp_err *err);
void vlorpi_merges_deinit(vlorpi_merges *merges);
/* At most capacity different pairs; a pair given twice keeps the later rank. */
void vlorpi_merges_put(vlorpi_merges *merges, int32_t left, int32_t right, uint32_t rank, int32_t id);
/* Or NULL. */
const vlorpi_merge *vlorpi_merges_find(const vlorpi_merges *merges, int32_t left, int32_t right);

/* All merges by rank.  *out [*n] is allocated under DATA; owner: the caller, vlorpi_mem_free. */
VLORP_CHECKED vlorp_status vlorpi_merges_sorted(vlorpi_merge **out, size_t *n, const vlorpi_merges *merges,
                                                vlorp_err *err);

/* Merges "left right" by text, rank by position.  what names the list in errors.
 * E_FORMAT when left, right or both joined are not tokens. */
VLORP_CHECKED vlorp_status vlorpi_merges_put_text(vlorpi_merges *merges, const vlorpi_vocab *vocab, const char *left,
                                                  size_t n_left, const char *right, size_t n_right, size_t rank,
                                                  const char *what, vlorp_err *err);
/* The same for the text "left right", cut at the first space after its first byte. */
VLORP_CHECKED vlorp_status vlorpi_merges_put_line(vlorpi_merges *merges, const vlorpi_vocab *vocab, const char *line,
                                                  size_t n_bytes, size_t rank, const char *what, vlorp_err *err);
/* SentencePiece's merges: every way to split a normal token in two other tokens merges with the
 * token's score (higher first; equal scores have equal rank).  scores [n_ids]. */
VLORP_CHECKED vlorp_status vlorpi_merges_from_scores(vlorpi_merges *merges, vlorpi_mem *mem,
                                                     const vlorpi_vocab *vocab, const float *scores, vlorp_err *err);

#endif
