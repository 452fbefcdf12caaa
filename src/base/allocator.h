/* allocator.h - libvlorp's memory when the program that embeds it brings none: libc's.
 *
 * Layer 0.
 */
#ifndef VLORPI_BASE_ALLOCATOR_H
#define VLORPI_BASE_ALLOCATOR_H

#include <vlorp/exec.h>

/* *allocator itself, or libc's (64-byte aligned) when its alloc is NULL. */
vlorp_allocator vlorpi_allocator_or_libc(const vlorp_allocator *allocator);

#endif
