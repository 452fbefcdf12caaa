/* gguf.h - a GGUF file (versions 2 and 3) as metadata and tensors.
 *
 * Layer 2.  Untrusted bytes in, validated index out.  Knows the container; does not know what a
 * key or a tensor means.
 */
#ifndef VLORPI_FORMAT_GGUF_H
#define VLORPI_FORMAT_GGUF_H

#include <stdbool.h>

#include "base/mapped_file.h"
#include "base/mem.h"
#include "format/tensor_info.h"

/* Limits; a file beyond one gives E_LIMIT. */
enum {
    VLORPI_GGUF_MAX_KEYS = 1 << 16,
    VLORPI_GGUF_MAX_TENSORS = 1 << 18,
    VLORPI_GGUF_MAX_STRING_BYTES = 1 << 26
};

typedef struct vlorpi_gguf vlorpi_gguf; /* opaque */

/* A string in the file: not NUL-terminated, borrowed from the mapping. */
typedef struct vlorpi_bytes {
    const char *text;
    size_t n_bytes;
} vlorpi_bytes;

/* Validates everything once: magic, version, counts, lengths, types, alignment, offsets, overlap,
 * duplicate names.  Bytes are borrowed until close.  name is used in error texts.
 * Owner: the caller, vlorpi_gguf_close.  Errors: E_FORMAT with key or tensor and offset, E_NOMEM. */
VLORP_CHECKED vlorp_status vlorpi_gguf_parse(vlorpi_gguf **out, vlorpi_mem *mem, const unsigned char *bytes,
                                             size_t n_bytes, const char *name, vlorp_err *err);
/* Accepts NULL. */
void vlorpi_gguf_close(vlorpi_gguf *file);

int64_t vlorpi_gguf_n_tensors(const vlorpi_gguf *file);
const vlorpi_tensor_info *vlorpi_gguf_tensor(const vlorpi_gguf *file, int64_t i);

/* Metadata.  Each getter returns false when the key is absent or of another kind; integers of any
 * width and booleans are read as int64, floats of any width as double. */
bool vlorpi_gguf_has(const vlorpi_gguf *file, const char *key);
bool vlorpi_gguf_get_int(const vlorpi_gguf *file, const char *key, int64_t *out);
bool vlorpi_gguf_get_double(const vlorpi_gguf *file, const char *key, double *out);
bool vlorpi_gguf_get_string(const vlorpi_gguf *file, const char *key, vlorpi_bytes *out);
/* Arrays: number of elements, or -1.  Element i of a string, integer or float array. */
int64_t vlorpi_gguf_array_length(const vlorpi_gguf *file, const char *key);
bool vlorpi_gguf_array_string(const vlorpi_gguf *file, const char *key, int64_t i, vlorpi_bytes *out);
bool vlorpi_gguf_array_int(const vlorpi_gguf *file, const char *key, int64_t i, int64_t *out);
bool vlorpi_gguf_array_double(const vlorpi_gguf *file, const char *key, int64_t i, double *out);

/* Key i of n, in file order, for `inspect`; value_text is a short rendering, at most n bytes. */
int64_t vlorpi_gguf_n_keys(const vlorpi_gguf *file);
vlorpi_bytes vlorpi_gguf_key(const vlorpi_gguf *file, int64_t i);
void vlorpi_gguf_value_text(const vlorpi_gguf *file, int64_t i, char *text, size_t n_bytes);

#endif
