/* threads.h - the program's threads: OpenMP, the runtime that the BLAS uses too.
 *
 * Layer 0, of the program: libvlorp does not contain it.
 */
#ifndef VLORPI_BASE_THREADS_H
#define VLORPI_BASE_THREADS_H

#include <vlorp/exec.h>

/* Physical cores allowed by the process's affinity mask and its cgroup's CPU quota, at least 1. */
int vlorpi_threads_physical(void);

/* An exec that runs items on n_threads OpenMP threads, dynamically scheduled.  Sets the OpenMP
 * runtime's thread count, which the BLAS follows.  Call it once, from the main thread. */
vlorp_exec vlorpi_threads_exec(int n_threads);

/* Runs the loop of exec, or serially when exec has none. */
void vlorpi_for_each(const vlorp_exec *exec, int64_t n_items, vlorp_task *task, void *arg);

#endif
