/* threads.h - the program's threads: OpenMP, the runtime that the BLAS uses too.
 *
 * Layer 0, of the program: libvlorp does not contain it.
 */
#ifndef VLORPI_BASE_THREADS_H
#define VLORPI_BASE_THREADS_H

#include <vlorp/exec.h>

/* Physical cores allowed by the process's affinity mask and its cgroup's CPU quota, at least 1. */
int vlorpi_threads_physical(void);

/* Bounds how long idle threads spin.  libgomp's default, milliseconds after each loop, costs nothing
 * on a quiet machine and most of the speed on a shared one (measured at a load of 12 on two cores: 2 to
 * 40 GFLOP/s, 60 to 95 when bounded).  It reads its environment when it is loaded, so this starts the
 * program again, once, with GOMP_SPINCOUNT set; a user's own OMP_WAIT_POLICY or GOMP_SPINCOUNT
 * stands.  Call it first in main; returns when nothing is to be done or it cannot be. */
void vlorpi_threads_bound_spinning(char **argv);

/* An exec that runs items on n_threads OpenMP threads, dynamically scheduled.  Sets the OpenMP
 * runtime's thread count, which the BLAS follows.  Call it once, from the main thread. */
vlorp_exec vlorpi_threads_exec(int n_threads);

/* Runs the loop of exec, or serially when exec has none. */
void vlorpi_for_each(const vlorp_exec *exec, int64_t n_items, vlorp_task *task, void *arg);

#endif
