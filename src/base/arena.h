/* arena.h - one block cut in stack order; without a block it only counts.
 *
 * Layer 0.  The layout code of a module exists once: run over an arena with no memory it is the
 * plan, run over one with memory it hands out the pointers.  So plan and run cannot drift.
 */
#ifndef VLORPI_BASE_ARENA_H
#define VLORPI_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

typedef struct vlorpi_arena {
    unsigned char *base; /* NULL: counting only */
    size_t used_bytes;
    size_t peak_bytes;     /* the capacity that a real arena needs */
    size_t capacity_bytes; /* 0 when counting */
} vlorpi_arena;

/* A counting arena. */
vlorpi_arena vlorpi_arena_counter(void);

/* A real arena of n_bytes, one allocation booked under cls.  Owner: the caller, _deinit. */
VLORP_CHECKED vlorp_status vlorpi_arena_init(vlorpi_arena *arena, vlorpi_mem *mem, vlorpi_mem_class cls,
                                             size_t n_bytes, vlorp_err *err);
void vlorpi_arena_deinit(vlorpi_arena *arena, vlorpi_mem *mem);

/* n_items * item_bytes, 64-byte aligned, uninitialised.  NULL when counting or n_items is 0.
 * A product that overflows makes peak_bytes SIZE_MAX, which no allocation can satisfy.
 * Overrunning a real arena is a bug in the layout and is asserted. */
void *vlorpi_arena_push(vlorpi_arena *arena, int64_t n_items, size_t item_bytes);
float *vlorpi_arena_push_f32(vlorpi_arena *arena, int64_t n_items);

/* Stack order: everything pushed after mark is given back. */
size_t vlorpi_arena_mark(const vlorpi_arena *arena);
void vlorpi_arena_release(vlorpi_arena *arena, size_t mark);

#endif
