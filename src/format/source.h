/* source.h - a model on disk, whatever its form: a folder, a GGUF file, a safetensors file.
 *
 * Layer 2.  Opens and maps the files, unites shards, finds tensors by name.  Does not know what a
 * tensor means, nor the names that other layers map to.
 */
#ifndef VLORPI_FORMAT_SOURCE_H
#define VLORPI_FORMAT_SOURCE_H

#include <jansson.h>

#include "base/mem.h"
#include "format/gguf.h"
#include "format/tensor_info.h"

typedef enum vlorpi_source_kind {
    VLORPI_SOURCE_FOLDER, /* Hugging Face: config.json, model.safetensors or its shards with their index */
    VLORPI_SOURCE_GGUF,
    VLORPI_SOURCE_CONFIG  /* a config.json alone: no tensors (plan, --init random) */
} vlorpi_source_kind;

/* The most shards that an index may name. */
enum { VLORPI_SOURCE_MAX_SHARDS = 1024 };

typedef struct vlorpi_source vlorpi_source; /* opaque */

/* path: a folder, a .gguf file or a config.json.  A folder without weights opens with no tensors
 * when need_weights is false.  A folder with only pytorch_model.bin, and a path that is none of
 * these, give one error with the remedy as hint.
 * Owner: the caller, vlorpi_source_close. */
VLORP_CHECKED vlorp_status vlorpi_source_open(vlorpi_source **out, vlorpi_mem *mem, const char *path,
                                              int need_weights, vlorp_err *err);
/* The same for the text of a config.json that is in no file; name stands for its path.  Kind CONFIG. */
VLORP_CHECKED vlorp_status vlorpi_source_open_text(vlorpi_source **out, vlorpi_mem *mem, const char *name,
                                                   const char *text, vlorp_err *err);
/* Accepts NULL. */
void vlorpi_source_close(vlorpi_source *source);

vlorpi_source_kind vlorpi_source_kind_of(const vlorpi_source *source);
const char *vlorpi_source_path(const vlorpi_source *source);
/* The file's metadata when kind is GGUF, else NULL. */
const vlorpi_gguf *vlorpi_source_gguf(const vlorpi_source *source);
/* The parsed config.json when kind is FOLDER or CONFIG, else NULL; borrowed. */
const json_t *vlorpi_source_config(const vlorpi_source *source);

int64_t vlorpi_source_n_tensors(const vlorpi_source *source);
const vlorpi_tensor_info *vlorpi_source_tensor(const vlorpi_source *source, int64_t i);
/* By name, or NULL. */
const vlorpi_tensor_info *vlorpi_source_find(const vlorpi_source *source, const char *name);
/* Lets the system forget a tensor's pages after they were read. */
void vlorpi_source_drop(const vlorpi_source *source, const vlorpi_tensor_info *info);
/* Gives the mapped files back when their tensors will not be read again, so that a file that is removed frees its disk;
 * what was parsed stays, tensors' bytes do not.  Folders only. */
void vlorpi_source_unmap(vlorpi_source *source);
/* Bytes of all files that were mapped, which the account reports apart. */
size_t vlorpi_source_mapped_bytes(const vlorpi_source *source);

/* The weight files, shards in the order of the index; *n_bytes is file i's size.  Borrowed: the
 * name inside the folder, or the path of a GGUF file. */
int vlorpi_source_n_files(const vlorpi_source *source);
const char *vlorpi_source_file(const vlorpi_source *source, int i, size_t *n_bytes);

#endif
