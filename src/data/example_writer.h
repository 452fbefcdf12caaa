/* example_writer.h - texts in, masked examples out.
 *
 * Layer 4, private to data/.  Knows: the tokenizer, rendered texts, the token store.
 *
 * Which tokens are trained.  Prompt and answer are tokenised together, once.  A token is trained when at
 * least one byte of it belongs to an answer: one that straddles the end of the prompt is trained,
 * since the model has to write its answer half.  A token that stands for no byte is trained only
 * strictly inside an answer; the end token behind an answer always is.  The first token of an example
 * has nothing before it and is never trained.  With train_on_prompts the whole text is one answer.
 */
#ifndef VLORPI_DATA_EXAMPLE_WRITER_H
#define VLORPI_DATA_EXAMPLE_WRITER_H

#include "data/dataset.h"
#include "data/prompts.h"
#include "data/token_store.h"

/* Plain storage; borrows all but tokens. */
typedef struct vlorpi_example_writer {
    const vlorpi_tokenizer *tokenizer;
    vlorpi_token_store *store;
    vlorpi_dataset_report *report; /* counts of examples and tokens are kept up */
    int64_t max_length;
    bool train_on_prompts;
    vlorpi_tokens tokens; /* scratch; owned */
} vlorpi_example_writer;

/* Adds one rendered text as one example, cut at max_length; dropped and counted when nothing of an
 * answer is left. */
VLORP_CHECKED vlorp_status vlorpi_example_writer_add(vlorpi_example_writer *writer, const vlorpi_rendered *rendered,
                                                     vlorp_err *err);

enum { VLORPI_STREAM_CHUNK_BYTES = 1 << 20 };

/* Adds a whole text as consecutive windows of max_length tokens that do not overlap; BOS as the
 * tokenizer has it, before the first token of the text only.  The text is encoded in chunks of about
 * chunk_bytes, cut where the tokens are the same as those of the whole. */
VLORP_CHECKED vlorp_status vlorpi_example_writer_add_stream(vlorpi_example_writer *writer, const char *text,
                                                            size_t n_bytes, size_t chunk_bytes, vlorp_err *err);

#endif
