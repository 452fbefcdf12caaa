/* save.h - writes a model as a Hugging Face folder that transformers loads.
 *
 * Layer 5.  Knows: parameters, safetensors, the files beside the weights.  Does not know: training.
 *
 * The folder appears whole or not at all: it is written beside its place under another name, synced,
 * and renamed.  What a save needs of memory is laid out beforehand, so that the end of a training
 * run brings no new peak: weights, and the files of a folder source, are written without allocating.
 * (For a GGUF source the tokenizer and config.json are built as JSON, booked under DATA meanwhile.)
 */
#ifndef VLORPI_CHECKPOINT_SAVE_H
#define VLORPI_CHECKPOINT_SAVE_H

#include "base/arena.h"
#include "checkpoint/checksums.h"
#include "format/source.h"
#include "kernel/kernel.h"
#include "model/config.h"
#include "model/model.h"
#include "param/param.h"
#include "text/tokenizer.h"

/* A larger model is split in files of at most this many bytes of tensors, as transformers does. */
#define VLORPI_CHECKPOINT_SHARD_BYTES ((size_t)5000000000)

/* The buffers of a save.  Plain storage, filled by the layout; pointers are the arena's. */
typedef struct vlorpi_checkpoint_saver {
    float *scratch;            /* a chunk as fp32 */
    unsigned char *chunk;      /* a chunk as stored; text on its way to a file */
    unsigned char *header;
    size_t header_bytes;
    vlorpi_tensor_info *infos; /* [n_params] of the table */
    int n_params; /* at most */
} vlorpi_checkpoint_saver;

/* Lays out everything that saving this table needs, and another one, one at a time (NULL: none).  WORKSPACE is the
 * class to book it under. */
void vlorpi_checkpoint_layout(vlorpi_checkpoint_saver *saver, vlorpi_arena *arena, const vlorpi_params *params,
                              const vlorpi_params *other);

/* Reads elements [begin, begin + n) of parameter param as fp32, from wherever it is; begin and n are
 * multiples of 256 or end with a row. */
typedef vlorp_status vlorpi_checkpoint_read(void *ctx, float *out, int param, int64_t begin, int64_t n,
                                            vlorp_err *err);

/* What is saved.  All is borrowed for the call. */
typedef struct vlorpi_checkpoint_model {
    const vlorpi_params *params;       /* a table that was laid out; with memory unless read is there */
    vlorpi_checkpoint_read *read;      /* NULL: the weights are in params */
    void *read_ctx;
    const vlorpi_model *merged;        /* the adapters of this model, whose own table params is, go into the weights; NULL: none */
    vlorp_dtype dtype;                 /* as it shall be stored */
    const vlorpi_model_config *config;
    const vlorpi_source *source;       /* where the other files come from */
    const vlorpi_tokenizer *tokenizer; /* its special ids, and its files when the source is GGUF; or NULL */
    const vlorpi_kernels *kernels;
    const char *stem;                  /* of the weights' files; NULL: "model" */
    size_t shard_bytes;                /* 0: VLORPI_CHECKPOINT_SHARD_BYTES */
    bool overwrite;                    /* replace a model folder that is there; it stays until the new one is whole */
} vlorpi_checkpoint_model;

/* Writes folder: model.safetensors (or shards and their index), config.json, and
 *   from a folder source every file that holds no weights, unchanged (config.json with the stored
 *   dtype); from a lone config.json the tokenizer's files beside it; from GGUF tokenizer.json,
 *   tokenizer_config.json and generation_config.json, made from its metadata.
 * Errors: E_IO with path and reason (folder exists, too little space, disk full, ...), E_NUMERIC
 * when a weight does not fit float16, E_STATE for GGUF without a tokenizer.  After an error nothing
 * is left behind and nothing was replaced. */
VLORP_CHECKED vlorp_status vlorpi_checkpoint_save_model(const vlorpi_checkpoint_saver *saver,
                                                        const vlorpi_checkpoint_model *model, const char *folder,
                                                        vlorp_err *err);

/* Whether such a save can begin: the place is free, can be written and has the space.  For the start
 * of a run, and before a long conversion; nothing stays behind.  saver may come from a counting
 * arena, params may be without memory.  Errors: the same. */
VLORP_CHECKED vlorp_status vlorpi_checkpoint_check(const vlorpi_checkpoint_saver *saver,
                                                   const vlorpi_checkpoint_model *model, const char *folder,
                                                   vlorp_err *err);

/* The weights and the index of their shards alone, into a folder that is being made; each file goes to sums (NULL is
 * allowed).  Allocates nothing.  The other files: vlorpi_companions_write. */
VLORP_CHECKED vlorp_status vlorpi_checkpoint_write_weights(const vlorpi_checkpoint_saver *saver,
                                                           const vlorpi_checkpoint_model *model,
                                                           const vlorpi_new_folder *folder, vlorpi_checksums *sums,
                                                           vlorp_err *err);
/* Bytes that weights and companions take on disk, as an upper estimate. */
VLORP_CHECKED vlorp_status vlorpi_checkpoint_bytes(size_t *n_bytes, const vlorpi_checkpoint_saver *saver,
                                                   const vlorpi_checkpoint_model *model, vlorp_err *err);

/* How a dtype is spelled and stored: "float32", "bfloat16", "float16" as config.json has them. */
const char *vlorpi_checkpoint_dtype_name(vlorp_dtype dtype);
vlorpi_storage vlorpi_checkpoint_storage(vlorp_dtype dtype);

#endif
