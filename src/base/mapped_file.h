/* mapped_file.h - a whole file as read-only bytes.
 *
 * Layer 0.  Mapped pages are the system's cache, not our memory: the account reports them apart.
 */
#ifndef VLORPI_BASE_MAPPED_FILE_H
#define VLORPI_BASE_MAPPED_FILE_H

#include <stddef.h>

#include "base/status.h"

typedef struct vlorpi_mapped_file {
    const unsigned char *bytes; /* NULL when n_bytes is 0 */
    size_t n_bytes;
} vlorpi_mapped_file;

/* Owner: the caller, vlorpi_mapped_file_close.  Errors: E_IO with path and reason. */
VLORP_CHECKED vlorp_status vlorpi_mapped_file_open(vlorpi_mapped_file *file, const char *path, vlorp_err *err);
void vlorpi_mapped_file_close(vlorpi_mapped_file *file);

/* Tells the system that a range was read and will not be needed again. */
void vlorpi_mapped_file_drop(const vlorpi_mapped_file *file, size_t offset, size_t n_bytes);

#endif
