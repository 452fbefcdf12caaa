/* checksums.h - the files of a checkpoint with their sizes and checksums, so that a file that was cut or edited is
 * found and named.
 *
 * Layer 5.  A text: "vlorp checkpoint 1", a line "CHECKSUM BYTES NAME" per file, and at the end the
 * checksum of all lines before it.
 */
#ifndef VLORPI_CHECKPOINT_CHECKSUMS_H
#define VLORPI_CHECKPOINT_CHECKSUMS_H

#include "base/mem.h"
#include "checkpoint/file_writer.h"
#include "checkpoint/new_folder.h"

/* Files whose names begin so belong to a checkpoint of training and to no model. */
#define VLORPI_STATE_PREFIX "vlorp_"
#define VLORPI_CHECKSUMS_NAME VLORPI_STATE_PREFIX "checksums"

/* A list being written.  Plain storage. */
typedef struct vlorpi_checksums {
    vlorpi_file_writer writer;
} vlorpi_checksums;

/* Begins the list in a folder that is being made.  Owner: the caller, _close in every case. */
VLORP_CHECKED vlorp_status vlorpi_checksums_open(vlorpi_checksums *list, const vlorpi_new_folder *folder,
                                                 vlorp_err *err);
/* Appends a file that was written and closed.  list NULL: nothing is done. */
VLORP_CHECKED vlorp_status vlorpi_checksums_add(vlorpi_checksums *list, const vlorpi_file_writer *file, vlorp_err *err);
/* Appends a file that lies in the list's folder already, read through buffer [capacity]. */
VLORP_CHECKED vlorp_status vlorpi_checksums_add_existing(vlorpi_checksums *list, const vlorpi_new_folder *folder,
                                                         const char *name, unsigned char *buffer, size_t capacity,
                                                         vlorp_err *err);
/* Ends the list.  status: what happened so far; returns the first error. */
VLORP_CHECKED vlorp_status vlorpi_checksums_close(vlorpi_checksums *list, vlorp_status status, vlorp_err *err);

/* Reads every listed file of folder once (only NULL), or the list and that file, through a small buffer (WORKSPACE of mem, given back), and
 * compares.  Errors: E_IO, E_FORMAT naming the file that is missing, cut or changed. */
VLORP_CHECKED vlorp_status vlorpi_checksums_verify(const char *folder, const char *only, vlorpi_mem *mem, vlorp_err *err);

#endif
