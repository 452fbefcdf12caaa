/* convert.h - a model in one form, read and written in another, or with another dtype.
 *
 * Layer 5.
 */
#ifndef VLORPI_CHECKPOINT_CONVERT_H
#define VLORPI_CHECKPOINT_CONVERT_H

#include <signal.h>

#include "base/mem.h"
#include "format/tensor_info.h"
#include "kernel/kernel.h"

typedef enum vlorpi_convert_to { VLORPI_CONVERT_TO_FOLDER, VLORPI_CONVERT_TO_GGUF } vlorpi_convert_to;

typedef struct vlorpi_conversion {
    const char *model;      /* path of what is read; an adapter's folder is merged with its base */
    const char *adapter;    /* an adapter's folder to merge; NULL: none */
    const char *out;        /* the folder or GGUF file that is written */
    vlorpi_convert_to to;   /* which of both */
    /* F32, BF16, F16, and for GGUF Q8_0; VLORPI_STORAGE_N: as stored, quantised GGUF as BF16 */
    vlorpi_storage storage;
    bool overwrite;
    size_t shard_bytes;     /* of a folder's files; 0: VLORPI_CHECKPOINT_SHARD_BYTES */
    const volatile sig_atomic_t *stop; /* not 0: give up, leaving nothing behind; NULL: no such wish */
    const vlorpi_kernels *kernels;
    const vlorp_exec *exec;
} vlorpi_conversion;

/* Memory: never the model, only chunks on their way (WORKSPACE), adapters (WEIGHTS) and, where the tokenizer must be
 * written anew, its tables (DATA); everything is given back at the end.
 * *stored: what matrices were written as.  Errors: those of reading and of saving; E_INTERRUPTED. */
VLORP_CHECKED vlorp_status vlorpi_convert(const vlorpi_conversion *conversion, vlorpi_mem *mem,
                                          vlorpi_storage *stored, vlorp_err *err);

#endif
