/* folder_entries.h - walking over what a folder holds.
 *
 * Layer 5.  Knows: names.  Does not know: what the files are for.
 */
#ifndef VLORPI_CHECKPOINT_FOLDER_ENTRIES_H
#define VLORPI_CHECKPOINT_FOLDER_ENTRIES_H

#include "base/status.h"

/* What to do with one entry of a folder. */
typedef vlorp_status vlorpi_folder_entry_fn(void *ctx, const char *folder, const char *name, vlorp_err *err);

/* Calls call for every entry but . and .., in the system's order, until one fails.
 * Errors: E_IO when the folder cannot be opened; whatever call returns. */
VLORP_CHECKED vlorp_status vlorpi_folder_each(const char *folder, vlorpi_folder_entry_fn *call, void *ctx,
                                              vlorp_err *err);

#endif
