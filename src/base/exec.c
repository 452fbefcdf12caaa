#include "base/threads.h"

void vlorpi_for_each(const vlorp_exec *exec, int64_t n_items, vlorp_task *task, void *arg)
{
    if (exec != NULL && exec->for_each != NULL && n_items > 1) {
        exec->for_each(exec->ctx, n_items, task, arg);
        return;
    }
    for (int64_t i = 0; i < n_items; i++) {
        task(arg, i, 0);
    }
}
