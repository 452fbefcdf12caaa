/* peft.h - a LoRA adapter as a folder that the library PEFT writes and reads: adapter_config.json and
 * adapter_model.safetensors.
 *
 * Layer 4.  Knows the folder's form; which model it fits is found out by vlorpi_model_add_lora.
 */
#ifndef VLORPI_MODEL_PEFT_H
#define VLORPI_MODEL_PEFT_H

#include <jansson.h>
#include <stdbool.h>

#include "base/mem.h"
#include "format/tensor_info.h"

#define VLORPI_PEFT_CONFIG "adapter_config.json"
#define VLORPI_PEFT_WEIGHTS "adapter_model.safetensors"

/* What an adapter is, besides its numbers. */
typedef struct vlorpi_lora {
    int64_t rank;
    double alpha;
    double dropout;   /* in [0, 1): of the adapter's input, in passes with a sink alone */
    bool rank_scaled; /* s = alpha / sqrt(rank), as PEFT's use_rslora has it */
} vlorpi_lora;

typedef struct vlorpi_peft vlorpi_peft; /* opaque: an open folder */

/* Whether the path is a folder with an adapter_config.json. */
bool vlorpi_peft_is_folder(const char *path);

/* Owner: the caller, vlorpi_peft_close.  Errors: E_IO, E_FORMAT, E_UNSUPPORTED for what PEFT can do and we cannot, by
 * the field's name. */
VLORP_CHECKED vlorp_status vlorpi_peft_open(vlorpi_peft **out, vlorpi_mem *mem, const char *folder, vlorp_err *err);
/* Accepts NULL. */
void vlorpi_peft_close(vlorpi_peft *peft);

/* What is meant by a model's path and a folder given apart (NULL: none): *base is the model's path, *peft the
 * adapter, or NULL.  A path that is an adapter's folder names its base itself.
 * *base is borrowed from model or *peft.  Errors: those of opening; E_IO when the base is not there. */
VLORP_CHECKED vlorp_status vlorpi_peft_resolve(vlorpi_peft **peft, const char **base, vlorpi_mem *mem,
                                               const char *model, const char *adapter, vlorp_err *err);

vlorpi_lora vlorpi_peft_lora(const vlorpi_peft *peft);
const char *vlorpi_peft_folder(const vlorpi_peft *peft);
/* The parsed adapter_config.json; borrowed. */
const json_t *vlorpi_peft_config(const vlorpi_peft *peft);
int64_t vlorpi_peft_n_tensors(const vlorpi_peft *peft);
const vlorpi_tensor_info *vlorpi_peft_tensor(const vlorpi_peft *peft, int64_t i);
/* By name, or NULL. */
const vlorpi_tensor_info *vlorpi_peft_find(const vlorpi_peft *peft, const char *name);
/* Gives the mapped file back; what was parsed stays, tensors' bytes do not. */
void vlorpi_peft_unmap(vlorpi_peft *peft);

#endif
