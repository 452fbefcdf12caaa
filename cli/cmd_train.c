/* cmd_train.c - vlorp train: options to settings, and the run made visible. */
#include <inttypes.h>
#include <stdio.h>

#include "base/system_memory.h"
#include "cli/dry_run.h"
#include "cli/train_options.h"
#include "train/fit.h"
#include "train/trainer.h"

typedef struct view {
    vlorpi_cli *cli;
    double first_eval, last_eval;
    int64_t n_evals;
} view;

static void show_plan(void *ctx, const vlorpi_job *job, const vlorpi_run_folder *folder)
{
    const view *v = ctx;
    if (v->cli->output->quiet) {
        return;
    }
    vlorpi_options_print_header(v->cli->options, stderr);
    vlorpi_print_data(stderr, job);
    vlorpi_print_projections(stderr, job);
    vlorpi_print_run(stderr, job, folder->path);
    const char *titles[] = {"plan"};
    const vlorpi_mem_usage *columns[] = {&job->plan.usage};
    vlorpi_print_memory(stderr, titles, columns, 1, 0);
    vlorpi_print_target_hint(stderr, job);
}

static void show_step(void *ctx, const vlorpi_step_metrics *step, int64_t n_steps, double seconds_left)
{
    const view *v = ctx;
    vlorpi_progress progress = {
        .step = step->step,
        .n_steps = n_steps,
        .loss = step->loss,
        .tokens_per_second = step->tokens_per_second,
        .memory_bytes = step->memory_bytes,
        .seconds_left = seconds_left,
    };
    vlorpi_output_progress(v->cli->output, &progress, step->step == n_steps);
}

static void show_eval(void *ctx, int64_t step, double eval_loss, int64_t n_targets)
{
    view *v = ctx;
    if (v->n_evals++ == 0) {
        v->first_eval = eval_loss;
    }
    v->last_eval = eval_loss;
    vlorpi_log_info(&v->cli->log, "held-out loss after step %" PRId64 ": %.4f nats over %" PRId64 " tokens", step, eval_loss,
                    n_targets);
}

static void show_task(void *ctx, int64_t step, const char *name, const vlorpi_tally *tally)
{
    const view *v = ctx;
    vlorpi_interval interval = vlorpi_tally_interval(tally);
    vlorpi_log_info(&v->cli->log, "%s after step %" PRId64 ": %.2f %% of %" PRId64 " right (95 %%: %.2f .. %.2f)", name,
                    step, 100 * vlorpi_tally_accuracy(tally), tally->n, 100 * interval.low, 100 * interval.high);
}

static void show_end(void *ctx, const vlorpi_job *job, const vlorpi_run_folder *folder)
{
    const view *v = ctx;
    vlorpi_output_end_live(v->cli->output);
    if (!v->cli->output->quiet) {
        vlorpi_mem_usage ledger = vlorpi_mem_peak(job->mem);
        const char *titles[] = {"plan", "ledger"};
        const vlorpi_mem_usage *columns[] = {&job->plan.usage, &ledger};
        vlorpi_process_memory process = vlorpi_process_memory_now();
        vlorpi_print_memory(stderr, titles, columns, 2, process.peak_rss_bytes);
        char mapped[32];
        char libraries[32];
        (void)fprintf(stderr,
                      "beyond the ledger the process may hold pages of mapped files (%s) and what libraries take (at most "
                      "%s)\n",
                      vlorpi_output_bytes(mapped, sizeof mapped, vlorpi_source_mapped_bytes(job->source)),
                      vlorpi_output_bytes(libraries, sizeof libraries, VLORPI_LIBRARY_BYTES));
        if (v->n_evals > 1) {
            (void)fprintf(stderr, "held-out loss: %.4f before, %.4f after\n", v->first_eval, v->last_eval);
        }
    }
    (void)printf("%s\n", folder->model);
}

vlorp_status vlorpi_cmd_train(vlorpi_cli *cli, vlorp_err *err)
{
    vlorpi_train_settings settings;
    VLORP_TRY(vlorpi_train_options(&settings, cli, err));
    if (settings.dataset == NULL) {
        (void)vlorpi_err_set(err, VLORP_E_ARG, "no data set was given");
        vlorpi_err_hint(err, "--dataset FILE, or --dataset commonsense --data_dir FOLDER");
        return VLORP_E_ARG;
    }
    if (vlorpi_options_bool(cli->options, "dry_run")) {
        return vlorpi_dry_run(cli, &settings, err);
    }
    settings.record = vlorpi_options_to_json(cli->options);
    vlorpi_interrupt_install();
    settings.stop = &vlorpi_interrupt_signal;
    view v = {.cli = cli};
    vlorpi_train_events events = {
        .ctx = &v, .planned = show_plan, .stepped = show_step, .evaluated = show_eval, .task_done = show_task,
        .finished = show_end};
    vlorp_status status = vlorpi_train(&settings, cli->mem, &cli->log, cli->kernels, &cli->exec, &events, err);
    json_decref(settings.record);
    return status;
}
