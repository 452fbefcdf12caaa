/* tokenizer.h - text to token ids and back.
 *
 * Layer 3.  Knows: tokenizer.json, GGUF's tokenizer metadata.  Does not know: prompts, data sets.
 *
 * Every id comes with the byte range of the input it covers, so that prompts are masked by offsets.
 */
#ifndef VLORPI_TEXT_TOKENIZER_H
#define VLORPI_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "format/gguf.h"
#include "format/gguf_writer.h"
#include "format/source.h"

typedef struct vlorpi_tokenizer vlorpi_tokenizer; /* opaque; encoding is thread-safe on one object */

/* One token: its id, and the bytes [begin, end) of the input text that it stands for: whole
 * characters, so that tokens inside one character share its range.  Offsets are those of Hugging
 * Face's tokenizers, spaces kept; where a normaliser changed several characters together, the tokens
 * of the result stand for all of them.  Tokens that stand for no text (BOS, EOS) have begin == end. */
typedef struct vlorpi_token {
    int32_t id;
    int64_t begin, end;
} vlorpi_token;

/* A growing list of tokens; zero-initialise, mem set; free with _deinit. */
typedef struct vlorpi_tokens {
    vlorpi_mem *mem;
    vlorpi_token *items;
    int64_t n;
} vlorpi_tokens;
void vlorpi_tokens_deinit(vlorpi_tokens *tokens);

/* From a model folder (tokenizer.json, tokenizer_config.json, special_tokens_map.json,
 * generation_config.json and config.json for special ids; vocab.json + merges.txt and
 * tokenizer.model without it), or from a GGUF file, tokenizer.json or tokenizer.model, by path.  Memory: DATA.
 * Errors: E_IO, E_FORMAT, E_UNSUPPORTED, naming file, field and remedy. */
VLORP_CHECKED vlorp_status vlorpi_tokenizer_open(vlorpi_tokenizer **out, vlorpi_mem *mem, const char *path,
                                                 vlorp_err *err);
VLORP_CHECKED vlorp_status vlorpi_tokenizer_from_gguf(vlorpi_tokenizer **out, vlorpi_mem *mem,
                                                      const vlorpi_gguf *gguf, const char *name, vlorp_err *err);
/* From the bytes of a tokenizer.json alone; name is used in error texts. */
VLORP_CHECKED vlorp_status vlorpi_tokenizer_from_json(vlorpi_tokenizer **out, vlorpi_mem *mem, const char *bytes,
                                                      size_t n_bytes, const char *name, vlorp_err *err);
/* Accepts NULL. */
void vlorpi_tokenizer_free(vlorpi_tokenizer *tokenizer);

typedef struct vlorpi_encode_options {
    bool add_special;   /* add BOS/EOS as the tokenizer's own post-processor does */
    bool parse_special; /* special tokens spelled in the text become their ids */
} vlorpi_encode_options;

/* Appends the tokens of text (UTF-8; invalid bytes are encoded as U+FFFD, as Hugging Face reads
 * files) to tokens. */
VLORP_CHECKED vlorp_status vlorpi_tokenizer_encode(const vlorpi_tokenizer *tokenizer, vlorpi_tokens *tokens,
                                                   const char *text, size_t n_bytes, vlorpi_encode_options options,
                                                   vlorp_err *err);

/* The text of ids, as one allocation under DATA, NUL-terminated; *n_bytes without the NUL.
 * skip_special leaves out special tokens.  Owner: the caller, vlorpi_mem_free. */
VLORP_CHECKED vlorp_status vlorpi_tokenizer_decode(const vlorpi_tokenizer *tokenizer, char **text, size_t *n_bytes,
                                                   const int32_t *ids, int64_t n, bool skip_special, vlorp_err *err);

int64_t vlorpi_tokenizer_vocab_size(const vlorpi_tokenizer *tokenizer); /* highest id + 1 */
/* Ids of special tokens, -1 where there is none. */
int32_t vlorpi_tokenizer_bos(const vlorpi_tokenizer *tokenizer);
int32_t vlorpi_tokenizer_eos(const vlorpi_tokenizer *tokenizer);
/* Whether generation stops at id: EOS and the end-of-turn tokens. */
bool vlorpi_tokenizer_is_end(const vlorpi_tokenizer *tokenizer, int32_t id);
/* The id of exactly this token, or -1. */
int32_t vlorpi_tokenizer_id(const vlorpi_tokenizer *tokenizer, const char *token);
/* The chat template source (Jinja) of the tokenizer's files, or NULL. */
const char *vlorpi_tokenizer_chat_template(const vlorpi_tokenizer *tokenizer);

/* Writes tokenizer.json and tokenizer_config.json that transformers loads, for a model that came
 * as GGUF (whose tokenizer is metadata).  E_STATE when it was read from a folder: copy the files. */
VLORP_CHECKED vlorp_status vlorpi_tokenizer_write_json(const vlorpi_tokenizer *tokenizer, const char *folder,
                                                       vlorp_err *err);

/* Writes the tokenizer's keys (tokenizer.ggml.*, tokenizer.chat_template), its vocabulary filled up to
 * n, the model's.  Errors: E_UNSUPPORTED for a tokenizer that GGUF cannot hold, E_SHAPE when it has more
 * than n ids, E_NOMEM, the writer's. */
VLORP_CHECKED vlorp_status vlorpi_tokenizer_put_gguf(vlorpi_gguf_writer *w, const vlorpi_tokenizer *tokenizer,
                                                     int64_t n, vlorp_err *err);

#endif
