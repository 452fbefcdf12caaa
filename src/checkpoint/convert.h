/* convert.h - a model in one form, read and written as a Hugging Face folder.
 *
 * Layer 5.
 */
#ifndef VLORPI_CHECKPOINT_CONVERT_H
#define VLORPI_CHECKPOINT_CONVERT_H

#include "base/mem.h"
#include "kernel/kernel.h"

/* dtype -1: as stored; quantised GGUF becomes bf16. */
typedef struct vlorpi_conversion {
    const char *model;  /* path of what is read */
    const char *folder; /* what is written */
    int dtype;          /* a vlorp_dtype, or -1 */
    bool overwrite;
    size_t shard_bytes; /* 0: VLORPI_CHECKPOINT_SHARD_BYTES */
    const vlorpi_kernels *kernels;
    const vlorp_exec *exec;
} vlorpi_conversion;

/* Memory: the whole model once, under WEIGHTS; everything is given back at the end.
 * *stored (NULL is allowed): the dtype that was written.  Errors: those of reading and of
 * vlorpi_checkpoint_save_model. */
VLORP_CHECKED vlorp_status vlorpi_convert(const vlorpi_conversion *conversion, vlorpi_mem *mem, vlorp_dtype *stored,
                                          vlorp_err *err);

#endif
