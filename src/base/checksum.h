/* checksum.h - a running checksum against truncated, damaged and edited files.
 *
 * Layer 0.  FNV-1a over 64-bit words with a fold, so that it keeps up with a disk; it is
 * no defence against forgery.
 */
#ifndef VLORPI_BASE_CHECKSUM_H
#define VLORPI_BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Plain storage, filled by vlorpi_checksum_begin. */
typedef struct vlorpi_checksum {
    uint64_t hash;
    unsigned char tail[8]; /* bytes not yet in hash */
    size_t n_tail;
} vlorpi_checksum;

/* salt: sums that are themselves part of what is summed again must have another one, or they cancel. */
vlorpi_checksum vlorpi_checksum_begin(uint64_t salt);
/* How the bytes are divided among calls does not matter. */
void vlorpi_checksum_add(vlorpi_checksum *sum, const void *bytes, size_t n_bytes);
/* The value so far; a last word that is not full counts as filled with zeros. */
uint64_t vlorpi_checksum_value(const vlorpi_checksum *sum);

#endif
