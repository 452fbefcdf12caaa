/* new_folder.h - a folder that appears whole or not at all.
 *
 * Layer 5.  Written beside its place under another name, then renamed.
 */
#ifndef VLORPI_CHECKPOINT_NEW_FOLDER_H
#define VLORPI_CHECKPOINT_NEW_FOLDER_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

typedef struct vlorpi_new_folder {
    int fd;                  /* of the folder being written */
    char place[PATH_MAX];    /* where it shall be, without a slash at the end */
    char path[PATH_MAX];     /* where it is being written */
    bool overwrite;
} vlorpi_new_folder;

/* Refuses a place that is taken, unless overwrite is true and a model folder (one with config.json)
 * or an empty folder is there.  Errors: E_IO, nothing was made.  Then: _commit or _abandon. */
VLORP_CHECKED vlorp_status vlorpi_new_folder_begin(vlorpi_new_folder *folder, const char *place, bool overwrite,
                                                   vlorp_err *err);
/* Whether n_bytes fit on the disk, with something to spare. */
VLORP_CHECKED vlorp_status vlorpi_new_folder_check_space(const vlorpi_new_folder *folder, size_t n_bytes,
                                                         vlorp_err *err);
/* Syncs and puts the folder in its place; on an error nothing of it is left. */
VLORP_CHECKED vlorp_status vlorpi_new_folder_commit(vlorpi_new_folder *folder, vlorp_err *err);
/* Removes what was written. */
void vlorpi_new_folder_abandon(vlorpi_new_folder *folder);

#endif
