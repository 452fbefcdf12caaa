#include "checkpoint/folder_entries.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

vlorp_status vlorpi_folder_each(const char *folder, vlorpi_folder_entry_fn *call, void *ctx, vlorp_err *err)
{
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        VLORP_FAIL(err, VLORP_E_IO, "%s: %s", folder, strerror(errno));
    }
    vlorp_status status = VLORP_OK;
    const struct dirent *entry;
    while (status == VLORP_OK && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            status = call(ctx, folder, entry->d_name, err);
        }
    }
    (void)closedir(dir);
    return status;
}
