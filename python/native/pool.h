/* pool.h - threads for a libvlorp handle that lives in a Python process.
 *
 * Knows: vlorp_exec.  Does not know: Python, torch, optimizers.
 *
 * torch brings an OpenMP runtime of its own.  A second one would keep a second set of threads spinning on the same
 * cores, and torch's cannot be called from outside, so the package brings this: threads that sleep between
 * loops, and a caller that works too and never waits for a thread that has not woken up yet.
 */
#ifndef VLORP_POOL_H
#define VLORP_POOL_H

#include <vlorp/exec.h>
#include <vlorp/status.h>

/* Threads and one loop at a time; a second loop at once, or one after fork, runs serially on its caller. */
typedef struct vlorp_pool vlorp_pool;

/* n_threads counts the calling thread.  NULL: no memory.  Fewer threads than asked are used where the system gives
 * no more.  Owner: the caller, who frees it with vlorp_pool_free. */
VLORP_API vlorp_pool *vlorp_pool_create(int n_threads);
/* Accepts NULL.  No loop may be running. */
VLORP_API void vlorp_pool_free(vlorp_pool *pool);
/* What goes into vlorp_optimizer_config.exec; borrowed from the pool. */
VLORP_API vlorp_exec vlorp_pool_exec(vlorp_pool *pool);

#endif
