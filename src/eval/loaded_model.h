/* loaded_model.h - a model with its tokenizer, read from disk and ready to run forward.
 *
 * Layer 5.  What perplexity and generation share; training lays its model out itself.
 */
#ifndef VLORPI_EVAL_LOADED_MODEL_H
#define VLORPI_EVAL_LOADED_MODEL_H

#include "model/lora.h"
#include "text/tokenizer.h"

/* Zero-initialised storage is closed.  Fields are read, not written, by others. */
typedef struct vlorpi_loaded_model {
    vlorpi_mem *mem; /* borrowed */
    vlorpi_peft *adapter; /* or NULL */
    vlorpi_source *source;
    vlorpi_tokenizer *tokenizer;
    vlorpi_model *model;
    vlorpi_model_config config;
    vlorp_dtype dtype; /* of the weights in memory */
    vlorpi_arena weights, activations, workspace;
} vlorpi_loaded_model;

/* Where the model runs; borrowed until close. */
typedef struct vlorpi_machine {
    vlorpi_mem *mem;
    const vlorpi_kernels *kernels;
    const vlorp_exec *exec;
} vlorpi_machine;

/* Reads tokenizer and weights; those of an adapter too where path is its folder.  dtype -1: as stored, but f16 becomes f32, so that nothing is lost.
 * Owner: the caller, _close; on an error there is nothing to close. */
VLORP_CHECKED vlorp_status vlorpi_loaded_model_open(vlorpi_loaded_model *loaded, const vlorpi_machine *machine,
                                                    const char *path, int dtype, vlorp_err *err);
/* The same with the adapter of a folder (NULL: none) applied to the model. */
VLORP_CHECKED vlorp_status vlorpi_loaded_model_open_adapted(vlorpi_loaded_model *loaded, const vlorpi_machine *machine,
                                                            const char *path, const char *adapter, int dtype,
                                                            vlorp_err *err);
/* Makes room for a usage, once. */
VLORP_CHECKED vlorp_status vlorpi_loaded_model_layout(vlorpi_loaded_model *loaded, const vlorpi_model_usage *usage,
                                                      vlorp_err *err);
void vlorpi_loaded_model_close(vlorpi_loaded_model *loaded);

#endif
