/* system_memory.h - what the operating system says of memory.
 *
 * Layer 0, of the program.  Figures are bytes; 0 means the system does not tell.
 */
#ifndef VLORPI_BASE_SYSTEM_MEMORY_H
#define VLORPI_BASE_SYSTEM_MEMORY_H

#include <stddef.h>

typedef struct vlorpi_process_memory {
    size_t rss_anon_bytes; /* resident, our own pages: what the ledger should explain */
    size_t rss_file_bytes; /* resident pages of mapped files: the system's cache */
    size_t peak_rss_bytes; /* high-water mark of both together */
} vlorpi_process_memory;

vlorpi_process_memory vlorpi_process_memory_now(void);

/* What this process may still take: the machine's available memory, or what its cgroup (version 1 or 2) or its
 * limits on address space and data (ulimit -v, -d) leave, whichever is less.  Threads that have not started yet
 * take address space when they do: start them first. */
size_t vlorpi_available_memory(void);

/* What ulimit -v and -d leave alone; SIZE_MAX without such a limit. */
size_t vlorpi_limited_memory(void);

/* Asks for large pages (2 MiB) for memory that is going to be read from end to end many times: with small ones the
 * processor's look-ahead stops every 4 KiB.  To be called before the memory is written.  Nothing more becomes resident
 * than whole large pages inside the range.  Finding them can take the system a second for each GiB once memory is
 * fragmented, so this is not for everything. */
void vlorpi_prefer_large_pages(void *memory, size_t n_bytes);

#endif
