#include "base/allocator.h"

#include <stdlib.h>

static void *libc_alloc(void *ctx, vlorp_memory_class cls, size_t n_bytes)
{
    (void)ctx;
    (void)cls;
    size_t rounded = n_bytes > SIZE_MAX - 63 ? n_bytes : (n_bytes + 63) / 64 * 64;
    return aligned_alloc(64, rounded > 0 ? rounded : 64);
}

static void libc_free(void *ctx, void *memory)
{
    (void)ctx;
    free(memory);
}

vlorp_allocator vlorpi_allocator_or_libc(const vlorp_allocator *allocator)
{
    if (allocator->alloc != NULL) {
        return *allocator;
    }
    return (vlorp_allocator){.alloc = libc_alloc, .free = libc_free, .ctx = NULL};
}
