/* Time of each model operation on one thread, per level: best of several repeats after a warm-up,
 * as GFLOP/s or GB/s.  Usage: bench_model_kernels [level ...] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernel/kernel.h"

enum { D = 576, F = 1536, V = 49152, N = 1024, E = 64, H = 9, G = 3, REPEATS = 7, POOL = 48 << 20 };

/* One block that every case cuts its arrays from. */
static float *pool;

/* CPU seconds: what else runs on the machine counts less than with the wall clock. */
static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fill(void)
{
    uint32_t x = 1;
    for (int64_t i = 0; i < POOL; i++) {
        x = x * 1664525u + 1013904223u;
        pool[i] = (float)(int32_t)x * 0x1p-31f;
    }
}

typedef struct bench_case {
    const vlorpi_model_kernels *kernels;
    vlorpi_attention_shape shape;
    float *scratch;
    int32_t *index;
} bench_case;

typedef void body(const bench_case *c);

/* Seconds of the fastest of REPEATS runs, each long enough to be timed. */
static double best_time(body *run, const bench_case *c)
{
    double best = 1e9;
    for (int r = 0; r <= REPEATS; r++) {
        int n = 0;
        double start = now();
        double spent;
        do {
            run(c);
            n++;
            spent = now() - start;
        } while (spent < 5e-3);
        if (r > 0 && spent / n < best) {
            best = spent / n;
        }
    }
    return best;
}

static void report(const char *level, const char *what, double seconds, double amount, const char *unit)
{
    (void)printf("%-7s %-34s %9.3f us  %7.1f %s\n", level, what, 1e6 * seconds, 1e-9 * amount / seconds, unit);
}

static void run_rmsnorm_fwd(const bench_case *c)
{
    c->kernels->rmsnorm_fwd(pool, pool + 2 * N * D, pool + N * D, pool + 3 * N * D, N, D, 1e-5f);
}

static void run_rmsnorm_bwd_x(const bench_case *c)
{
    c->kernels->rmsnorm_bwd_x(pool, pool + N * D, pool + 2 * N * D, pool + 3 * N * D, pool + 4 * N * D, N, D);
}

static void run_rmsnorm_bwd_w(const bench_case *c)
{
    c->kernels->rmsnorm_bwd_w(pool, pool + N * D, pool + 2 * N * D, pool + 4 * N * D, N, D, 0, D);
}

static void run_rope(const bench_case *c)
{
    c->kernels->rope_fwd(pool, H * E, c->index, pool + N * D, pool + 2 * N * D, N, H, E);
}

static void run_swiglu_fwd(const bench_case *c)
{
    c->kernels->swiglu_fwd(pool, pool + N * F, pool + 2 * N * F, N * F);
}

static void run_swiglu_bwd(const bench_case *c)
{
    c->kernels->swiglu_bwd(pool, pool + N * F, pool + 2 * N * F, pool + 3 * N * F, pool + 4 * N * F, N * F);
}

static void run_xent_fwd(const bench_case *c)
{
    c->kernels->xent_fwd(pool, pool + 64, c->index, 64, V);
}

static void run_xent_fwd_bwd(const bench_case *c)
{
    c->kernels->xent_fwd_bwd(pool, pool + 64, c->index, 64, V);
}

static void run_add(const bench_case *c)
{
    c->kernels->add(pool, pool + N * F, N * F);
}

static void run_to_bf16(const bench_case *c)
{
    c->kernels->f32_to_bf16((uint16_t *)pool, pool + N * F, N * F);
}

static void run_from_bf16(const bench_case *c)
{
    c->kernels->bf16_to_f32(pool, (const uint16_t *)(pool + N * F), N * F);
}

static void run_argmax(const bench_case *c)
{
    (void)c->kernels->argmax(pool, V);
}

static void run_find_nonfinite(const bench_case *c)
{
    (void)c->kernels->find_nonfinite(pool, N * F);
}

/* q, o, d_o and dq have H heads side by side, k, v, dk and dv G: as a model lays them out. */
enum { ROWS = 4096 };
#define PART(i) (pool + (int64_t)(i) * ROWS * H * E)

static void run_attention_fwd(const bench_case *c)
{
    c->kernels->attention_fwd(PART(0), PART(1), PART(2), PART(3), PART(4), &c->shape, c->scratch);
}

static void run_attention_bwd(const bench_case *c)
{
    c->kernels->attention_bwd(PART(5), PART(6), PART(7), PART(2), PART(3), PART(4), PART(0), PART(8), PART(1),
                              &c->shape, c->scratch);
}

/* Operations of the pairs that causality leaves, 2 products forward and 5 backward. */
static void bench_attention(const char *level, bench_case *c, int64_t n_q, int64_t n_kv, int64_t head_width)
{
    c->shape = (vlorpi_attention_shape){.n_q = n_q, .n_kv = n_kv, .q_offset = n_kv - n_q, .E = head_width,
                                        .ldq = H * head_width, .ldk = G * head_width, .ldv = G * head_width,
                                        .ldo = H * head_width, .scale = 0.125f};
    double pairs = (double)n_q * (double)(n_kv - n_q) + 0.5 * (double)n_q * (double)(n_q + 1);
    double forward = best_time(run_attention_fwd, c);
    char what[64];
    (void)snprintf(what, sizeof what, "attention fwd %lld x %lld, E %lld", (long long)n_q, (long long)n_kv,
                   (long long)head_width);
    report(level, what, forward, 4 * pairs * (double)head_width, "GFLOP/s");
    if (n_q == 1) {
        return;
    }
    double backward = best_time(run_attention_bwd, c);
    (void)snprintf(what, sizeof what, "attention bwd %lld x %lld, E %lld", (long long)n_q, (long long)n_kv,
                   (long long)head_width);
    report(level, what, backward, 10 * pairs * (double)head_width, "GFLOP/s");
}

static void bench_level(const vlorpi_kernels *kernels, int32_t *index)
{
    bench_case c = {.kernels = kernels->model, .index = index, .scratch = pool + POOL - (1 << 20)};
    const char *level = kernels->name;
    const double nd = (double)N * D * sizeof(float);
    const double nf = (double)N * F * sizeof(float);
    const double nv = 64.0 * V * sizeof(float);
    report(level, "rmsnorm_fwd 1024 x 576", best_time(run_rmsnorm_fwd, &c), 2 * nd, "GB/s");
    report(level, "rmsnorm_bwd_x", best_time(run_rmsnorm_bwd_x, &c), 4 * nd, "GB/s");
    report(level, "rmsnorm_bwd_w", best_time(run_rmsnorm_bwd_w, &c), 2 * nd, "GB/s");
    report(level, "rope_fwd 1024 x 9 x 64", best_time(run_rope, &c), 2 * nd, "GB/s");
    report(level, "swiglu_fwd 1024 x 1536", best_time(run_swiglu_fwd, &c), 3 * nf, "GB/s");
    report(level, "swiglu_bwd", best_time(run_swiglu_bwd, &c), 5 * nf, "GB/s");
    report(level, "xent_fwd 64 x 49152", best_time(run_xent_fwd, &c), nv, "GB/s");
    report(level, "xent_fwd_bwd", best_time(run_xent_fwd_bwd, &c), 2 * nv, "GB/s");
    report(level, "add", best_time(run_add, &c), 3 * nf, "GB/s");
    report(level, "f32_to_bf16", best_time(run_to_bf16, &c), 1.5 * nf, "GB/s");
    report(level, "bf16_to_f32", best_time(run_from_bf16, &c), 1.5 * nf, "GB/s");
    report(level, "argmax of 49152", best_time(run_argmax, &c), (double)V * sizeof(float), "GB/s");
    fill();
    report(level, "find_nonfinite", best_time(run_find_nonfinite, &c), nf, "GB/s");
    static const int64_t lengths[] = {50, 64, 100, 150, 256, 512, 1024, 4096};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        fill();
        bench_attention(level, &c, lengths[i], lengths[i], 64);
    }
    bench_attention(level, &c, 256, 256, 128);
    bench_attention(level, &c, 256, 256, 8);
    bench_attention(level, &c, 1, 1024, 64);
    bench_attention(level, &c, 1, 4096, 64);
}

int main(int argc, char **argv)
{
    pool = aligned_alloc(64, (size_t)POOL * sizeof(float));
    int32_t *index = malloc(N * sizeof *index);
    if (pool == NULL || index == NULL) {
        return 1;
    }
    for (int32_t i = 0; i < N; i++) {
        index[i] = i;
    }
    fill();
    const vlorpi_kernels *kernels;
    for (int i = 0; (kernels = vlorpi_kernels_at(i)) != NULL; i++) {
        bool wanted = argc == 1;
        for (int a = 1; a < argc; a++) {
            wanted = wanted || strcmp(argv[a], kernels->name) == 0;
        }
        if (wanted) {
            fill();
            bench_level(kernels, index);
        }
    }
    free(index);
    free(pool);
    return 0;
}
