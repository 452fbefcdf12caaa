/* walk_tensor.h - touches what a parser promised of one tensor. */
#ifndef VLORP_TESTS_WALK_TENSOR_H
#define VLORP_TESTS_WALK_TENSOR_H

#include <string.h>

#include "format/tensor_info.h"
#include "fuzz_target.h"

/* Its bytes lie inside the file, the first and the last can be read, and so can a block of values. */
static inline void walk_tensor(const vlorpi_tensor_info *info, const uint8_t *file, size_t n_file)
{
    enum { LARGEST_BLOCK = 256 };
    float values[LARGEST_BLOCK];
    volatile unsigned char touched = 0;
    FUZZ_EXPECT(info->name != NULL && strlen(info->name) > 0);
    FUZZ_EXPECT(info->n_elements >= 0 && info->n_dims >= 0 && info->n_dims <= VLORPI_TENSOR_MAX_DIMS);
    FUZZ_EXPECT(info->bytes >= file && info->n_bytes <= n_file && info->bytes + info->n_bytes <= file + n_file);
    if (info->n_bytes > 0) {
        touched = info->bytes[0];
        touched = info->bytes[info->n_bytes - 1];
    }
    (void)touched;
    int64_t block = vlorpi_storage_block_elements(info->storage);
    if (block > 0 && info->n_elements >= block) {
        FUZZ_EXPECT(vlorpi_tensor_read_f32(values, info, info->n_elements - block, block, NULL) == VLORP_OK);
    }
}

#endif
