/* bench_step.c - vlorp bench step: a whole optimizer step, split by phase, against the machine's limit. */
#include <stdio.h>

#include "base/clock.h"
#include "cli/bench.h"
#include "train/made_up.h"

enum { FORWARD, HEAD, BACKWARD, RECOMPUTE, GRADIENTS, UPDATE, WHOLE, N_PHASES };

static const char *const phase_names[N_PHASES] = {"forward",   "head",   "backward", "recompute",
                                                  "gradients", "update", "whole step"};

/* The medians of all repeats. */
typedef struct step_report {
    double seconds[N_PHASES];
    double operations[N_PHASES];
    int64_t n_tokens, n_targets;
} step_report;

/* One step: gradients of the data's next batch, or of made-up tokens, and the update. */
static vlorp_status take_step(vlorpi_job *job, int64_t step, vlorpi_step_sums *sums, vlorp_err *err)
{
    if (job->data == NULL) {
        return vlorpi_made_up_step(job, job->sizes.max_examples, job->sizes.max_length, sums, err);
    }
    VLORP_TRY(vlorpi_train_accumulate(job, step, sums, err));
    vlorp_step s = vlorpi_train_update(job, step, sums->n_targets);
    double begin = vlorpi_clock_seconds();
    VLORP_TRY(vlorp_optimizer_step(job->optimizer, &s, NULL, err));
    sums->seconds.update += vlorpi_clock_seconds() - begin;
    return VLORP_OK;
}

static void split(double parts[N_PHASES], const vlorpi_step_seconds *s, double whole)
{
    parts[FORWARD] = s->forward;
    parts[HEAD] = s->head;
    parts[BACKWARD] = s->backward;
    parts[RECOMPUTE] = s->recompute;
    parts[GRADIENTS] = s->gradients;
    parts[UPDATE] = s->update;
    parts[WHOLE] = whole;
}

static vlorp_status measure(step_report *report, vlorpi_job *job, int n_repeats, vlorp_err *err)
{
    static double seconds[N_PHASES][VLORPI_BENCH_MAX_REPEATS];
    vlorpi_step_sums sums = {0};
    for (int i = -1; i < n_repeats; i++) { /* the first warms up */
        double begin = vlorpi_clock_seconds();
        VLORP_TRY(take_step(job, i + 1, &sums, err));
        double parts[N_PHASES];
        split(parts, &sums.seconds, vlorpi_clock_seconds() - begin);
        for (int phase = 0; i >= 0 && phase < N_PHASES; phase++) {
            seconds[phase][i] = parts[phase];
        }
    }
    for (int phase = 0; phase < N_PHASES; phase++) {
        report->seconds[phase] = vlorpi_bench_median(seconds[phase], n_repeats);
    }
    const vlorpi_step_work *w = &sums.work;
    const double operations[N_PHASES] = {w->forward,   w->head, w->backward, w->recompute,
                                         w->gradients, 0,       vlorpi_work_total(w)};
    for (int phase = 0; phase < N_PHASES; phase++) {
        report->operations[phase] = operations[phase];
    }
    report->n_tokens = sums.n_tokens;
    report->n_targets = sums.n_targets;
    return VLORP_OK;
}

static void print_report(const step_report *r, const vlorpi_bench_machine *machine, size_t peak_bytes)
{
    char memory[32];
    (void)printf("%-12s %9s %7s %9s %9s %8s\n", "", "seconds", "share", "GFLOP", "GFLOP/s", "of peak");
    for (int phase = 0; phase < N_PHASES; phase++) {
        double rate = r->seconds[phase] > 0 ? r->operations[phase] / r->seconds[phase] : 0;
        (void)printf("%-12s %9.4f %6.1f%%", phase_names[phase], r->seconds[phase],
                     100 * r->seconds[phase] / r->seconds[WHOLE]);
        if (r->operations[phase] > 0) {
            (void)printf(" %9.1f %9.1f %7.1f%%", r->operations[phase] * 1e-9, rate * 1e-9,
                         100 * rate / machine->fma_all);
        }
        (void)printf("\n");
    }
    (void)printf("%lld tokens, %lld targets: %.1f tokens/s; %s in the ledger\n", (long long)r->n_tokens,
                 (long long)r->n_targets, (double)r->n_tokens / r->seconds[WHOLE],
                 vlorpi_output_bytes(memory, sizeof memory, peak_bytes));
}

static json_t *report_json(const step_report *r, const vlorpi_bench_machine *machine, const vlorpi_cli *cli,
                           size_t peak_bytes)
{
    json_t *phases = json_object();
    for (int phase = 0; phase < N_PHASES && phases != NULL; phase++) {
        json_t *part = json_pack("{s:f, s:f}", "seconds", r->seconds[phase], "flops", r->operations[phase]);
        if (json_object_set_new(phases, phase_names[phase], part) != 0) {
            json_decref(phases);
            phases = NULL;
        }
    }
    return json_pack("{s:o, s:o, s:I, s:I, s:f, s:f, s:I}", "machine", vlorpi_bench_machine_json(machine, cli),
                     "phases", phases, "tokens", (json_int_t)r->n_tokens, "targets", (json_int_t)r->n_targets,
                     "tokens_per_second", (double)r->n_tokens / r->seconds[WHOLE], "share_of_peak",
                     r->operations[WHOLE] / r->seconds[WHOLE] / machine->fma_all, "memory_bytes",
                     (json_int_t)peak_bytes);
}

vlorp_status vlorpi_bench_step(vlorpi_cli *cli, vlorp_err *err)
{
    vlorpi_bench_machine machine;
    VLORP_TRY(vlorpi_bench_machine_measure(&machine, cli, err));
    vlorpi_job job;
    step_report report = {0};
    vlorp_status status = vlorpi_bench_open(&job, cli, err);
    if (status == VLORP_OK) {
        status = measure(&report, &job, (int)vlorpi_options_int(cli->options, "repeats"), err);
    }
    if (status == VLORP_OK) {
        size_t peak_bytes = job.plan.usage.total_bytes;
        if (vlorpi_options_bool(cli->options, "json")) {
            status = vlorpi_output_json(report_json(&report, &machine, cli, peak_bytes), err);
        } else {
            vlorpi_bench_machine_print(&machine, cli);
            print_report(&report, &machine, peak_bytes);
        }
    }
    vlorpi_job_close(&job);
    return status;
}
