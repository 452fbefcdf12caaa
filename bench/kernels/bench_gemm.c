/* Times the matrix product of each level beside the linked BLAS on the shapes of training, in
 * alternation, and prints GFLOP/s, median and best of the repeats (GB/s of weights for single rows).
 *
 *   bench_gemm [--threads N] [--tokens N] [--level NAME] [--op fwd|dx|dw|right|left|row]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/threads.h"
#include "kernel/blas/blas.h"
#include "kernel/kernel.h"

enum { MAX_REPEATS = 41, N_COLUMNS = 3 }; /* BLAS, ours with fp32 weights, ours with bf16 weights */

/* One product; w is the weight, whose type varies. */
typedef struct product {
    vlorpi_gemm_operand a, b;
    vlorpi_gemm_operand a_bf16, b_bf16;
    int64_t M, N, K;
    bool accumulate;
} product;

typedef struct buffers {
    float *w, *x, *y, *c;
    uint16_t *w_bf16;
} buffers;

typedef struct options {
    int n_threads;
    int64_t tokens; /* 0: all */
    const char *level;
    const char *op; /* NULL: all */
} options;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static float *array(int64_t n)
{
    float *p = aligned_alloc(64, ((size_t)n * sizeof *p + 63) / 64 * 64);
    if (p == NULL) {
        (void)fprintf(stderr, "bench_gemm: out of memory\n");
        exit(1);
    }
    for (int64_t i = 0; i < n; i++) {
        p[i] = (float)(i % 17 - 8);
    }
    return p;
}

static int64_t max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The weight is [n, m]; T tokens; thin outputs have `budget` columns or rows. */
static product make(const char *op, const buffers *s, int64_t T, int64_t n, int64_t m, int64_t budget)
{
    product p = {.accumulate = false};
    if (strcmp(op, "fwd") == 0 || strcmp(op, "row") == 0) {
        p = (product){.M = T, .N = n, .K = m};
        p.a = p.a_bf16 = vlorpi_gemm_rows(s->x, VLORP_F32, m);
        p.b = vlorpi_gemm_transposed(s->w, VLORP_F32, m);
        p.b_bf16 = vlorpi_gemm_transposed(s->w_bf16, VLORP_BF16, m);
    } else if (strcmp(op, "dx") == 0) {
        p = (product){.M = T, .N = m, .K = n};
        p.a = p.a_bf16 = vlorpi_gemm_rows(s->y, VLORP_F32, n);
        p.b = vlorpi_gemm_rows(s->w, VLORP_F32, m);
        p.b_bf16 = vlorpi_gemm_rows(s->w_bf16, VLORP_BF16, m);
    } else {
        bool right = strcmp(op, "right") == 0;
        bool left = strcmp(op, "left") == 0;
        p = (product){.M = left ? budget : n, .N = right ? budget : m, .K = T, .accumulate = true};
        p.a = p.a_bf16 = vlorpi_gemm_transposed(s->y, VLORP_F32, p.M);
        p.b = p.b_bf16 = vlorpi_gemm_rows(s->x, VLORP_F32, p.N);
    }
    return p;
}

static void run_product(int column, const vlorpi_gemm_ctx *ctx, float *c, const product *p)
{
    if (column == 0) {
        vlorpi_gemm_blas_fn *blas = vlorpi_blas_gemm();
        if (blas != NULL) {
            (void)blas(c, p->N, p->accumulate, p->a, p->b, p->M, p->N, p->K);
        }
        return;
    }
    vlorpi_gemm(ctx, c, p->N, p->accumulate, column == 2 ? p->a_bf16 : p->a, column == 2 ? p->b_bf16 : p->b, p->M,
                p->N, p->K);
}

static void time_product(const char *op, const vlorpi_kernels *kernels, const vlorpi_gemm_ctx *ctx, float *c,
                         const product *p)
{
    double seconds[N_COLUMNS][MAX_REPEATS];
    double median[N_COLUMNS];
    double flops = 2.0 * (double)p->M * (double)p->N * (double)p->K;
    int n_repeats = flops < 1e8 ? MAX_REPEATS : flops < 2e9 ? 11 : 5;
    for (int r = -1; r < n_repeats; r++) { /* the first round warms up */
        for (int column = 0; column < N_COLUMNS; column++) {
            double start = vlorpi_clock_seconds();
            run_product(column, ctx, c, p);
            if (r >= 0) {
                seconds[column][r] = vlorpi_clock_seconds() - start;
            }
        }
    }
    (void)printf("%-6s %-5s M %6lld N %6lld K %6lld ", kernels->name, op, (long long)p->M, (long long)p->N,
                 (long long)p->K);
    static const char *const names[N_COLUMNS] = {"blas", "ours", "bf16"};
    for (int column = 0; column < N_COLUMNS; column++) {
        qsort(seconds[column], (size_t)n_repeats, sizeof(double), by_value);
        median[column] = seconds[column][n_repeats / 2];
        (void)printf(" %s %6.1f (%5.1f)", names[column], flops / median[column] * 1e-9,
                     flops / seconds[column][0] * 1e-9);
    }
    (void)printf("  ratio %.2f (%.2f)", median[0] / median[1], seconds[0][0] / seconds[1][0]);
    if (p->M == 1) {
        double weights = (double)p->N * (double)p->K;
        (void)printf("  GB/s: blas %.1f, ours %.1f, bf16 %.1f", 4 * weights / median[0] * 1e-9,
                     4 * weights / median[1] * 1e-9, 2 * weights / median[2] * 1e-9);
    }
    (void)printf("\n");
    (void)fflush(stdout);
}

static void time_weight(const options *o, const vlorpi_kernels *kernels, const vlorpi_gemm_ctx *ctx, int64_t n,
                        int64_t m)
{
    static const int64_t tokens[] = {1, 4, 64, 256, 1024, 4096};
    static const char *const ops[] = {"row", "fwd", "dx", "dw", "right", "left"};
    static const int64_t budgets[] = {36, 64, 256};
    int64_t most = o->tokens > 0 ? o->tokens : 4096;
    buffers s = {.w = array(n * m), .x = array(most * max(m, 256)), .y = array(most * max(n, 256))};
    s.c = array(max(n * m, most * max(n, m)));
    s.w_bf16 = malloc((size_t)(n * m) * sizeof *s.w_bf16);
    for (int64_t i = 0; s.w_bf16 != NULL && i < n * m; i++) {
        kernels->model->f32_to_bf16(&s.w_bf16[i], &s.w[i], 1);
    }
    for (size_t i = 0; i < 6 * 6 && s.w_bf16 != NULL; i++) {
        int64_t T = o->tokens > 0 ? o->tokens : tokens[i % 6];
        const char *op = ops[i / 6];
        bool is_row = strcmp(op, "row") == 0;
        bool is_thin = strcmp(op, "right") == 0 || strcmp(op, "left") == 0;
        double flops = 2.0 * (double)T * (double)n * (double)m;
        if ((o->op != NULL && strcmp(o->op, op) != 0) || is_row != (T < 16) || flops > 1e11 ||
            (o->tokens > 0 && i % 6 != 0)) {
            continue;
        }
        for (int b = 0; b < (is_thin ? 3 : 1); b++) {
            product p = make(op, &s, T, n, m, budgets[b]);
            time_product(op, kernels, ctx, s.c, &p);
        }
    }
    free(s.w);
    free(s.x);
    free(s.y);
    free(s.c);
    free(s.w_bf16);
}

static options parse(int argc, char **argv)
{
    options o = {.n_threads = vlorpi_threads_physical()};
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--threads") == 0) {
            o.n_threads = (int)strtol(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--tokens") == 0) {
            o.tokens = strtoll(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--level") == 0) {
            o.level = argv[i + 1];
        } else if (strcmp(argv[i], "--op") == 0) {
            o.op = argv[i + 1];
        }
    }
    return o;
}

int main(int argc, char **argv)
{
    static const int64_t shapes[][2] = {{576, 576},   {192, 576},   {1536, 576},  {576, 1536}, {2048, 2048},
                                        {5632, 2048}, {4096, 4096}, {49152, 576}};
    options o = parse(argc, argv);
    const vlorpi_kernels *kernels = vlorpi_kernels_select(o.level);
    if (kernels == NULL || o.n_threads < 1 || o.tokens < 0) {
        (void)fprintf(stderr, "usage: bench_gemm [--threads N] [--tokens N] [--level NAME] [--op NAME]\n");
        return 2;
    }
    vlorpi_gemm_ctx ctx = {.kernels = kernels->gemm, .exec = vlorpi_threads_exec(o.n_threads)};
    ctx.scratch = aligned_alloc(64, vlorpi_gemm_scratch_bytes(o.n_threads));
    if (ctx.scratch == NULL) {
        return 1;
    }
    (void)printf("threads %d, BLAS: %s\n", o.n_threads, vlorpi_blas_name());
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        time_weight(&o, kernels, &ctx, shapes[i][0], shapes[i][1]);
    }
    free(ctx.scratch);
    return 0;
}
