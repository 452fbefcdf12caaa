/* inspect.h - what a model file holds: tensors, types, shapes, bytes, metadata.
 *
 * Layer 5.  Reads indices only, never weights.
 */
#ifndef VLORPI_CHECKPOINT_INSPECT_H
#define VLORPI_CHECKPOINT_INSPECT_H

#include <jansson.h>

#include "base/mem.h"

/* path: a model folder, a GGUF file, a config.json, or a single .safetensors file.
 * The report: {"path", "kind": "folder"|"gguf"|"config"|"safetensors",
 *   "files": [{"name", "bytes"}], "n_tensors", "total_parameters", "total_bytes",
 *   "storage": {TYPE: {"tensors", "parameters", "bytes"}}, "config": {...}, "metadata": {...},
 *   "tensors": [{"name", "storage", "shape", "bytes"}]}
 * config is there for folder and config, metadata (GGUF's keys, long values shortened; the strings
 * of safetensors) for the others.
 * Owner: the caller, json_decref.  Errors: those of opening the file, E_NOMEM. */
VLORP_CHECKED vlorp_status vlorpi_inspect(json_t **out, vlorpi_mem *mem, const char *path, vlorp_err *err);

#endif
