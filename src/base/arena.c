#include "base/arena.h"

#include <assert.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

enum { ALIGNMENT = 64 };

vlorpi_arena vlorpi_arena_counter(void)
{
    return (vlorpi_arena){0};
}

vlorp_status vlorpi_arena_init(vlorpi_arena *arena, vlorpi_mem *mem, vlorpi_mem_class cls, size_t n_bytes,
                               vlorp_err *err)
{
    *arena = (vlorpi_arena){0};
    arena->base = vlorpi_mem_alloc(mem, cls, n_bytes);
    if (arena->base == NULL) {
        return vlorpi_mem_fail(mem, cls, n_bytes, err);
    }
    arena->capacity_bytes = n_bytes;
    ASAN_POISON_MEMORY_REGION(arena->base, n_bytes);
    return VLORP_OK;
}

void vlorpi_arena_deinit(vlorpi_arena *arena, vlorpi_mem *mem)
{
    if (arena->base != NULL) {
        ASAN_UNPOISON_MEMORY_REGION(arena->base, arena->capacity_bytes);
        vlorpi_mem_free(mem, arena->base);
    }
    *arena = (vlorpi_arena){0};
}

void *vlorpi_arena_push(vlorpi_arena *arena, int64_t n_items, size_t item_bytes)
{
    assert(n_items >= 0);
    if (n_items == 0 || item_bytes == 0) {
        return NULL;
    }
    size_t room = SIZE_MAX - ALIGNMENT - arena->used_bytes;
    if (arena->used_bytes > SIZE_MAX - ALIGNMENT || (size_t)n_items > room / item_bytes) {
        arena->used_bytes = SIZE_MAX;
        arena->peak_bytes = SIZE_MAX;
        return NULL;
    }
    size_t n_bytes = (size_t)n_items * item_bytes;
    size_t at = arena->used_bytes;
    arena->used_bytes += (n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (arena->used_bytes > arena->peak_bytes) {
        arena->peak_bytes = arena->used_bytes;
    }
    if (arena->base == NULL) {
        return NULL;
    }
    assert(arena->used_bytes <= arena->capacity_bytes);
    /* The padding up to the next 64 bytes stays poisoned: a small red zone between rows. */
    ASAN_UNPOISON_MEMORY_REGION(arena->base + at, n_bytes);
    return arena->base + at;
}

float *vlorpi_arena_push_f32(vlorpi_arena *arena, int64_t n_items)
{
    return vlorpi_arena_push(arena, n_items, sizeof(float));
}

size_t vlorpi_arena_mark(const vlorpi_arena *arena)
{
    return arena->used_bytes;
}

void vlorpi_arena_release(vlorpi_arena *arena, size_t mark)
{
    assert(mark <= arena->used_bytes);
    if (arena->base != NULL) {
        ASAN_POISON_MEMORY_REGION(arena->base + mark, arena->used_bytes - mark);
    }
    arena->used_bytes = mark;
}
