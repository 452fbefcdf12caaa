/* bench_machine.c - this machine's limits: multiply-adds in registers, and copying memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/bench.h"
#include "kernel/gemm_kernels.h"

enum { N_TRIES = 7, COPY_BYTES = 256 << 20, COPY_CHUNK = 1 << 20 };
static const double try_seconds = 0.05;

typedef struct fma_job {
    const vlorpi_gemm_kernels *kernels;
    int64_t n_rounds;
    volatile float sink; /* written by one thread or another, read by nobody */
} fma_job;

static void fma_item(void *arg, int64_t item, int thread)
{
    fma_job *job = arg;
    (void)item;
    (void)thread;
    job->sink = job->kernels->fma_loop(job->n_rounds);
}

/* The best of some tries: a limit is what the machine can do when nobody disturbs. */
static double fma_rate(const vlorpi_gemm_kernels *kernels, const vlorp_exec *exec)
{
    fma_job job = {.kernels = kernels, .n_rounds = 1 << 16};
    int64_t n_items = 4 * (int64_t)exec->n_threads;
    double best = 0;
    for (int i = 0; i < N_TRIES; i++) {
        double begin = vlorpi_clock_seconds();
        vlorpi_for_each(exec, n_items, fma_item, &job);
        double seconds = vlorpi_clock_seconds() - begin;
        double rate = (double)(n_items * job.n_rounds * kernels->fma_loop_operations) / seconds;
        best = rate > best ? rate : best;
        if (seconds < try_seconds) {
            job.n_rounds = (int64_t)((double)job.n_rounds * 1.5 * try_seconds / seconds);
        }
    }
    return best;
}

typedef struct copy_job {
    char *to;
    const char *from;
} copy_job;

static void copy_item(void *arg, int64_t item, int thread)
{
    const copy_job *job = arg;
    (void)thread;
    memcpy(job->to + item * COPY_CHUNK, job->from + item * COPY_CHUNK, COPY_CHUNK);
}

static double copy_rate(const vlorp_exec *exec, char *to, const char *from)
{
    copy_job job = {to, from};
    double best = 0;
    for (int i = 0; i < N_TRIES; i++) {
        double begin = vlorpi_clock_seconds();
        vlorpi_for_each(exec, COPY_BYTES / COPY_CHUNK, copy_item, &job);
        double rate = COPY_BYTES / (vlorpi_clock_seconds() - begin);
        best = rate > best ? rate : best;
    }
    return best;
}

vlorp_status vlorpi_bench_machine_measure(vlorpi_bench_machine *machine, vlorpi_cli *cli, vlorp_err *err)
{
    const vlorp_exec one = {.n_threads = 1};
    machine->fma_one = fma_rate(cli->kernels->gemm, &one);
    machine->fma_all = fma_rate(cli->kernels->gemm, &cli->exec);
    char *buffers = vlorpi_mem_alloc(cli->mem, VLORPI_MEM_WORKSPACE, 2 * (size_t)COPY_BYTES);
    if (buffers == NULL) {
        return vlorpi_mem_fail(cli->mem, VLORPI_MEM_WORKSPACE, 2 * (size_t)COPY_BYTES, err);
    }
    memset(buffers, 1, 2 * (size_t)COPY_BYTES); /* the pages are there before the clock runs */
    machine->copy = copy_rate(&cli->exec, buffers, buffers + COPY_BYTES);
    vlorpi_mem_free(cli->mem, buffers);
    return VLORP_OK;
}

void vlorpi_bench_machine_print(const vlorpi_bench_machine *machine, const vlorpi_cli *cli)
{
    (void)printf("%s, %d threads: %.1f GFLOP/s multiply-add (one thread %.1f), copies %.1f GB/s\n", cli->kernels->name,
                 cli->n_threads, machine->fma_all * 1e-9, machine->fma_one * 1e-9, machine->copy * 1e-9);
}

json_t *vlorpi_bench_machine_json(const vlorpi_bench_machine *machine, const vlorpi_cli *cli)
{
    return json_pack("{s:i, s:s, s:f, s:f, s:f}", "threads", cli->n_threads, "level", cli->kernels->name,
                     "fma_flops_one_thread", machine->fma_one, "fma_flops", machine->fma_all, "copy_bytes_per_second",
                     machine->copy);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

double vlorpi_bench_median(double *values, int n)
{
    qsort(values, (size_t)n, sizeof *values, by_value);
    return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}
