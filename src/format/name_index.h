/* name_index.h - finds an entry of a file by its name, and tells when a name comes twice.
 *
 * Layer 2.  Borrows the names; knows nothing of what they name.
 */
#ifndef VLORPI_FORMAT_NAME_INDEX_H
#define VLORPI_FORMAT_NAME_INDEX_H

#include <stdbool.h>

#include "base/mem.h"

/* The longest name of a tensor or a key. */
enum { VLORPI_NAME_MAX_BYTES = 65535 };

typedef struct vlorpi_name_slot {
    const char *text; /* NULL: free */
    size_t n_bytes;
    int64_t item;
} vlorpi_name_slot;

typedef struct vlorpi_name_index {
    vlorpi_name_slot *slots;
    size_t n_slots; /* a power of two, at least twice the capacity */
} vlorpi_name_index;

/* Room for capacity names, which the caller has bounded.  Memory: DATA.
 * Owner: the caller, _deinit (a zeroed index is fine there). */
VLORP_CHECKED vlorp_status vlorpi_name_index_init(vlorpi_name_index *index, vlorpi_mem *mem, int64_t capacity,
                                                  vlorp_err *err);
void vlorpi_name_index_deinit(vlorpi_name_index *index, vlorpi_mem *mem);

/* false: the name is there already.  text is borrowed until _deinit. */
bool vlorpi_name_index_add(vlorpi_name_index *index, const char *text, size_t n_bytes, int64_t item);
/* The item of that name, or -1. */
int64_t vlorpi_name_index_find(const vlorpi_name_index *index, const char *text, size_t n_bytes);

/* Whether these bytes can be a name: not empty, not longer than the limit, no control characters
 * (a name is printed, and kept with a NUL after it). */
bool vlorpi_name_ok(const char *text, size_t n_bytes);

#endif
