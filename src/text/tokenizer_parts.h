/* tokenizer_parts.h - what a tokenizer is made of; shared by the readers, the encoder, the decoder
 * and the writer.
 *
 * Layer 3, inside text/.
 *
 * Encoding: text -> added tokens spelled in it -> normaliser steps -> splitter steps -> BPE per piece.
 * Decoding: token texts -> decoder steps -> text.
 */
#ifndef VLORPI_TEXT_TOKENIZER_PARTS_H
#define VLORPI_TEXT_TOKENIZER_PARTS_H

#include "text/token_regex.h"
#include "text/token_text.h"
#include "text/token_vocab.h"
#include "text/tokenizer.h"

enum {
    VLORPI_TOKENIZER_MAX_STEPS = 16,     /* of one kind, after nested sequences are laid flat */
    VLORPI_TOKENIZER_MAX_SPECIAL = 16,   /* tokens put before or after a text */
    VLORPI_TOKENIZER_MAX_ADDED = 1024    /* bytes of an added token */
};

/* U+2581, the visible space of SentencePiece, and its three bytes. */
#define VLORPI_VISIBLE_SPACE "\xE2\x96\x81"

/* --- normaliser --- */

typedef enum vlorpi_normal_kind {
    VLORPI_NORMAL_PREPEND,   /* text before a text that is not empty */
    VLORPI_NORMAL_REPLACE,   /* every match of pattern becomes text */
    VLORPI_NORMAL_NFC, VLORPI_NORMAL_NFD, VLORPI_NORMAL_NFKC, VLORPI_NORMAL_NFKD,
    VLORPI_NORMAL_LOWERCASE,
    VLORPI_NORMAL_STRIP      /* white space at the left and right end */
} vlorpi_normal_kind;

typedef struct vlorpi_normal_step {
    vlorpi_normal_kind kind;
    char *text; /* owned; PREPEND, REPLACE */
    size_t n_text;
    vlorpi_regex *pattern; /* owned; REPLACE */
    bool literal;          /* pattern is a plain string */
    bool left, right;      /* STRIP */
} vlorpi_normal_step;

/* --- splitter --- */

typedef enum vlorpi_split_kind {
    VLORPI_SPLIT_PATTERN,
    VLORPI_SPLIT_BYTE_LEVEL, /* each byte becomes a character of the byte alphabet */
    VLORPI_SPLIT_METASPACE   /* spaces become visible, one is put in front */
} vlorpi_split_kind;

/* What happens to the matches of a pattern. */
typedef enum vlorpi_split_behavior {
    VLORPI_SPLIT_ISOLATED, VLORPI_SPLIT_REMOVED, VLORPI_SPLIT_MERGED_WITH_PREVIOUS, VLORPI_SPLIT_MERGED_WITH_NEXT,
    VLORPI_SPLIT_CONTIGUOUS
} vlorpi_split_behavior;

typedef enum vlorpi_prepend { VLORPI_PREPEND_ALWAYS, VLORPI_PREPEND_FIRST, VLORPI_PREPEND_NEVER } vlorpi_prepend;

typedef struct vlorpi_split_step {
    vlorpi_split_kind kind;
    vlorpi_regex *pattern; /* owned; NULL: no splitting (BYTE_LEVEL, METASPACE) */
    bool literal;
    vlorpi_split_behavior behavior;
    bool invert;            /* what does not match counts as the match */
    bool add_prefix_space;  /* BYTE_LEVEL */
    vlorpi_prepend prepend; /* METASPACE */
    char space[5];          /* METASPACE: the visible space, one character */
} vlorpi_split_step;

/* --- decoder --- */

typedef enum vlorpi_decode_kind {
    VLORPI_DECODE_BYTE_LEVEL,
    VLORPI_DECODE_REPLACE,       /* every match of pattern becomes text */
    VLORPI_DECODE_BYTE_FALLBACK, /* runs of <0xXX> become their bytes */
    VLORPI_DECODE_FUSE,          /* all pieces become one */
    VLORPI_DECODE_STRIP,         /* up to start and stop times text at the ends of each piece */
    VLORPI_DECODE_METASPACE      /* visible spaces become spaces, the first one goes */
} vlorpi_decode_kind;

typedef struct vlorpi_decode_step {
    vlorpi_decode_kind kind;
    char *text; /* owned; REPLACE, STRIP; METASPACE: the visible space */
    size_t n_text;
    vlorpi_regex *pattern; /* owned; REPLACE */
    bool literal;
    int64_t start, stop;   /* STRIP */
    bool strip_first;      /* METASPACE */
} vlorpi_decode_step;

/* --- added tokens --- */

/* A token that is found in the text before anything else is done to it. */
typedef struct vlorpi_added_token {
    int32_t id;
    bool special, normalized, single_word, lstrip, rstrip;
    char *key; /* owned; what is looked for: the text, normalised when normalized is set */
    size_t n_key;
} vlorpi_added_token;

typedef struct vlorpi_added_tokens {
    vlorpi_added_token *items;
    int64_t n;
    int32_t *slots; /* [n_slots] hash table over keys, made by vlorpi_added_index */
    size_t n_slots;
    uint16_t max_bytes[256]; /* longest key by first byte, 0: none */
    bool any_raw, any_normalized;
} vlorpi_added_tokens;

/* --- the tokenizer --- */

struct vlorpi_tokenizer {
    vlorpi_mem *mem;
    vlorpi_vocab vocab;
    vlorpi_merges merges;
    vlorpi_added_tokens added;
    vlorpi_normal_step normal[VLORPI_TOKENIZER_MAX_STEPS];
    vlorpi_split_step split[VLORPI_TOKENIZER_MAX_STEPS];
    vlorpi_decode_step decode[VLORPI_TOKENIZER_MAX_STEPS];
    int n_normal, n_split, n_decode;
    bool joined_by_space; /* no decoder in the file: token texts are joined by spaces */

    int32_t unknown;       /* what a character that is no token becomes, or -1 */
    int32_t named_unknown; /* what the files call the unknown token, or -1 */
    bool fuse_unknown, byte_fallback, ignore_merges;
    int32_t byte_ids[256];     /* <0xXX>, -1: none */
    int32_t alphabet_ids[256]; /* the byte alphabet's characters, -1: none */
    /* No merge crosses from a character to a visible space after it, so that long texts may be cut there. */
    bool cut_at_visible_space;

    int32_t prefix[VLORPI_TOKENIZER_MAX_SPECIAL], suffix[VLORPI_TOKENIZER_MAX_SPECIAL];
    int n_prefix, n_suffix;
    int32_t bos, eos, pad;
    int32_t ends[VLORPI_TOKENIZER_MAX_SPECIAL]; /* where generation stops, besides eos */
    int n_ends;
    char *chat_template; /* owned, or NULL */
    bool from_gguf;
};

/* Zero-filled but for ids, which are -1.  Owner: the caller, vlorpi_tokenizer_free. */
VLORP_CHECKED vlorp_status vlorpi_tokenizer_create(vlorpi_tokenizer **out, vlorpi_mem *mem, vlorp_err *err);
/* Fills what follows from vocabulary, merges and added tokens; the last step of every reader. */
VLORP_CHECKED vlorp_status vlorpi_tokenizer_finish(vlorpi_tokenizer *tokenizer, vlorp_err *err);

/* A new step, zero-filled, in the caller's hands as *step; E_LIMIT when there are too many. */
VLORP_CHECKED vlorp_status vlorpi_tokenizer_add_normal(vlorpi_tokenizer *t, vlorpi_normal_step **step, vlorp_err *err);
VLORP_CHECKED vlorp_status vlorpi_tokenizer_add_split(vlorpi_tokenizer *t, vlorpi_split_step **step, vlorp_err *err);
VLORP_CHECKED vlorp_status vlorpi_tokenizer_add_decode(vlorpi_tokenizer *t, vlorpi_decode_step **step,
                                                       vlorp_err *err);
/* NUL-terminated copy of n_bytes under DATA. */
VLORP_CHECKED vlorp_status vlorpi_tokenizer_copy_text(vlorpi_tokenizer *t, char **out, const char *text,
                                                      size_t n_bytes, vlorp_err *err);
/* Adds a pattern step that splits by behavior. */
VLORP_CHECKED vlorp_status vlorpi_tokenizer_split_by(vlorpi_tokenizer *t, const char *pattern, size_t n_bytes,
                                                     bool literal, vlorpi_split_behavior behavior, bool invert,
                                                     vlorp_err *err);
/* Adds the byte-level step; use_pattern: GPT-2's own split before it. */
VLORP_CHECKED vlorp_status vlorpi_tokenizer_split_bytes(vlorpi_tokenizer *t, bool add_prefix_space, bool use_pattern,
                                                        vlorp_err *err);
/* Adds the decoder chain of SentencePiece: visible spaces, byte tokens, one leading space stripped. */
VLORP_CHECKED vlorp_status vlorpi_tokenizer_decode_pieces(vlorpi_tokenizer *t, bool strip_space, vlorp_err *err);
/* Adds SentencePiece's normaliser: a space in front, spaces made visible. */
VLORP_CHECKED vlorp_status vlorpi_tokenizer_normal_pieces(vlorpi_tokenizer *t, bool prefix_space, vlorp_err *err);
/* Makes id a token that generation stops at. */
void vlorpi_tokenizer_add_end(vlorpi_tokenizer *t, int32_t id);
/* Puts bos first and eos last, or takes them away again. */
VLORP_CHECKED vlorp_status vlorpi_tokenizer_set_bos(vlorpi_tokenizer *t, bool add, vlorp_err *err);
VLORP_CHECKED vlorp_status vlorpi_tokenizer_set_eos(vlorpi_tokenizer *t, bool add, vlorp_err *err);

/* Adds a token that is in the vocabulary, once; its key is made by the index. */
VLORP_CHECKED vlorp_status vlorpi_added_put(vlorpi_tokenizer *t, vlorpi_added_token token, vlorp_err *err);
/* Makes the keys and the index, when the normaliser is known. */
VLORP_CHECKED vlorp_status vlorpi_added_index(vlorpi_tokenizer *t, vlorp_err *err);
/* The first added token at or after from, in the raw text (normalized false) or the normalised one;
 * special tokens only when special is set.  *token NULL: none.  [*begin, *end) includes the white
 * space that the token takes with it; search on from *end. */
void vlorpi_added_find(const vlorpi_tokenizer *t, const char *text, size_t n_bytes, size_t from, bool normalized,
                       bool special, const vlorpi_added_token **token, size_t *begin, size_t *end);
/* Whether id is special: left out of decoded text on request. */
bool vlorpi_added_is_special(const vlorpi_tokenizer *t, int32_t id);

/* Runs the normaliser over text.  *out is text itself when nothing changes, else a view of *buffer. */
VLORP_CHECKED vlorp_status vlorpi_normalize(const vlorpi_tokenizer *t, vlorpi_regex_match *match, vlorpi_text *out,
                                            vlorpi_text_buffer *buffer, const vlorpi_text *text, vlorp_err *err);

/* --- BPE of one piece --- */

/* Scratch of one encoding; grown as pieces need it.  Zero-initialise, mem set. */
typedef struct vlorpi_bpe {
    vlorpi_mem *mem;
    int32_t *id;             /* [capacity], as all arrays but heap; the symbols of the piece */
    uint32_t *begin, *end;   /* bytes of the piece that each stands for */
    uint32_t *rank;          /* rank of the symbol's merge with the next one, UINT32_MAX: none */
    int32_t *joined;         /* id after that merge */
    int32_t *previous, *next;
    uint64_t *heap;
    size_t n, capacity, n_heap, heap_capacity;
} vlorpi_bpe;

void vlorpi_bpe_deinit(vlorpi_bpe *bpe);
/* Leaves the tokens of piece in bpe->id, begin, end [bpe->n].  byte_level: symbols are bytes. */
VLORP_CHECKED vlorp_status vlorpi_bpe_encode(const vlorpi_tokenizer *t, vlorpi_bpe *bpe, const char *piece,
                                             size_t n_bytes, bool byte_level, vlorp_err *err);

/* Takes pieces of text (whole characters, not empty) in order. */
typedef vlorp_status vlorpi_piece_sink(void *ctx, const vlorpi_text *piece, bool byte_level, vlorp_err *err);

/* Cuts text into the pieces that BPE works on and hands them to sink.  match: this thread's. */
VLORP_CHECKED vlorp_status vlorpi_split_text(const vlorpi_tokenizer *t, vlorpi_regex_match *match,
                                             const vlorpi_text *text, vlorpi_piece_sink *sink, void *ctx,
                                             vlorp_err *err);

#endif
