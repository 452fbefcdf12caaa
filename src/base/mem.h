/* mem.h - the memory account: every byte that vlorp allocates is booked here under a class.
 *
 * Layer 0.  Knows: the system allocator.  Does not know: what a class's bytes mean.
 *
 * When the total reaches a new peak the account copies the figures of all classes and the phase;
 * that copy is what reports show ("alive at the worst moment").  The peaks of single classes are
 * never added.
 */
#ifndef VLORPI_BASE_MEM_H
#define VLORPI_BASE_MEM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vlorp/exec.h>

#include "base/status.h"

typedef enum vlorpi_mem_class {
    VLORPI_MEM_WEIGHTS,        /* parameters in anonymous memory */
    VLORPI_MEM_GRADS,          /* S, exact gradients, the transient G */
    VLORPI_MEM_OPT_STATE,      /* moments, row and column sums */
    VLORPI_MEM_PROJECTION,     /* stored bases */
    VLORPI_MEM_ACTIVATIONS,    /* kept from forward for backward, and their gradients */
    VLORPI_MEM_WORKSPACE,      /* kernel and per-thread scratch, packing and file buffers */
    VLORPI_MEM_DATA,           /* tokenizer tables, data set, batches */
    VLORPI_MEM_COMM,           /* buffers of the ranks */
    VLORPI_MEM_OTHER,          /* everything else; its growth fails review */
    VLORPI_MEM_N_CLASSES
} vlorpi_mem_class;

typedef struct vlorpi_mem_usage {
    size_t bytes[VLORPI_MEM_N_CLASSES];
    size_t total_bytes;
} vlorpi_mem_usage;

/* The account itself.  Plain storage: vlorpi_mem_init before use; fields are read through calls. */
typedef struct vlorpi_mem {
    atomic_flag lock;
    vlorpi_mem_usage now;
    vlorpi_mem_usage at_peak;      /* all classes at the moment of the total's peak */
    const char *phase;             /* borrowed string: load, forward, ... */
    const char *phase_at_peak;
    uint64_t n_allocations;        /* since init; the steady-state test watches it */
    size_t limit_bytes;            /* 0: none */
    uint64_t fail_at;              /* tests: the fail_at-th allocation from now fails; 0: never */
} vlorpi_mem;

void vlorpi_mem_init(vlorpi_mem *mem);

/* 64-byte aligned, uninitialised; NULL when the system, the limit or the test says no.  n_bytes 0
 * gives a valid pointer.  vlorpi_mem_footprint(n_bytes) bytes are booked under cls.
 * Threads: any. */
void *vlorpi_mem_alloc(vlorpi_mem *mem, vlorpi_mem_class cls, size_t n_bytes);
void *vlorpi_mem_calloc(vlorpi_mem *mem, vlorpi_mem_class cls, size_t n_items, size_t item_bytes);
/* Grows or shrinks; NULL leaves the old block as it was.  memory NULL allocates. */
void *vlorpi_mem_realloc(vlorpi_mem *mem, vlorpi_mem_class cls, void *memory, size_t n_bytes);
/* Room for n items in a growing array.  array is the address of the pointer to its block (that is NULL: none yet), which
 * stays where it is if it has the room, else moves to one half as large again, so that adding takes constant time on average.
 * Errors: vlorpi_mem_fail's; the block is then as it was. */
VLORP_CHECKED vlorp_status vlorpi_mem_room(vlorpi_mem *mem, vlorpi_mem_class cls, void *array, size_t n_items,
                                           size_t item_bytes, vlorp_err *err);
char *vlorpi_mem_strdup(vlorpi_mem *mem, vlorpi_mem_class cls, const char *text);
/* Accepts NULL. */
void vlorpi_mem_free(vlorpi_mem *mem, void *memory);

/* Books or unbooks bytes that the caller allocates itself (a library's small blocks).  false: the
 * limit or the test says no, and nothing was booked. */
bool vlorpi_mem_book(vlorpi_mem *mem, vlorpi_mem_class cls, size_t n_bytes);
void vlorpi_mem_unbook(vlorpi_mem *mem, vlorpi_mem_class cls, size_t n_bytes);

/* What an allocation of n_bytes books: the bytes, rounded up to 64, and a header of 64. */
size_t vlorpi_mem_footprint(size_t n_bytes);

/* Makes E_NOMEM or E_LIMIT text for an allocation that just returned NULL. */
vlorp_status vlorpi_mem_fail(const vlorpi_mem *mem, vlorpi_mem_class cls, size_t n_bytes, vlorp_err *err);

/* Names what the program is doing, for the report.  phase must outlive the account. */
void vlorpi_mem_set_phase(vlorpi_mem *mem, const char *phase);

vlorpi_mem_usage vlorpi_mem_now(vlorpi_mem *mem);
vlorpi_mem_usage vlorpi_mem_peak(vlorpi_mem *mem);

/* "weights", "gradients", "optimizer_state", "activations", "workspace", "data": the six classes
 * that users see; finer ones are summed into them. */
typedef enum vlorpi_mem_row {
    VLORPI_ROW_WEIGHTS, VLORPI_ROW_GRADIENTS, VLORPI_ROW_OPTIMIZER_STATE, VLORPI_ROW_ACTIVATIONS,
    VLORPI_ROW_WORKSPACE, VLORPI_ROW_DATA, VLORPI_ROW_N
} vlorpi_mem_row;
const char *vlorpi_mem_row_name(vlorpi_mem_row row);
vlorpi_mem_row vlorpi_mem_row_of(vlorpi_mem_class cls);
size_t vlorpi_mem_row_bytes(const vlorpi_mem_usage *usage, vlorpi_mem_row row);

/* An allocator for libvlorp's handle that books into this account.  Borrows mem. */
vlorp_allocator vlorpi_mem_allocator(vlorpi_mem *mem);

#endif
