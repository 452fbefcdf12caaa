/* cmd_plan.c - vlorp plan: the memory of a run, before it runs, for one optimizer or for all. */
#include <stdio.h>
#include <string.h>

#include "cli/plan_fit.h"
#include "cli/train_options.h"

/* What a plan is printed from: a column per optimizer. */
typedef struct columns {
    const char *titles[VLORPI_N_OPTIMIZERS];
    vlorpi_mem_usage usages[VLORPI_N_OPTIMIZERS];
    int64_t micro_tokens[VLORPI_N_OPTIMIZERS];
    int n;
} columns;

static void add_column(columns *c, const vlorpi_job *job)
{
    c->titles[c->n] = vlorpi_optimizer_text(job->settings.optimizer);
    c->usages[c->n] = job->plan.usage;
    c->micro_tokens[c->n++] = job->sizes.micro_tokens;
}

/* The one that a job which plans all of them is opened with: the last, and the project's own, which takes every setting
 * that any takes. */
static const vlorpi_optimizer_name last_of_all = VLORPI_OPTIMIZER_PROJFACTOR;

/* One after another; one that cannot do with these settings is left out, with the reason. */
static vlorp_status plan_all(columns *c, vlorpi_job *job, vlorp_err *err)
{
    for (int i = 0; i < VLORPI_N_OPTIMIZERS; i++) {
        vlorp_status status = vlorpi_job_set_optimizer(job, (vlorpi_optimizer_name)i, err);
        if ((status == VLORP_E_ARG || status == VLORP_E_UNSUPPORTED) && i != (int)last_of_all) {
            vlorpi_log_warn(job->log, "%s is left out: %s", vlorpi_optimizer_text((vlorpi_optimizer_name)i), err->text);
            *err = (vlorp_err){0};
            continue;
        }
        VLORP_TRY(status);
        add_column(c, job);
    }
    return VLORP_OK;
}

static vlorp_status print_json(const columns *c, vlorp_err *err)
{
    json_t *object = json_object();
    for (int i = 0; object != NULL && i < c->n; i++) {
        if (json_object_set_new(object, c->titles[i], vlorpi_plan_json(&c->usages[i])) != 0) {
            json_decref(object);
            object = NULL;
        }
    }
    return vlorpi_output_json(object, err);
}

/* Side by side: a line for each optimizer. */
static void print_lines(const columns *c)
{
    char text[32];
    (void)printf("%-12s", "memory");
    for (int row = 0; row < VLORPI_ROW_N; row++) {
        (void)printf(" %15s", vlorpi_mem_row_name((vlorpi_mem_row)row));
    }
    (void)printf(" %15s\n", "total");
    for (int i = 0; i < c->n; i++) {
        (void)printf("%-12s", c->titles[i]);
        for (int row = 0; row < VLORPI_ROW_N; row++) {
            size_t n_bytes = vlorpi_mem_row_bytes(&c->usages[i], (vlorpi_mem_row)row);
            (void)printf(" %15s", vlorpi_output_bytes(text, sizeof text, n_bytes));
        }
        (void)printf(" %15s\n", vlorpi_output_bytes(text, sizeof text, c->usages[i].total_bytes));
    }
}

static void print_table(const vlorpi_job *job, const columns *c)
{
    const vlorpi_mem_usage *column = c->usages;
    (void)printf("micro-batches of at most %lld tokens, %s%s\n", (long long)job->sizes.micro_tokens,
                 vlorpi_checkpoint_dtype_name(job->sizes.dtype),
                 job->sizes.activation_checkpointing ? ", checkpointing" : "");
    for (int i = 0; i < c->n; i++) {
        if (c->micro_tokens[i] != job->sizes.micro_tokens) {
            (void)printf("%s: of at most %lld tokens\n", c->titles[i], (long long)c->micro_tokens[i]);
        }
    }
    if (c->n > 1) {
        print_lines(c);
    } else {
        vlorpi_print_memory(stdout, c->titles, &column, 1, 0);
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
    settings.optimizer = all ? last_of_all : settings.optimizer;
    columns c = {.n = 0};
    vlorpi_job job;
    vlorp_status status = vlorpi_job_open(&job, &settings, false, cli->mem, &cli->log, cli->kernels, &cli->exec, err);
    if (status == VLORP_OK && all) {
        status = plan_all(&c, &job, err);
    } else if (status == VLORP_OK) {
        add_column(&c, &job);
    }
    if (status == VLORP_OK && vlorpi_options_bool(cli->options, "json")) {
        status = print_json(&c, err);
    } else if (status == VLORP_OK) {
        vlorpi_print_projections(stdout, &job);
        print_table(&job, &c);
    }
    vlorpi_job_close(&job);
    return status;
}
