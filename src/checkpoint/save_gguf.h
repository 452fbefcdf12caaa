/* save_gguf.h - writes a model as one GGUF file that llama.cpp loads.
 *
 * Layer 5.  Knows: parameters, GGUF, the tokenizer's metadata.  Does not know: training.
 *
 * The file appears whole or not at all.  Weights go through the saver's buffers, chunk by chunk.
 */
#ifndef VLORPI_CHECKPOINT_SAVE_GGUF_H
#define VLORPI_CHECKPOINT_SAVE_GGUF_H

#include "checkpoint/save.h"
#include "model/model.h"

typedef struct vlorpi_gguf_file {
    const vlorpi_model *shape; /* whose parameters are written */
    const char *path;
    const char *name;          /* of the model, for general.name */
    /* What matrices are stored as: F32, F16, BF16 or Q8_0.  A matrix whose rows are not whole blocks of
     * Q8_0 is stored as F16; norms and biases as F32 always. */
    vlorpi_storage storage;
} vlorpi_gguf_file;

/* Writes file->path with model's weights (model->params is the shape's table), configuration and
 * tokenizer; of model, dtype, source and shard_bytes are not used.
 * Errors: E_IO with path and reason (exists, too little space, disk full, ...), E_NUMERIC when a weight
 * does not fit, E_UNSUPPORTED when GGUF cannot hold the tokenizer.  After an error nothing is left behind
 * and nothing was replaced. */
VLORP_CHECKED vlorp_status vlorpi_checkpoint_save_gguf(const vlorpi_checkpoint_saver *saver,
                                                       const vlorpi_checkpoint_model *model,
                                                       const vlorpi_gguf_file *file, vlorp_err *err);

#endif
