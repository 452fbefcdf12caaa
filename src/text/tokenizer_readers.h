/* tokenizer_readers.h - the readers of tokenizer files, each over a part of the tokenizer.
 *
 * Layer 3, inside text/.  None closes or finishes the tokenizer; errors do not name the file, the
 * caller puts its path in front.
 */
#ifndef VLORPI_TEXT_TOKENIZER_READERS_H
#define VLORPI_TEXT_TOKENIZER_READERS_H

#include <jansson.h>

#include "text/tokenizer_parts.h"

/* tokenizer.json as a whole. */
VLORP_CHECKED vlorp_status vlorpi_tokenizer_read_json(vlorpi_tokenizer *t, const json_t *root, vlorp_err *err);

/* {"token": id, ...}; makes room for added, an array of objects with content and id (or NULL), too. */
VLORP_CHECKED vlorp_status vlorpi_tokenizer_read_vocab(vlorpi_tokenizer *t, const json_t *vocab, const json_t *added,
                                                       vlorp_err *err);
/* Makes room for ids [0, n) with n_bytes of text and for added. */
VLORP_CHECKED vlorp_status vlorpi_tokenizer_init_vocab(vlorpi_tokenizer *t, int64_t n, size_t n_bytes,
                                                       const json_t *added, vlorp_err *err);
/* The array that one of the two made room for. */
VLORP_CHECKED vlorp_status vlorpi_tokenizer_read_added(vlorpi_tokenizer *t, const json_t *list, vlorp_err *err);

/* The steps of tokenizer.json; NULL and null mean none. */
VLORP_CHECKED vlorp_status vlorpi_tokenizer_read_normalizer(vlorpi_tokenizer *t, const json_t *value, vlorp_err *err);
VLORP_CHECKED vlorp_status vlorpi_tokenizer_read_splitter(vlorpi_tokenizer *t, const json_t *value, vlorp_err *err);
VLORP_CHECKED vlorp_status vlorpi_tokenizer_read_decoder(vlorpi_tokenizer *t, const json_t *value, vlorp_err *err);
VLORP_CHECKED vlorp_status vlorpi_tokenizer_read_specials(vlorpi_tokenizer *t, const json_t *value, vlorp_err *err);

/* vocab.json and merges.txt (its bytes); config: tokenizer_config.json, or NULL. */
VLORP_CHECKED vlorp_status vlorpi_tokenizer_read_vocab_merges(vlorpi_tokenizer *t, const json_t *vocab,
                                                              const char *merges, size_t n_bytes, const json_t *added,
                                                              const json_t *config, vlorp_err *err);
/* tokenizer.model. */
VLORP_CHECKED vlorp_status vlorpi_tokenizer_read_pieces(vlorpi_tokenizer *t, const unsigned char *bytes,
                                                        size_t n_bytes, const json_t *added, vlorp_err *err);
/* The metadata of a GGUF file. */
VLORP_CHECKED vlorp_status vlorpi_tokenizer_read_gguf(vlorpi_tokenizer *t, const vlorpi_gguf *gguf, vlorp_err *err);

/* Special tokens, whether BOS and EOS are added, and the chat template, as one of the files of a
 * folder says: tokenizer_config.json or special_tokens_map.json.  What is known already stays. */
VLORP_CHECKED vlorp_status vlorpi_tokenizer_read_config(vlorpi_tokenizer *t, const json_t *config, vlorp_err *err);
/* Ids of special tokens in generation_config.json or config.json, for those that are not known. */
VLORP_CHECKED vlorp_status vlorpi_tokenizer_read_model_config(vlorpi_tokenizer *t, const json_t *config,
                                                              vlorp_err *err);

/* The split of a family by GGUF's name for it, and the byte-level step; *flags: what goes with it. */
typedef struct vlorpi_tokenizer_preset {
    bool ignore_merges, add_bos, nfc;
} vlorpi_tokenizer_preset;
VLORP_CHECKED vlorp_status vlorpi_tokenizer_split_preset(vlorpi_tokenizer *t, const char *name, size_t n_bytes,
                                                         vlorpi_tokenizer_preset *flags, vlorp_err *err);
/* GGUF's name for the family that splits as this byte-level tokenizer does; false: there is none. */
enum { VLORPI_TOKENIZER_MAX_PRESET_NAME = 32 };
bool vlorpi_tokenizer_preset_of(const vlorpi_tokenizer *t, char name[VLORPI_TOKENIZER_MAX_PRESET_NAME]);

/* What a SentencePiece model says besides its pieces. */
typedef struct vlorpi_piece_options {
    bool add_space_prefix, add_bos, add_eos;
} vlorpi_piece_options;
/* The rest of a tokenizer of SentencePiece's BPE, when its vocabulary (texts and kinds) is set.
 * scores [n_ids]. */
VLORP_CHECKED vlorp_status vlorpi_tokenizer_finish_pieces(vlorpi_tokenizer *t, const float *scores,
                                                          vlorpi_piece_options options, vlorp_err *err);
/* Control and unknown tokens of the vocabulary become special added tokens, user-defined ones plain. */
VLORP_CHECKED vlorp_status vlorpi_tokenizer_add_by_kind(vlorpi_tokenizer *t, vlorp_err *err);
/* id as int32 when it is a token, else -1. */
int32_t vlorpi_tokenizer_checked_id(const vlorpi_tokenizer *t, int64_t id);

#endif
