/* tensor_info.h - what a weight file says of one tensor, after validation.
 *
 * Layer 2.  safetensors and gguf both yield these; nobody above asks which file it was.
 */
#ifndef VLORPI_FORMAT_TENSOR_INFO_H
#define VLORPI_FORMAT_TENSOR_INFO_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { VLORPI_TENSOR_MAX_DIMS = 4 };

/* How elements are stored.  Quantised types hold blocks along the last dimension. */
typedef enum vlorpi_storage {
    VLORPI_STORAGE_F32, VLORPI_STORAGE_F16, VLORPI_STORAGE_BF16,
    VLORPI_STORAGE_Q4_0, VLORPI_STORAGE_Q4_1, VLORPI_STORAGE_Q5_0, VLORPI_STORAGE_Q5_1,
    VLORPI_STORAGE_Q8_0, VLORPI_STORAGE_Q2_K, VLORPI_STORAGE_Q3_K, VLORPI_STORAGE_Q4_K, VLORPI_STORAGE_Q5_K,
    VLORPI_STORAGE_Q6_K,
    VLORPI_STORAGE_OTHER, /* valid in its file, not a weight type that we read: I64, IQ3_S, ... */
    VLORPI_STORAGE_N
} vlorpi_storage;

/* name, bytes: borrowed from the open file.  shape is outermost first (row-major), also for GGUF,
 * whose own order is the reverse.  bytes is the n_bytes that shape and storage need, inside the
 * mapping; it may be unaligned. */
typedef struct vlorpi_tensor_info {
    const char *name;
    vlorpi_storage storage;
    const char *storage_name; /* as the file spells it: F32, BF16, Q4_1 */
    int n_dims;
    int64_t shape[VLORPI_TENSOR_MAX_DIMS];
    int64_t n_elements;
    const unsigned char *bytes;
    size_t n_bytes;
} vlorpi_tensor_info;

/* Reads elements [begin, begin + n) in row-major order as fp32.  For quantised storage begin and n
 * must be multiples of the block (32, or 256 for the _K types; rows are).  E_UNSUPPORTED for OTHER. */
VLORP_CHECKED vlorp_status vlorpi_tensor_read_f32(float *out, const vlorpi_tensor_info *info, int64_t begin,
                                                  int64_t n, vlorp_err *err);

/* What to do about a tensor of OTHER storage, as the error's hint. */
void vlorpi_storage_hint(vlorp_err *err);

/* Elements per block and bytes per block: 1 and 4 for F32, 32 and 20 for Q4_1; 0 and 0 for OTHER. */
int64_t vlorpi_storage_block_elements(vlorpi_storage storage);
size_t vlorpi_storage_block_bytes(vlorpi_storage storage);

#endif
