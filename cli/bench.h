/* bench.h - what the parts of `vlorp bench` share: yardsticks, medians, a job of made-up tokens.
 *
 * Layer 7.  Every figure is the median of --repeats measurements after one that warms up; the
 * machine's own limits are measured in the same run.
 */
#ifndef VLORPI_CLI_BENCH_H
#define VLORPI_CLI_BENCH_H

#include "cli/command.h"
#include "train/job.h"

enum { VLORPI_BENCH_MAX_REPEATS = 1000 };

/* The yardsticks. */
typedef struct vlorpi_bench_machine {
    double fma_one;  /* operations per second of one thread that multiplies and adds in registers */
    double fma_all;  /* of all threads */
    double copy;     /* bytes copied per second by all threads, from memory to memory (each byte once) */
} vlorpi_bench_machine;

/* Takes about two seconds, and 512 MiB of workspace for the time being. */
VLORP_CHECKED vlorp_status vlorpi_bench_machine_measure(vlorpi_bench_machine *machine, vlorpi_cli *cli, vlorp_err *err);
void vlorpi_bench_machine_print(const vlorpi_bench_machine *machine, const vlorpi_cli *cli);
/* {"threads", "level", "fma_flops_one_thread", "fma_flops", "copy_bytes_per_second"}; NULL: out of memory. */
json_t *vlorpi_bench_machine_json(const vlorpi_bench_machine *machine, const vlorpi_cli *cli);

/* Sorts values; the middle one. */
double vlorpi_bench_median(double *values, int n);

/* A job of train's options, allocated; without --dataset its batches are made up.  A config.json alone means
 * random weights.  Owner: the caller, vlorpi_job_close, also after an error. */
VLORP_CHECKED vlorp_status vlorpi_bench_open(vlorpi_job *job, vlorpi_cli *cli, vlorp_err *err);

/* The three parts. */
vlorpi_command vlorpi_bench_kernels;   /* bench_kernels.c */
vlorpi_command vlorpi_bench_step;      /* bench_step.c */
vlorpi_command vlorpi_bench_optimizer; /* bench_optimizer.c */

#endif
