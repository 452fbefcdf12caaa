/* exec.h - how libvlorp borrows threads and memory from the program that embeds it.
 *
 * The library owns no thread and no global.  A vlorp_exec says how to run independent items in
 * parallel; a vlorp_allocator says where memory comes from and under which class it is booked.
 */
#ifndef VLORP_EXEC_H
#define VLORP_EXEC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One item of a parallel loop.
 *   arg     what the loop was given
 *   item    in [0, n_items)
 *   thread  in [0, n_threads): which thread's scratch may be used; two items that run at the same
 *           time never see the same number */
typedef void vlorp_task(void *arg, int64_t item, int thread);

/* Runs task(arg, i, thread) for every i in [0, n_items), in any order, and returns when all are
 * done.  Never called from inside a task. */
typedef void vlorp_parallel_for(void *ctx, int64_t n_items, vlorp_task *task, void *arg);

/* for_each NULL means: run serially on the calling thread (n_threads is then 1). */
typedef struct vlorp_exec {
    vlorp_parallel_for *for_each;
    void *ctx;
    int n_threads;
} vlorp_exec;

/* What an allocation is for; the classes of the memory table. */
typedef enum vlorp_memory_class {
    VLORP_MEMORY_GRADIENTS,       /* S and exact gradients */
    VLORP_MEMORY_OPTIMIZER_STATE, /* moments, row and column sums */
    VLORP_MEMORY_PROJECTION,      /* bases that must be stored (svd) */
    VLORP_MEMORY_WORKSPACE,       /* scratch that lives between calls but holds nothing */
    VLORP_MEMORY_OTHER            /* tables and names */
} vlorp_memory_class;

/* alloc returns memory aligned to 64 bytes, or NULL; free accepts NULL.  alloc NULL means libc. */
typedef struct vlorp_allocator {
    void *(*alloc)(void *ctx, vlorp_memory_class cls, size_t n_bytes);
    void (*free)(void *ctx, void *memory);
    void *ctx;
} vlorp_allocator;

#ifdef __cplusplus
}
#endif
#endif
