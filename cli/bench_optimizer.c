/* bench_optimizer.c - vlorp bench optimizer: one update of all parameters against one copy of what it
 * must touch, the projected matrices' W, S and m_s. */
#include <stdio.h>

#include "cli/bench.h"
#include "train/made_up.h"

enum { TOKENS = 64 }; /* of the batch that fills S before each update */

static vlorp_status measure(double *median, vlorpi_job *job, int n_repeats, vlorp_err *err)
{
    static double seconds[VLORPI_BENCH_MAX_REPEATS];
    int64_t length = job->sizes.max_length < TOKENS ? job->sizes.max_length : TOKENS;
    for (int i = -1; i < n_repeats; i++) { /* the first warms up */
        vlorpi_step_sums sums;
        VLORP_TRY(vlorpi_made_up_step(job, 1, length, &sums, err));
        if (i >= 0) {
            seconds[i] = sums.seconds.update;
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
        size_t n_bytes = (size_t)vlorpi_work_update_bytes(&job);
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
