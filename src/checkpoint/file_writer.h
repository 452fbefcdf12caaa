/* file_writer.h - one new file inside a folder that is being written.
 *
 * Layer 5.  Buffers small pieces, writes large ones through, syncs at the end.  What was written is
 * not kept in the system's cache: a large model would fill it.
 */
#ifndef VLORPI_CHECKPOINT_FILE_WRITER_H
#define VLORPI_CHECKPOINT_FILE_WRITER_H

#include <stddef.h>

#include "base/checksum.h"
#include "base/status.h"

/* Of the checksums of files: the optimizer's state ends with one of its own. */
#define VLORPI_FILE_SALT 0x9E3779B97F4A7C15u

typedef struct vlorpi_file_writer {
    int fd;
    const char *folder, *name; /* for error texts */
    unsigned char *buffer;     /* borrowed */
    size_t n, capacity;        /* of buffer */
    uint64_t n_bytes;          /* put so far, and their checksum; both stay readable after close */
    vlorpi_checksum sum;
    uint64_t n_cached;         /* written since the cache was last emptied */
} vlorpi_file_writer;

/* Creates folder_fd/name, which must not exist.  folder is its name for error texts; buffer is
 * borrowed until close.  Owner: the caller, _close in every case. */
VLORP_CHECKED vlorp_status vlorpi_file_writer_open(vlorpi_file_writer *writer, int folder_fd, const char *folder,
                                                   const char *name, unsigned char *buffer, size_t capacity,
                                                   vlorp_err *err);
VLORP_CHECKED vlorp_status vlorpi_file_writer_put(vlorpi_file_writer *writer, const void *bytes, size_t n_bytes,
                                                  vlorp_err *err);
VLORP_CHECKED vlorp_status vlorpi_file_writer_put_text(vlorpi_file_writer *writer, const char *text, vlorp_err *err);

/* Writes out, syncs and closes.  status: what happened so far; when it is an error the file is only
 * closed.  Returns the first error. */
VLORP_CHECKED vlorp_status vlorpi_file_writer_close(vlorpi_file_writer *writer, vlorp_status status, vlorp_err *err);

#endif
