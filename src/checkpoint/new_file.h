/* new_file.h - a GGUF file that appears whole or not at all.
 *
 * Layer 5.  Written beside its place under another name, then renamed.
 */
#ifndef VLORPI_CHECKPOINT_NEW_FILE_H
#define VLORPI_CHECKPOINT_NEW_FILE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

typedef struct vlorpi_new_file {
    int folder_fd;            /* the folder that holds the place */
    char folder[PATH_MAX];
    char place[PATH_MAX];     /* where it shall be */
    char path[PATH_MAX];      /* where it is being written */
    const char *name;         /* path's last part: the name inside the folder */
    bool overwrite;
} vlorpi_new_file;

/* Refuses a place that is taken, unless overwrite is true and a GGUF file or an empty file is there.
 * The caller creates folder_fd/name.  Errors: E_IO, nothing was made.  Then: _commit or _abandon. */
VLORP_CHECKED vlorp_status vlorpi_new_file_begin(vlorpi_new_file *file, const char *place, bool overwrite,
                                                 vlorp_err *err);
/* Puts the synced and closed file in its place; on an error nothing of it is left. */
VLORP_CHECKED vlorp_status vlorpi_new_file_commit(vlorpi_new_file *file, vlorp_err *err);
/* Removes what was written. */
void vlorpi_new_file_abandon(vlorpi_new_file *file);

#endif
