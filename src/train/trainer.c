#include "train/trainer.h"

#include <inttypes.h>
#include <math.h>

#include "base/clock.h"
#include "train/fit.h"
#include "train/optimizer_sink.h"
#include "train/report.h"
#include "train/resume.h"
#include "train/run_record.h"
#include "train/signs.h"
#include "train/svd_probe.h"

typedef struct trainer {
    vlorpi_job job;
    vlorpi_run_folder folder;
    vlorpi_resume resume;
    vlorpi_metrics metrics;
    vlorpi_signs signs;
    const vlorpi_train_events *events;
    vlorpi_run_point point; /* how far the run is */
    int64_t first_step;     /* of this process */
    int64_t saved_step;     /* of the latest checkpoint; 0: none */
    double started, saved_at;
} trainer;

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

vlorp_step vlorpi_train_update(const vlorpi_job *job, int64_t step, int64_t n_targets)
{
    vlorp_schedule schedule = schedule_of(job);
    bool at_once = vlorpi_optimizer_at_once(job->settings.optimizer);
    return (vlorp_step){.lr = vlorp_schedule_lr(&schedule, step),
                        .grad_scale = n_targets > 0 ? 1.0 / (double)n_targets : 0,
                        .max_grad_norm = at_once ? 0 : job->settings.grad_clipping};
}

vlorp_status vlorpi_train_micro_batch(vlorpi_job *job, vlorpi_step_sums *sums, vlorp_err *err)
{
    vlorpi_gradient_taker taker = {.optimizer = job->optimizer,
                                   .params = vlorpi_model_trained(job->model),
                                   .at_once = vlorpi_optimizer_at_once(job->settings.optimizer)};
    if (taker.at_once) {
        vlorp_step update = vlorpi_train_update(job, sums->step, job->batch.n_targets);
        VLORP_TRY(vlorp_optimizer_begin_step(job->optimizer, &update, err));
    }
    vlorpi_sink sink = vlorpi_optimizer_sink(&taker);
    vlorpi_model_seconds before = vlorpi_model_seconds_of(job->model);
    double loss_sum = 0;
    vlorpi_model_set_dropout(job->model, job->settings.seed, sums->step, sums->n_tokens);
    VLORP_TRY(vlorpi_model_loss(job->model, &job->batch, &sink, &loss_sum, err));
    vlorpi_model_seconds after = vlorpi_model_seconds_of(job->model);
    sums->loss_sum += loss_sum;
    sums->n_tokens += job->batch.n_tokens;
    sums->n_targets += job->batch.n_targets;
    sums->n_micro_batches++;
    sums->seconds.forward += after.forward - before.forward;
    double recompute = after.recompute - before.recompute;
    sums->seconds.head += after.head - before.head - taker.head_seconds;
    sums->seconds.backward += after.backward - before.backward - recompute - taker.backward_seconds - taker.update_seconds;
    sums->seconds.recompute += recompute;
    sums->seconds.gradients += taker.head_seconds + taker.backward_seconds;
    sums->seconds.update += taker.update_seconds;
    vlorpi_work_add(&sums->work, job, &job->batch);
    return VLORP_OK;
}

static bool is_finite(const vlorpi_param *param)
{
    int64_t n = vlorpi_param_n_elements(param);
    for (int64_t i = 0; i < n; i++) {
        bool finite = param->dtype == VLORP_BF16 ? (((const uint16_t *)param->data)[i] & 0x7F80) != 0x7F80
                                                 : isfinite(((const float *)param->data)[i]);
        if (!finite) {
            return false;
        }
    }
    return true;
}

/* A loss that is not finite says nothing of its cause: a weight may be it, else the numbers in between overflowed. */
static void hint_at_weights(vlorpi_job *job, vlorp_err *err)
{
    const vlorpi_params *tables[] = {vlorpi_model_params(job->model), vlorpi_model_adapters(job->model)};
    for (int t = 0; t < 2; t++) {
        for (int i = 0; i < tables[t]->n; i++) {
            const vlorpi_param *param = &tables[t]->items[i];
            if (!is_finite(param)) {
                vlorpi_err_hint(err, "%s is the first tensor with a weight that is not finite", param->name);
                return;
            }
        }
    }
    vlorpi_err_hint(err, "all weights are finite, so it overflowed on the way: a lower --lr or a longer warm-up may help");
}

vlorp_status vlorpi_train_accumulate(vlorpi_job *job, int64_t step, vlorpi_step_sums *sums, vlorp_err *err)
{
    const vlorpi_job_sizes *sizes = &job->sizes;
    double begin = vlorpi_clock_seconds();
    VLORP_TRY(vlorpi_svd_probe(job, step, err));
    double probe = vlorpi_clock_seconds() - begin;
    int64_t n_examples = job->settings.total_batch_size;
    int64_t place = step * n_examples;
    *sums = (vlorpi_step_sums){.step = step, .seconds.probe = probe};
    while (vlorpi_batch_next(&job->batch, job->data, job->settings.seed, &place, (step + 1) * n_examples,
                             sizes->max_examples, sizes->micro_tokens)) {
        vlorp_status status = vlorpi_train_micro_batch(job, sums, err);
        if (status != VLORP_OK) {
            vlorpi_err_prefix(err, "step %" PRId64 ", micro-batch %" PRId64, step + 1, sums->n_micro_batches + 1);
            if (status == VLORP_E_NUMERIC) {
                hint_at_weights(job, err);
            }
            return status;
        }
    }
    return VLORP_OK;
}

static bool stop_requested(const vlorpi_job *job)
{
    return job->settings.stop != NULL && *job->settings.stop != 0;
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
        if (stop_requested(job)) {
            VLORP_FAIL(err, VLORP_E_INTERRUPTED, "interrupted while evaluating");
        }
        VLORP_TRY(vlorpi_model_loss(job->model, &job->batch, NULL, &part, err));
        sum += part;
        *n_targets += job->batch.n_targets;
    }
    *loss = *n_targets > 0 ? sum / (double)*n_targets : 0;
    return VLORP_OK;
}

static bool evaluation_is_due(const vlorpi_job *job, int64_t step)
{
    int64_t every = job->settings.eval_every;
    return (job->held != NULL || job->tasks.n_runs > 0) &&
           (step == 0 || step == job->sizes.n_steps || (every > 0 && step % every == 0));
}

static vlorp_status note_loss(trainer *t, double loss, int64_t n_targets, vlorp_err *err)
{
    vlorpi_run_point *point = &t->point;
    VLORP_TRY(vlorpi_metrics_eval(&t->metrics, point->step, loss, n_targets, err));
    if (point->step > 0 && (point->best_step == 0 || loss < point->best_loss)) {
        point->best_step = point->step;
        point->best_loss = loss;
    }
    if (t->events->evaluated != NULL) {
        t->events->evaluated(t->events->ctx, point->step, loss, n_targets);
    }
    return VLORP_OK;
}

static vlorp_status note_tasks(trainer *t, vlorp_err *err)
{
    const vlorpi_task_eval *tasks = &t->job.tasks;
    for (int i = 0; i < tasks->n_runs; i++) {
        const char *name = tasks->runs[i].task->name;
        vlorpi_tally tally = vlorpi_task_run_total(&tasks->runs[i]);
        VLORP_TRY(vlorpi_metrics_task(&t->metrics, t->point.step, name, &tally, err));
        if (t->events->task_done != NULL) {
            t->events->task_done(t->events->ctx, t->point.step, name, &tally);
        }
    }
    return VLORP_OK;
}

/* Held-out loss and tasks after the present step, where they are due and were not taken yet.  When the user asks to
 * stop meanwhile all of it is left to the resumed run. */
static vlorp_status evaluate_if_due(trainer *t, vlorp_err *err)
{
    vlorpi_job *job = &t->job;
    if (t->point.evaluated || !evaluation_is_due(job, t->point.step)) {
        t->point.evaluated = true;
        return VLORP_OK;
    }
    double loss = 0;
    int64_t n_targets = 0;
    vlorp_status status =
        job->held != NULL ? vlorpi_train_evaluate(job, job->held, &loss, &n_targets, err) : VLORP_OK;
    if (status == VLORP_OK) {
        vlorpi_mem_set_phase(job->mem, "evaluate");
        status = vlorpi_task_eval_answer(&job->tasks, job->settings.stop, err);
    }
    if (status != VLORP_OK) {
        return status == VLORP_E_INTERRUPTED ? VLORP_OK : status;
    }
    if (job->held != NULL) {
        VLORP_TRY(note_loss(t, loss, n_targets, err));
    }
    t->point.evaluated = true;
    return note_tasks(t, err);
}

/* Hints speak of the projection of the first matrix that has one: it stands for all. */
static void find_projection(const vlorpi_job *job, vlorpi_signs_run *run)
{
    run->is_projected = false;
    for (int id = 0; id < vlorp_optimizer_n_parameters(job->optimizer) && !run->is_projected; id++) {
        vlorp_parameter_info info;
        if (vlorp_optimizer_parameter(job->optimizer, id, &info, NULL) == VLORP_OK && !info.is_vector &&
            info.projection.M > 0 && !info.projection.exact) {
            run->is_projected = true;
            run->projection = info.projection;
        }
    }
}

static void begin_signs(trainer *t)
{
    const vlorpi_job *job = &t->job;
    vlorpi_signs_run run = {.n_steps = job->sizes.n_steps,
                            .warmup_steps = job->sizes.warmup_steps,
                            .update_gap = job->sizes.update_gap,
                            .is_svd = job->sizes.projection.distribution == VLORP_SVD};
    find_projection(job, &run);
    vlorpi_signs_begin(&t->signs, &run);
}

/* One line on what --adaptive_budget did; the report has the whole table. */
static void tell_division(trainer *t, int64_t step, int64_t n_changed)
{
    const vlorpi_job *job = &t->job;
    vlorp_parameter_info least = {0};
    vlorp_parameter_info most = {0};
    int n = 0;
    for (int id = 0; id < vlorp_optimizer_n_parameters(job->optimizer); id++) {
        vlorp_parameter_info info;
        if (vlorp_optimizer_parameter(job->optimizer, id, &info, NULL) == VLORP_OK && info.projection.M > 0) {
            least = n == 0 || info.projection.M < least.projection.M ? info : least;
            most = n == 0 || info.projection.M > most.projection.M ? info : most;
            n++;
        }
    }
    vlorpi_log_info(job->log, "after step %" PRId64 " the budget is divided anew: %" PRId64 " of %d matrices changed, M from %"
                    PRId64 " (%s) to %" PRId64 " (%s)", step, n_changed, n, least.projection.M, least.name,
                    most.projection.M, most.name);
    find_projection(job, &t->signs.run);
}

static vlorp_status take_step(trainer *t, int64_t step, vlorp_err *err)
{
    vlorpi_job *job = &t->job;
    double begin = vlorpi_clock_seconds();
    vlorpi_step_sums sums;
    vlorpi_mem_set_phase(job->mem, "forward and backward");
    VLORP_TRY(vlorpi_train_accumulate(job, step, &sums, err));
    vlorpi_mem_set_phase(job->mem, "update");
    vlorp_step update = vlorpi_train_update(job, step, sums.n_targets);
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
    sums.seconds.update += end - update_begin;
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
    if (result.n_redivided > 0) {
        tell_division(t, step + 1, result.n_redivided);
    }
    char hint[VLORPI_SIGNS_TEXT_BYTES];
    if (vlorpi_signs_see(&t->signs, &line, hint, sizeof hint)) {
        vlorpi_log_info(job->log, "hint: %s", hint);
    }
    if (t->events->stepped != NULL) {
        double per_step = (end - t->started) / (double)(step + 1 - t->first_step);
        t->events->stepped(t->events->ctx, &line, job->sizes.n_steps, per_step * (double)(job->sizes.n_steps - step - 1));
    }
    return VLORP_OK;
}

/* Where the user removed the run's folder, what a checkpoint needs of it is made again. */
static vlorp_status restore_folder(trainer *t, vlorp_err *err)
{
    if (vlorpi_run_folder_is_there(&t->folder)) {
        return VLORP_OK;
    }
    vlorpi_log_warn(t->job.log, "%s: the folder is gone; it is made again", t->folder.path);
    VLORP_TRY(vlorpi_run_folder_restore(&t->folder, err));
    VLORP_TRY(vlorpi_run_state_prepare(&t->job, &t->folder, true, err));
    VLORP_TRY(vlorpi_run_record_write(&t->job, t->folder.settings, err));
    vlorpi_metrics_close(&t->metrics);
    return vlorpi_metrics_open(&t->metrics, t->folder.metrics, err);
}

static vlorp_status write_checkpoint(trainer *t, vlorp_err *err)
{
    const vlorpi_job *job = &t->job;
    VLORP_TRY(restore_folder(t, err));
    VLORP_TRY(vlorpi_metrics_sync(&t->metrics, &t->point.metrics_bytes, err));
    VLORP_TRY(vlorpi_run_state_save(job, &t->folder, &t->point, err));
    t->saved_step = t->point.step;
    VLORP_TRY(vlorpi_run_state_publish(job, &t->folder, t->saved_step, t->folder.model, err));
    if (job->settings.keep_best && t->point.best_step == t->saved_step) {
        VLORP_TRY(vlorpi_run_state_publish(job, &t->folder, t->saved_step, t->folder.best, err));
    }
    vlorpi_run_state_prune(&t->folder, t->saved_step, job->settings.keep);
    return VLORP_OK;
}

static vlorp_status save(trainer *t, vlorp_err *err)
{
    int64_t before = t->saved_step;
    vlorpi_mem_set_phase(t->job.mem, "save");
    vlorp_status status = write_checkpoint(t, err);
    if (status != VLORP_OK && before > 0) {
        vlorpi_err_hint(err, "the checkpoint of step %" PRId64 " is whole: once the cause is gone, --continue_from %s goes "
                        "on from there", t->saved_step, t->folder.path);
    }
    t->saved_at = vlorpi_clock_seconds();
    return status;
}

static bool save_is_due(const trainer *t)
{
    const vlorpi_train_settings *s = &t->job.settings;
    const vlorpi_run_point *point = &t->point;
    return (s->save_every > 0 && point->step % s->save_every == 0) ||
           (s->save_minutes > 0 && vlorpi_clock_seconds() - t->saved_at >= 60 * s->save_minutes) ||
           (s->keep_best && point->best_step == point->step);
}

/* A report that cannot be written is no reason to fail a run whose model is saved. */
static void report(trainer *t)
{
    vlorp_err err = {0};
    if (vlorpi_report_write(&t->job, &t->folder, &err) != VLORP_OK) {
        vlorpi_log_warn(t->job.log, "%s", err.text);
    }
}

/* Steps until the end or until the user asks to stop; what was done is saved in either case. */
static vlorp_status run_steps(trainer *t, vlorp_err *err)
{
    const vlorpi_job *job = &t->job;
    vlorpi_run_point *point = &t->point;
    VLORP_TRY(evaluate_if_due(t, err));
    begin_signs(t);
    t->started = vlorpi_clock_seconds();
    t->saved_at = t->started;
    while (point->step < job->sizes.n_steps && !stop_requested(job)) {
        VLORP_TRY(take_step(t, point->step, err));
        point->step++;
        point->evaluated = false;
        if (!stop_requested(job)) {
            VLORP_TRY(evaluate_if_due(t, err));
        }
        if (save_is_due(t)) {
            VLORP_TRY(save(t, err));
            report(t);
        }
    }
    if (point->step > t->saved_step) {
        VLORP_TRY(save(t, err));
    }
    if (point->step == job->sizes.n_steps && point->evaluated) {
        return VLORP_OK;
    }
    (void)vlorpi_err_set(err, VLORP_E_INTERRUPTED, "interrupted after step %" PRId64 " of %" PRId64, point->step,
                         job->sizes.n_steps);
    if (point->step > 0) {
        vlorpi_err_hint(err, "--continue_from %s goes on with it", t->folder.path);
    }
    return VLORP_E_INTERRUPTED;
}

/* The folder of a new run, or of one that goes on elsewhere. */
static vlorp_status begin_folder(trainer *t, vlorp_err *err)
{
    vlorpi_job *job = &t->job;
    if (!t->resume.same_folder) {
        VLORP_TRY(vlorpi_run_folder_create(&t->folder, job->settings.overwrite, job->log, err));
    }
    VLORP_TRY(vlorpi_run_state_bytes(&job->checkpoint_bytes, job, err));
    VLORP_TRY(vlorpi_run_state_prepare(job, &t->folder, t->resume.same_folder, err));
    if (t->resume.is_on) {
        VLORP_TRY(vlorpi_resume_metrics(&t->resume, &t->folder, job->log, err));
    }
    VLORP_TRY(vlorpi_run_record_write(job, t->folder.settings, err));
    return vlorpi_metrics_open(&t->metrics, t->folder.metrics, err);
}

/* Weights and state of the checkpoint; what a killed save left undone is done. */
static vlorp_status load_checkpoint(trainer *t, vlorp_err *err)
{
    const vlorpi_job *job = &t->job;
    const vlorpi_run_point *point = &t->resume.point;
    VLORP_TRY(vlorpi_resume_check_base(&t->resume, job, err));
    VLORP_TRY(vlorpi_run_state_load(job, t->resume.checkpoint, err));
    vlorpi_source_unmap(job->source);
    t->point = *point;
    t->first_step = point->step;
    if (!t->resume.same_folder) {
        return VLORP_OK;
    }
    t->saved_step = point->step;
    VLORP_TRY(vlorpi_run_state_publish(job, &t->folder, point->step, t->folder.model, err));
    if (job->settings.keep_best && point->best_step == point->step) {
        VLORP_TRY(vlorpi_run_state_publish(job, &t->folder, point->step, t->folder.best, err));
    }
    return VLORP_OK;
}

static vlorp_status prepare(trainer *t, vlorp_err *err)
{
    vlorpi_job *job = &t->job;
    if (t->resume.is_on) {
        VLORP_TRY(vlorpi_resume_check(&t->resume, job, err));
    }
    if (t->events->planned != NULL) {
        t->events->planned(t->events->ctx, job, &t->folder);
    }
    VLORP_TRY(vlorpi_fit_check(job, err));
    VLORP_TRY(begin_folder(t, err));
    VLORP_TRY(vlorpi_job_allocate(job, err));
    if (t->resume.is_on) {
        return load_checkpoint(t, err);
    }
    if (vlorpi_model_adapters(job->model)->n > 0) {
        vlorpi_params_mark(t->point.base_mark, vlorpi_model_params(job->model));
    }
    return VLORP_OK;
}

/* Where the run is kept, and from where it goes on. */
static vlorp_status find_folder(trainer *t, vlorpi_train_settings *settings, vlorpi_mem *mem, const vlorpi_log *log,
                                vlorp_err *err)
{
    const char *save_dir = settings->save_dir;
    if (settings->continue_from != NULL) {
        save_dir = save_dir != NULL ? save_dir : settings->continue_from;
        VLORP_TRY(vlorpi_resume_open(&t->resume, settings, mem, log, err));
    }
    return vlorpi_run_folder_choose(&t->folder, save_dir, settings->model, settings->dataset,
                                    vlorpi_optimizer_text(settings->optimizer), err);
}

vlorp_status vlorpi_train(const vlorpi_train_settings *settings, vlorpi_mem *mem, const vlorpi_log *log,
                          const vlorpi_kernels *kernels, const vlorp_exec *exec, const vlorpi_train_events *events,
                          vlorp_err *err)
{
    trainer t = {.events = events};
    vlorpi_train_settings adjusted = *settings;
    vlorp_status status = find_folder(&t, &adjusted, mem, log, err);
    if (status == VLORP_OK) {
        status = vlorpi_job_open(&t.job, &adjusted, true, mem, log, kernels, exec, err);
    }
    if (status == VLORP_OK) {
        status = prepare(&t, err);
    }
    if (status == VLORP_OK) {
        status = run_steps(&t, err);
    }
    bool has_model = t.saved_step > 0 && (status == VLORP_OK || status == VLORP_E_INTERRUPTED);
    if (has_model) {
        report(&t);
    }
    if (has_model && events->finished != NULL) {
        events->finished(events->ctx, &t.job, &t.folder);
    }
    vlorpi_metrics_close(&t.metrics);
    vlorpi_job_close(&t.job);
    vlorpi_run_folder_close(&t.folder);
    vlorpi_resume_close(&t.resume);
    return status;
}
