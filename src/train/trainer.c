#include "train/trainer.h"

#include <inttypes.h>
#include <math.h>

#include "base/clock.h"
#include "train/fit.h"
#include "train/optimizer_sink.h"
#include "train/report.h"
#include "train/run_record.h"
#include "train/svd_probe.h"

typedef struct trainer {
    vlorpi_job job;
    vlorpi_run_folder folder;
    vlorpi_metrics metrics;
    const vlorpi_train_events *events;
    double started;
} trainer;

vlorp_status vlorpi_train_micro_batch(vlorpi_job *job, vlorpi_step_sums *sums, vlorp_err *err)
{
    vlorpi_gradient_taker taker = {.optimizer = job->optimizer, .params = vlorpi_model_params(job->model)};
    vlorpi_sink sink = vlorpi_optimizer_sink(&taker);
    vlorpi_model_seconds before = vlorpi_model_seconds_of(job->model);
    double loss_sum = 0;
    VLORP_TRY(vlorpi_model_loss(job->model, &job->batch, &sink, &loss_sum, err));
    vlorpi_model_seconds after = vlorpi_model_seconds_of(job->model);
    sums->loss_sum += loss_sum;
    sums->n_tokens += job->batch.n_tokens;
    sums->n_targets += job->batch.n_targets;
    sums->n_micro_batches++;
    sums->seconds.forward += after.forward - before.forward;
    double recompute = after.recompute - before.recompute;
    sums->seconds.head += after.head - before.head - taker.head_seconds;
    sums->seconds.backward += after.backward - before.backward - recompute - taker.backward_seconds;
    sums->seconds.recompute += recompute;
    sums->seconds.gradients += taker.head_seconds + taker.backward_seconds;
    vlorpi_work_add(&sums->work, job, &job->batch);
    return VLORP_OK;
}

vlorp_status vlorpi_train_accumulate(vlorpi_job *job, int64_t step, vlorpi_step_sums *sums, vlorp_err *err)
{
    const vlorpi_job_sizes *sizes = &job->sizes;
    double begin = vlorpi_clock_seconds();
    VLORP_TRY(vlorpi_svd_probe(job, step, err));
    double probe = vlorpi_clock_seconds() - begin;
    int64_t n_examples = job->settings.total_batch_size;
    int64_t place = step * n_examples;
    *sums = (vlorpi_step_sums){.seconds.probe = probe};
    while (vlorpi_batch_next(&job->batch, job->data, job->settings.seed, &place, (step + 1) * n_examples,
                             sizes->max_examples, sizes->micro_tokens)) {
        vlorp_status status = vlorpi_train_micro_batch(job, sums, err);
        if (status != VLORP_OK) {
            vlorpi_err_prefix(err, "step %" PRId64 ", micro-batch %" PRId64, step + 1, sums->n_micro_batches + 1);
            return status;
        }
    }
    return VLORP_OK;
}

vlorp_status vlorpi_train_evaluate(vlorpi_job *job, const vlorpi_dataset *data, double *loss, int64_t *n_targets,
                                   vlorp_err *err)
{
    const vlorpi_job_sizes *sizes = &job->sizes;
    double sum = 0;
    *n_targets = 0;
    vlorpi_mem_set_phase(job->mem, "evaluate");
    int64_t place = 0;
    while (vlorpi_batch_next(&job->batch, data, job->settings.seed, &place, vlorpi_dataset_n_examples(data),
                             sizes->max_examples, sizes->micro_tokens)) {
        double part = 0;
        VLORP_TRY(vlorpi_model_loss(job->model, &job->batch, NULL, &part, err));
        sum += part;
        *n_targets += job->batch.n_targets;
    }
    *loss = *n_targets > 0 ? sum / (double)*n_targets : 0;
    return VLORP_OK;
}

static vlorp_status evaluate(trainer *t, int64_t step, vlorp_err *err)
{
    if (t->job.held == NULL) {
        return VLORP_OK;
    }
    double loss = 0;
    int64_t n_targets = 0;
    VLORP_TRY(vlorpi_train_evaluate(&t->job, t->job.held, &loss, &n_targets, err));
    VLORP_TRY(vlorpi_metrics_eval(&t->metrics, step, loss, n_targets, err));
    if (t->events->evaluated != NULL) {
        t->events->evaluated(t->events->ctx, step, loss, n_targets);
    }
    return VLORP_OK;
}

static vlorp_schedule schedule_of(const vlorpi_job *job)
{
    vlorp_schedule schedule = vlorp_schedule_default();
    schedule.kind = job->settings.scheduler;
    schedule.lr = job->settings.lr;
    schedule.n_steps = job->sizes.n_steps;
    schedule.warmup_steps = job->sizes.warmup_steps;
    schedule.n_cycles = job->settings.num_cycles;
    schedule.min_lr_ratio = job->settings.min_lr_ratio;
    return schedule;
}

static vlorp_status take_step(trainer *t, int64_t step, vlorp_err *err)
{
    vlorpi_job *job = &t->job;
    double begin = vlorpi_clock_seconds();
    vlorpi_step_sums sums;
    vlorpi_mem_set_phase(job->mem, "forward and backward");
    VLORP_TRY(vlorpi_train_accumulate(job, step, &sums, err));
    vlorpi_mem_set_phase(job->mem, "update");
    vlorp_schedule schedule = schedule_of(job);
    vlorp_step update = {
        .lr = vlorp_schedule_lr(&schedule, step),
        .grad_scale = sums.n_targets > 0 ? 1.0 / (double)sums.n_targets : 0,
        .max_grad_norm = job->settings.grad_clipping,
    };
    vlorp_step_result result;
    double update_begin = vlorpi_clock_seconds();
    vlorp_status status = vlorp_optimizer_step(job->optimizer, &update, &result, err);
    if (status != VLORP_OK) {
        vlorpi_err_prefix(err, "step %" PRId64, step + 1);
        return status;
    }
    if (!result.counted) {
        vlorpi_log_warn(job->log, "step %" PRId64 " has no target token: nothing was changed", step + 1);
    }
    double end = vlorpi_clock_seconds();
    sums.seconds.update = end - update_begin;
    vlorpi_step_metrics line = {
        .step = step + 1,
        .loss = sums.n_targets > 0 ? sums.loss_sum / (double)sums.n_targets : 0,
        .lr = update.lr,
        .grad_norm = result.grad_norm,
        .clip = result.clip,
        .n_tokens = sums.n_tokens,
        .n_targets = sums.n_targets,
        .tokens_per_second = (double)sums.n_tokens / (end - begin),
        .seconds = end - begin,
        .parts = sums.seconds,
        .flops = vlorpi_work_total(&sums.work),
        .memory_bytes = vlorpi_mem_now(job->mem).total_bytes,
    };
    VLORP_TRY(vlorpi_metrics_step(&t->metrics, &line, err));
    if (t->events->stepped != NULL) {
        double per_step = (end - t->started) / (double)(step + 1);
        t->events->stepped(t->events->ctx, &line, job->sizes.n_steps, per_step * (double)(job->sizes.n_steps - step - 1));
    }
    return VLORP_OK;
}

static bool stop_requested(const trainer *t)
{
    return t->job.settings.stop != NULL && *t->job.settings.stop != 0;
}

static vlorpi_checkpoint_model what_to_save(const vlorpi_job *job)
{
    return (vlorpi_checkpoint_model){
        .params = vlorpi_model_params(job->model),
        .dtype = job->sizes.dtype,
        .config = &job->model_config,
        .source = job->source,
        .tokenizer = job->tokenizer,
        .kernels = job->kernels,
        .overwrite = job->settings.overwrite, /* the old model stays until the new one is there */
    };
}

static vlorp_status save(trainer *t, vlorp_err *err)
{
    vlorpi_job *job = &t->job;
    vlorpi_job_end_training(job);
    vlorpi_mem_set_phase(job->mem, "save");
    vlorpi_checkpoint_model model = what_to_save(job);
    VLORP_TRY(vlorpi_run_folder_restore(&t->folder, err));
    return vlorpi_checkpoint_save_model(&job->saver, &model, t->folder.model, err);
}

/* Steps until the end or until the user asks to stop; the model is saved in either case. */
static vlorp_status run_steps(trainer *t, vlorp_err *err)
{
    const vlorpi_job *job = &t->job;
    int64_t every = job->settings.eval_every;
    VLORP_TRY(evaluate(t, 0, err));
    t->started = vlorpi_clock_seconds();
    int64_t done = 0;
    while (done < job->sizes.n_steps && !stop_requested(t)) {
        VLORP_TRY(take_step(t, done, err));
        done++;
        if ((every > 0 && done % every == 0 && done < job->sizes.n_steps) || done == job->sizes.n_steps) {
            VLORP_TRY(evaluate(t, done, err));
        }
    }
    bool interrupted = done < job->sizes.n_steps;
    if (done > 0 || !interrupted) {
        VLORP_TRY(save(t, err));
    }
    if (interrupted) {
        VLORP_FAIL(err, VLORP_E_INTERRUPTED, "interrupted after step %" PRId64 " of %" PRId64 "%s%s", done,
                   job->sizes.n_steps, done > 0 ? "; the model is saved in " : "", done > 0 ? t->folder.model : "");
    }
    return VLORP_OK;
}

static vlorp_status prepare(trainer *t, const vlorpi_train_settings *settings, vlorp_err *err)
{
    vlorpi_job *job = &t->job;
    VLORP_TRY(vlorpi_run_folder_choose(&t->folder, settings->save_dir, settings->model, settings->dataset,
                                       vlorpi_optimizer_text(settings->optimizer), err));
    if (t->events->planned != NULL) {
        t->events->planned(t->events->ctx, job, &t->folder);
    }
    VLORP_TRY(vlorpi_fit_check(job, err));
    VLORP_TRY(vlorpi_run_folder_create(&t->folder, settings->overwrite, err));
    vlorpi_checkpoint_model model = what_to_save(job);
    VLORP_TRY(vlorpi_checkpoint_check(&job->saver, &model, t->folder.model, err));
    VLORP_TRY(vlorpi_run_record_write(job, t->folder.settings, err));
    VLORP_TRY(vlorpi_metrics_open(&t->metrics, t->folder.metrics, err));
    return vlorpi_job_allocate(job, err);
}

/* A report that cannot be written is no reason to fail a run whose model is saved. */
static void report(trainer *t)
{
    vlorp_err err = {0};
    if (vlorpi_report_write(&t->job, &t->folder, &err) != VLORP_OK) {
        vlorpi_log_warn(t->job.log, "%s", err.text);
    }
}

vlorp_status vlorpi_train(const vlorpi_train_settings *settings, vlorpi_mem *mem, const vlorpi_log *log,
                          const vlorpi_kernels *kernels, const vlorp_exec *exec, const vlorpi_train_events *events,
                          vlorp_err *err)
{
    trainer t = {.events = events};
    vlorp_status status = vlorpi_job_open(&t.job, settings, true, mem, log, kernels, exec, err);
    if (status == VLORP_OK) {
        status = prepare(&t, settings, err);
    }
    if (status == VLORP_OK) {
        status = run_steps(&t, err);
    }
    if (status == VLORP_OK || (status == VLORP_E_INTERRUPTED && t.metrics.file != NULL)) {
        report(&t);
    }
    if ((status == VLORP_OK || status == VLORP_E_INTERRUPTED) && events->finished != NULL) {
        events->finished(events->ctx, &t.job, &t.folder);
    }
    vlorpi_metrics_close(&t.metrics);
    vlorpi_job_close(&t.job);
    return status;
}
