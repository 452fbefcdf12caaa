/* safetensors.h - one safetensors file, read and written.
 *
 * Layer 2.  Untrusted bytes in, validated index out.
 */
#ifndef VLORPI_FORMAT_SAFETENSORS_H
#define VLORPI_FORMAT_SAFETENSORS_H

#include <jansson.h>

#include "base/mem.h"
#include "format/tensor_info.h"

/* Limits: the header's as the reference implementation has it. */
enum { VLORPI_SAFETENSORS_MAX_HEADER_BYTES = 100000000, VLORPI_SAFETENSORS_MAX_TENSORS = 1 << 18 };

typedef struct vlorpi_safetensors vlorpi_safetensors; /* opaque */

/* Validates header length, JSON, names, shapes, dtypes, offsets (inside, equal to shape times type,
 * without overlap or gaps).  Bytes are borrowed until close; name is used in error texts.
 * Owner: the caller, vlorpi_safetensors_close.  Errors: E_FORMAT with tensor and place, E_NOMEM. */
VLORP_CHECKED vlorp_status vlorpi_safetensors_parse(vlorpi_safetensors **out, vlorpi_mem *mem,
                                                    const unsigned char *bytes, size_t n_bytes, const char *name,
                                                    vlorp_err *err);
/* Accepts NULL. */
void vlorpi_safetensors_close(vlorpi_safetensors *file);

int64_t vlorpi_safetensors_n_tensors(const vlorpi_safetensors *file);
const vlorpi_tensor_info *vlorpi_safetensors_tensor(const vlorpi_safetensors *file, int64_t i);

/* The table of strings under __metadata__, or NULL; borrowed. */
const json_t *vlorpi_safetensors_metadata(const vlorpi_safetensors *file);

/* The header of a file to be written, so that its size is known before anything is: tensors in
 * the given order, data back to back, padded with blanks to 8 bytes, metadata {"format":"pt"}.
 *   out NULL: only counts.  Returns the header's bytes, the 8 of its length included.
 *   Of each info name, storage (F32, F16, BF16), n_dims and shape are read. */
size_t vlorpi_safetensors_header(unsigned char *out, size_t out_bytes, const vlorpi_tensor_info *infos, int64_t n);

#endif
