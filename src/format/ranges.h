/* ranges.h - byte ranges of tensors inside a file: in order, and without overlap.
 *
 * Layer 2.
 */
#ifndef VLORPI_FORMAT_RANGES_H
#define VLORPI_FORMAT_RANGES_H

#include <stdint.h>

typedef struct vlorpi_range {
    uint64_t begin, end; /* bytes [begin, end), begin <= end */
    int64_t item;
} vlorpi_range;

/* By begin, then end.  In place, without memory, n log n at worst. */
void vlorpi_ranges_sort(vlorpi_range *ranges, int64_t n);

/* The first i of sorted ranges where range i starts before the one in front of it ends, or -1. */
int64_t vlorpi_ranges_overlap(const vlorpi_range *ranges, int64_t n);

#endif
