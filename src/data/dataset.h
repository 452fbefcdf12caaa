/* dataset.h - examples as token ids with a mask, in an order fixed by the seed, packed in batches.
 *
 * Layer 4.  Knows: files, record forms, prompt templates, the tokenizer.  Does not know: the model.
 */
#ifndef VLORPI_DATA_DATASET_H
#define VLORPI_DATA_DATASET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "base/mem.h"
#include "text/tokenizer.h"

typedef struct vlorpi_dataset vlorpi_dataset; /* opaque: tokenised examples, memory under DATA */

typedef struct vlorpi_dataset_config {
    const char *what;       /* commonsense, mmlu, gsm8k, or a file */
    const char *data_dir;   /* where built-in names are looked for; NULL: only files */
    int64_t max_length;     /* tokens per example; longer ones are cut at the end */
    bool train_on_prompts;  /* also predict the prompt's tokens */
} vlorpi_dataset_config;

/* What happened while reading; printed by the program. */
typedef struct vlorpi_dataset_report {
    char form[64];            /* alpaca, qa, text, ... */
    char columns[256];        /* the columns that were detected */
    int64_t n_records;        /* read */
    int64_t n_examples;       /* kept */
    int64_t n_truncated;      /* cut at max_length, kept */
    int64_t n_without_target; /* dropped: nothing left to predict */
    int64_t n_tokens;         /* of kept examples */
    int64_t n_targets;        /* tokens to be predicted */
    int64_t longest;          /* tokens of the longest kept example */
    int64_t n_not_utf8;       /* places of plain text that were read as U+FFFD; in records they are errors */
    int64_t n_files;
    char first_file[256];     /* the path of the first of n_files */
} vlorpi_dataset_report;

/* Reads and tokenises everything once.  Owner: the caller, vlorpi_dataset_free.
 * Errors: E_IO, E_FORMAT naming file, line and the fields wanted; E_UNSUPPORTED for Parquet with the
 * converting line as hint; E_ARG for a built-in name that data_dir does not hold. */
VLORP_CHECKED vlorp_status vlorpi_dataset_open(vlorpi_dataset **out, vlorpi_dataset_report *report, vlorpi_mem *mem,
                                               const vlorpi_tokenizer *tokenizer,
                                               const vlorpi_dataset_config *config, vlorp_err *err);
/* Accepts NULL. */
void vlorpi_dataset_free(vlorpi_dataset *dataset);

/* Takes n_held examples, 1 <= n_held < n_examples, chosen by seed, out of dataset into *held (memory:
 * 4 bytes per example, the tokens stay shared with dataset, which must outlive it).
 * Errors: E_ARG, E_NOMEM; dataset is then unchanged. */
VLORP_CHECKED vlorp_status vlorpi_dataset_hold_out(vlorpi_dataset *dataset, vlorpi_dataset **held, int64_t n_held,
                                                   uint64_t seed, vlorp_err *err);

int64_t vlorpi_dataset_n_examples(const vlorpi_dataset *dataset);
/* Of all tokens and masks, example by example: the same data tells itself by it. */
uint64_t vlorpi_dataset_checksum(const vlorpi_dataset *dataset);

/* One example; borrowed.  codes[t] is the token's id, or ~id for a token that is not to be predicted:
 * the mask costs no memory.  Which tokens are to be predicted: data/example_writer.h. */
typedef struct vlorpi_example {
    const int32_t *codes; /* [n_tokens] */
    int64_t n_tokens;
} vlorpi_example;
vlorpi_example vlorpi_dataset_example(const vlorpi_dataset *dataset, int64_t i);
/* The id at position t, and the id to be predicted there (that of t + 1) or -1. */
int32_t vlorpi_example_id(const vlorpi_example *example, int64_t t);
int32_t vlorpi_example_target(const vlorpi_example *example, int64_t t);

/* The example that stands at place `index` of the endless training stream: epoch index /
 * n_examples, shuffled anew each epoch by (seed, epoch) through Philox.  No state to save.  The set
 * must not be empty. */
int64_t vlorpi_dataset_stream(const vlorpi_dataset *dataset, uint64_t seed, int64_t index);

#endif
