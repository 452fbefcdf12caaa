#include "train/plan.h"

#include "train/job.h"

void vlorpi_plan_layout(vlorpi_job *job, vlorpi_arena arenas[VLORPI_MEM_N_CLASSES])
{
    const vlorpi_job_sizes *sizes = &job->sizes;
    vlorpi_model_usage usage = {
        .max_tokens = sizes->micro_tokens,
        .max_segments = sizes->max_examples,
        .max_positions = sizes->max_length,
        .backward = true,
        .activation_checkpointing = sizes->activation_checkpointing,
    };
    vlorpi_task_eval_widen(&job->tasks, &usage);
    vlorpi_model_layout_weights(job->model, &arenas[VLORPI_MEM_WEIGHTS]);
    vlorpi_model_layout(job->model, &usage, &arenas[VLORPI_MEM_ACTIVATIONS], &arenas[VLORPI_MEM_WORKSPACE]);
    vlorpi_task_eval_layout(&job->tasks, job->model, job->kernels, &usage, &arenas[VLORPI_MEM_WORKSPACE]);
    vlorpi_batch_layout(&job->batch, &arenas[VLORPI_MEM_DATA], sizes->micro_tokens, sizes->max_examples);
    vlorpi_checkpoint_layout(&job->saver, &arenas[VLORPI_MEM_WORKSPACE], vlorpi_model_params(job->model),
                             vlorpi_model_adapters(job->model));
}

static void book(vlorpi_mem_usage *usage, vlorpi_mem_class cls, size_t n_bytes)
{
    usage->bytes[cls] += n_bytes;
    usage->total_bytes += n_bytes;
}

vlorp_status vlorpi_plan_make(vlorpi_job *job, vlorpi_plan *plan, vlorp_err *err)
{
    static const vlorpi_mem_class classes[VLORP_MEMORY_N_CLASSES] = {
        [VLORP_MEMORY_GRADIENTS] = VLORPI_MEM_GRADS,       [VLORP_MEMORY_OPTIMIZER_STATE] = VLORPI_MEM_OPT_STATE,
        [VLORP_MEMORY_PROJECTION] = VLORPI_MEM_PROJECTION, [VLORP_MEMORY_WORKSPACE] = VLORPI_MEM_WORKSPACE,
        [VLORP_MEMORY_OTHER] = VLORPI_MEM_OTHER,
    };
    *plan = (vlorpi_plan){.usage = job->tables};
    vlorpi_arena counters[VLORPI_MEM_N_CLASSES] = {{0}};
    vlorpi_plan_layout(job, counters);
    for (int c = 0; c < VLORPI_MEM_N_CLASSES; c++) {
        plan->arena_bytes[c] = counters[c].peak_bytes;
        if (counters[c].peak_bytes == SIZE_MAX) {
            VLORP_FAIL(err, VLORP_E_LIMIT, "%s would need more bytes than an address can count",
                       vlorpi_mem_row_name(vlorpi_mem_row_of((vlorpi_mem_class)c)));
        }
        if (counters[c].peak_bytes > 0) {
            book(&plan->usage, (vlorpi_mem_class)c, vlorpi_mem_footprint(counters[c].peak_bytes));
        }
    }
    vlorp_optimizer_memory use;
    VLORP_TRY(vlorp_optimizer_memory_use(job->optimizer, &use, err));
    for (int c = 0; c < VLORP_MEMORY_N_CLASSES; c++) {
        /* blocks are multiples of 64, so each block's header is the only difference */
        book(&plan->usage, classes[c], use.bytes[c] + (size_t)use.n_blocks[c] * (vlorpi_mem_footprint(64) - 64));
    }
    /* With a small model and much data, reading the data was the dearest moment; it is over, so it is known. */
    vlorpi_mem_usage before = vlorpi_mem_peak(job->mem);
    if (before.total_bytes > plan->usage.total_bytes) {
        plan->usage = before;
    }
    return VLORP_OK;
}

json_t *vlorpi_plan_json(const vlorpi_mem_usage *usage)
{
    json_t *object = json_object();
    for (int row = 0; object != NULL && row < VLORPI_ROW_N; row++) {
        json_t *bytes = json_integer((json_int_t)vlorpi_mem_row_bytes(usage, (vlorpi_mem_row)row));
        if (json_object_set_new(object, vlorpi_mem_row_name((vlorpi_mem_row)row), bytes) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    if (object != NULL && json_object_set_new(object, "total", json_integer((json_int_t)usage->total_bytes)) != 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}
