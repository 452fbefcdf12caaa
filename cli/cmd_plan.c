/* cmd_plan.c - vlorp plan: the memory of a run, before it runs, for one optimizer or for all. */
#include <stdio.h>
#include <string.h>

#include "cli/plan_fit.h"
#include "cli/train_options.h"

static vlorp_status print_json(const char *const *titles, const vlorpi_mem_usage *usages, int n, vlorp_err *err)
{
    json_t *object = json_object();
    for (int i = 0; object != NULL && i < n; i++) {
        if (json_object_set_new(object, titles[i], vlorpi_plan_json(&usages[i])) != 0) {
            json_decref(object);
            object = NULL;
        }
    }
    return vlorpi_output_json(object, err);
}

/* Side by side: a line for each optimizer. */
static void print_lines(const char *const *titles, const vlorpi_mem_usage *usages, int n)
{
    char text[32];
    (void)printf("%-12s", "memory");
    for (int row = 0; row < VLORPI_ROW_N; row++) {
        (void)printf(" %15s", vlorpi_mem_row_name((vlorpi_mem_row)row));
    }
    (void)printf(" %15s\n", "total");
    for (int i = 0; i < n; i++) {
        (void)printf("%-12s", titles[i]);
        for (int row = 0; row < VLORPI_ROW_N; row++) {
            size_t n_bytes = vlorpi_mem_row_bytes(&usages[i], (vlorpi_mem_row)row);
            (void)printf(" %15s", vlorpi_output_bytes(text, sizeof text, n_bytes));
        }
        (void)printf(" %15s\n", vlorpi_output_bytes(text, sizeof text, usages[i].total_bytes));
    }
}

static void print_table(const vlorpi_job *job, const char *const *titles, const vlorpi_mem_usage *usages, int n)
{
    const vlorpi_mem_usage *column = usages;
    (void)printf("micro-batches of at most %lld tokens, %s%s\n", (long long)job->sizes.micro_tokens,
                 vlorpi_checkpoint_dtype_name(job->sizes.dtype),
                 job->sizes.activation_checkpointing ? ", checkpointing" : "");
    if (n > 1) {
        print_lines(titles, usages, n);
    } else {
        vlorpi_print_memory(stdout, titles, &column, 1, 0);
    }
    vlorpi_print_target_hint(stdout, job);
}

vlorp_status vlorpi_cmd_plan(vlorpi_cli *cli, vlorp_err *err)
{
    vlorpi_train_settings settings;
    VLORP_TRY(vlorpi_train_options(&settings, cli, err));
    if (vlorpi_options_has(cli->options, "fit")) {
        return vlorpi_plan_fit(cli, &settings, err);
    }
    bool all = strcmp(vlorpi_options_text(cli->options, "optimizer"), "all") == 0;
    int n = all ? VLORPI_N_OPTIMIZERS : 1;
    const char *titles[VLORPI_N_OPTIMIZERS];
    vlorpi_mem_usage usages[VLORPI_N_OPTIMIZERS];
    settings.optimizer = all ? (vlorpi_optimizer_name)0 : settings.optimizer;
    vlorpi_job job;
    vlorp_status status = vlorpi_job_open(&job, &settings, false, cli->mem, &cli->log, cli->kernels, &cli->exec, err);
    int n_planned = 0;
    for (int i = 0; i < n && status == VLORP_OK; i++) {
        status = i == 0 ? VLORP_OK : vlorpi_job_set_optimizer(&job, (vlorpi_optimizer_name)i, err);
        if (status == VLORP_E_UNSUPPORTED && all) { /* not with this projection */
            status = VLORP_OK;
            continue;
        }
        titles[n_planned] = vlorpi_optimizer_text(job.settings.optimizer);
        usages[n_planned++] = job.plan.usage;
    }
    n = n_planned;
    if (status == VLORP_OK && vlorpi_options_bool(cli->options, "json")) {
        status = print_json(titles, usages, n, err);
    } else if (status == VLORP_OK) {
        vlorpi_print_projections(stdout, &job);
        print_table(&job, titles, usages, n);
    }
    vlorpi_job_close(&job);
    return status;
}
