/* beside.h - what folders and files that appear whole or not at all have in common.
 *
 * Layer 5.  They are written beside their place under another name, on the same disk, then renamed.
 */
#ifndef VLORPI_CHECKPOINT_BESIDE_H
#define VLORPI_CHECKPOINT_BESIDE_H

#include <stddef.h>

#include "base/status.h"

/* A name beside the place; tag says what for. */
VLORP_CHECKED vlorp_status vlorpi_beside_name(char *out, size_t n_out, const char *place, const char *tag,
                                              int attempt, vlorp_err *err);
/* Whether n_bytes fit on the disk of the open folder fd, with something to spare. */
VLORP_CHECKED vlorp_status vlorpi_beside_check_space(int fd, const char *place, size_t n_bytes, vlorp_err *err);
/* The folder that holds the place: "." without a slash, "/" for the root's own entries. */
void vlorpi_beside_parent(char *out, size_t n_out, const char *place);
/* Syncs that folder, so that a rename lasts; not every file system can. */
void vlorpi_beside_sync(const char *place);

#endif
