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

/* Refuses a place that is taken, unless overwrite is true and a model folder (one with config.json
 * or adapter_config.json) or an empty folder is there.  Errors: E_IO, nothing was made.  Then: _commit or _abandon. */
VLORP_CHECKED vlorp_status vlorpi_new_folder_begin(vlorpi_new_folder *folder, const char *place, bool overwrite,
                                                   vlorp_err *err);
/* Whether n_bytes fit on the disk, with something to spare. */
VLORP_CHECKED vlorp_status vlorpi_new_folder_check_space(const vlorpi_new_folder *folder, size_t n_bytes,
                                                         vlorp_err *err);
/* Gives the folder the file name of the folder `from` too: a hard link, or a copy through buffer [capacity] where the
 * file system has no links or another one holds `from`. */
VLORP_CHECKED vlorp_status vlorpi_new_folder_take(const vlorpi_new_folder *folder, const char *from, const char *name,
                                                  unsigned char *buffer, size_t capacity, vlorp_err *err);
/* Syncs and puts the folder in its place; on an error nothing of it is left.  Where the system can exchange two
 * folders the place is never empty in between. */
VLORP_CHECKED vlorp_status vlorpi_new_folder_commit(vlorpi_new_folder *folder, vlorp_err *err);
/* Removes what was written. */
void vlorpi_new_folder_abandon(vlorpi_new_folder *folder);

/* Removes from the folder parent what killed writers left: folders that were never put in their place, or
 * replaced and not yet removed.  Nobody else may be writing there. */
void vlorpi_new_folder_clean(const char *parent);
/* Removes a folder and what is in it, following no links.  Errors are ignored. */
void vlorpi_remove_tree(const char *path);

#endif
