/* bench_optimizer.c - vlorp bench optimizer: one update of all parameters against one copy of what it
 * must touch, the projected matrices' W, S and m_s. */
#include <stdio.h>

#include "base/clock.h"
#include "cli/bench.h"
#include "train/trainer.h"

enum { TOKENS = 64 }; /* of the batch that fills S before each update */

/* Bytes of W, S and m_s of the projected matrices, of W, G, m and v of the others. */
static size_t touched_bytes(const vlorpi_job *job)
{
    size_t n_bytes = 0;
    size_t state = job->settings.state_dtype == VLORP_F32 ? 4 : 2;
    const vlorpi_params *params = vlorpi_model_params(job->model);
    for (int i = 0; i < params->n; i++) {
        vlorp_parameter_info info;
        if (vlorp_optimizer_parameter(job->optimizer, i, &info, NULL) != VLORP_OK) {
            continue;
        }
        const vlorp_projection_used *p = &info.projection;
        n_bytes += vlorpi_param_bytes(&params->items[i]);
        n_bytes += p->M > 0 ? 2 * state * (size_t)(p->u_dim * p->M)
                            : 3 * sizeof(float) * (size_t)vlorpi_param_n_elements(&params->items[i]);
    }
    return n_bytes;
}

static vlorp_status measure(double *median, vlorpi_job *job, int n_repeats, vlorp_err *err)
{
    static double seconds[VLORPI_BENCH_MAX_REPEATS];
    int64_t length = job->sizes.max_length < TOKENS ? job->sizes.max_length : TOKENS;
    for (int i = -1; i < n_repeats; i++) { /* the first warms up */
        vlorpi_step_sums sums = {0};
        vlorpi_bench_batch(job, 1, length);
        VLORP_TRY(vlorpi_train_micro_batch(job, &sums, err));
        vlorp_step step = {.lr = job->settings.lr,
                           .grad_scale = 1.0 / (double)sums.n_targets,
                           .max_grad_norm = job->settings.grad_clipping};
        double begin = vlorpi_clock_seconds();
        VLORP_TRY(vlorp_optimizer_step(job->optimizer, &step, NULL, err));
        if (i >= 0) {
            seconds[i] = vlorpi_clock_seconds() - begin;
        }
    }
    *median = vlorpi_bench_median(seconds, n_repeats);
    return VLORP_OK;
}

vlorp_status vlorpi_bench_optimizer(vlorpi_cli *cli, vlorp_err *err)
{
    vlorpi_bench_machine machine;
    VLORP_TRY(vlorpi_bench_machine_measure(&machine, cli, err));
    vlorpi_job job;
    double seconds = 0;
    vlorp_status status = vlorpi_bench_open(&job, cli, err);
    if (status == VLORP_OK) {
        status = measure(&seconds, &job, (int)vlorpi_options_int(cli->options, "repeats"), err);
    }
    if (status == VLORP_OK) {
        size_t n_bytes = touched_bytes(&job);
        double copy = (double)n_bytes / machine.copy;
        if (vlorpi_options_bool(cli->options, "json")) {
            status = vlorpi_output_json(json_pack("{s:o, s:f, s:I, s:f, s:f}", "machine",
                                                  vlorpi_bench_machine_json(&machine, cli), "seconds", seconds,
                                                  "touched_bytes", (json_int_t)n_bytes, "copy_seconds", copy, "ratio",
                                                  seconds / copy),
                                        err);
        } else {
            char text[32];
            vlorpi_bench_machine_print(&machine, cli);
            (void)printf("one update: %.4f s; %s of weights and state copied once: %.4f s; ratio %.2f\n", seconds,
                         vlorpi_output_bytes(text, sizeof text, n_bytes), copy, seconds / copy);
        }
    }
    vlorpi_job_close(&job);
    return status;
}
