/* bench_kernels.c - vlorp bench kernels: the products and the attention of training, GFLOP/s against the
 * machine's multiply-add limit, beside the linked BLAS where there is one. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cli/bench.h"
#include "kernel/blas/blas.h"
#include "model/ops.h"

enum { DEFAULT_TOKENS = 1024, MAX_SHAPES = 8, N_COLUMNS = 3 };

static const char *const column_names[N_COLUMNS] = {"ours_f32", "ours_bf16", "blas_f32"};

/* What is timed: the weights of a model, its attention, and a number of tokens. */
typedef struct workload {
    int64_t shapes[MAX_SHAPES][2]; /* n x m, each once */
    int n_shapes;
    int64_t T, M, H, G, E;
} workload;

typedef struct bench {
    vlorpi_cli *cli;
    vlorpi_bench_machine machine;
    workload work;
    vlorpi_gemm_ctx gemm;
    int n_repeats;
    json_t *rows; /* NULL: a table is printed */
    float *w, *x, *y, *out;
    uint16_t *w_bf16;
} bench;

/* One product of a training step; b may be the weight, which is fp32 or bf16. */
typedef struct product {
    const char *name;
    vlorpi_gemm_operand a, b, b_bf16;
    int64_t M, N, K;
    bool accumulate;
} product;

static void add_shape(workload *w, int64_t n, int64_t m)
{
    for (int i = 0; i < w->n_shapes; i++) {
        if (w->shapes[i][0] == n && w->shapes[i][1] == m) {
            return;
        }
    }
    if (w->n_shapes < MAX_SHAPES) {
        w->shapes[w->n_shapes][0] = n;
        w->shapes[w->n_shapes++][1] = m;
    }
}

static void set_model(workload *w, int64_t D, int64_t F, int64_t V, int64_t H, int64_t G, int64_t E)
{
    w->H = H;
    w->G = G;
    w->E = E;
    add_shape(w, H * E, D);
    add_shape(w, G * E, D);
    add_shape(w, D, H * E);
    add_shape(w, F, D);
    add_shape(w, D, F);
    add_shape(w, V, D);
}

/* The shapes of --model, or those of SmolLM2-135M. */
static vlorp_status choose(workload *w, const vlorpi_cli *cli, vlorp_err *err)
{
    const vlorpi_options *o = cli->options;
    *w = (workload){.T = vlorpi_options_has(o, "micro_tokens") ? vlorpi_options_int(o, "micro_tokens") : DEFAULT_TOKENS,
                    .M = vlorpi_options_has(o, "budget") ? vlorpi_options_int(o, "budget") : 64};
    if (!vlorpi_options_has(o, "model")) {
        set_model(w, 576, 1536, 49152, 9, 3, 64);
        return VLORP_OK;
    }
    const char *path = NULL;
    vlorpi_source *source = NULL;
    vlorpi_model_config c;
    VLORP_TRY(vlorpi_options_model(o, &path, err));
    VLORP_TRY(vlorpi_source_open(&source, cli->mem, path, false, err));
    vlorp_status status = vlorpi_model_config_load(&c, source, err);
    vlorpi_source_close(source);
    if (status == VLORP_OK) {
        set_model(w, c.D, c.F, c.V, c.H, c.G, c.E);
    }
    return status;
}

static int64_t largest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* n floats that are small whole numbers. */
static float *make_array(const vlorpi_cli *cli, int64_t n, vlorp_err *err)
{
    float *a = vlorpi_mem_alloc(cli->mem, VLORPI_MEM_WORKSPACE, (size_t)n * sizeof *a);
    if (a == NULL) {
        (void)vlorpi_mem_fail(cli->mem, VLORPI_MEM_WORKSPACE, (size_t)n * sizeof *a, err);
        return NULL;
    }
    for (int64_t i = 0; i < n; i++) {
        a[i] = (float)(i % 17 - 8) * 0.125f;
    }
    return a;
}

static vlorp_status allocate(bench *b, vlorp_err *err)
{
    const workload *w = &b->work;
    int64_t weight = 0;
    int64_t width = w->M;
    for (int i = 0; i < w->n_shapes; i++) {
        weight = largest(weight, w->shapes[i][0] * w->shapes[i][1]);
        width = largest(width, largest(w->shapes[i][0], w->shapes[i][1]));
    }
    size_t scratch_bytes = vlorpi_gemm_scratch_bytes(b->cli->n_threads);
    b->gemm = (vlorpi_gemm_ctx){.kernels = b->cli->kernels->gemm, .exec = b->cli->exec, .blas = vlorpi_blas_gemm()};
    b->w = make_array(b->cli, weight, err);
    b->x = b->w != NULL ? make_array(b->cli, w->T * width, err) : NULL;
    b->y = b->x != NULL ? make_array(b->cli, w->T * width, err) : NULL;
    b->out = b->y != NULL ? make_array(b->cli, largest(w->T, w->M) * width, err) : NULL;
    b->w_bf16 = b->out != NULL ? (uint16_t *)make_array(b->cli, (weight + 1) / 2, err) : NULL;
    b->gemm.scratch = b->w_bf16 != NULL ? make_array(b->cli, (int64_t)(scratch_bytes / sizeof(float)), err) : NULL;
    if (b->gemm.scratch == NULL) {
        return err != NULL ? err->code : VLORP_E_NOMEM;
    }
    b->cli->kernels->model->f32_to_bf16(b->w_bf16, b->w, weight);
    return VLORP_OK;
}

static void release(bench *b)
{
    vlorpi_mem *mem = b->cli->mem;
    vlorpi_mem_free(mem, b->w);
    vlorpi_mem_free(mem, b->x);
    vlorpi_mem_free(mem, b->y);
    vlorpi_mem_free(mem, b->out);
    vlorpi_mem_free(mem, b->w_bf16);
    vlorpi_mem_free(mem, b->gemm.scratch);
}

/* Operations per second; 0 where the product cannot be run that way. */
static double time_product(const bench *b, const product *p, int column)
{
    static double seconds[VLORPI_BENCH_MAX_REPEATS];
    vlorpi_gemm_ctx ctx = b->gemm;
    for (int i = -1; i < b->n_repeats; i++) {
        double begin = vlorpi_clock_seconds();
        if (column == 2) {
            if (ctx.blas == NULL || !ctx.blas(b->out, p->N, p->accumulate, p->a, p->b, p->M, p->N, p->K)) {
                return 0;
            }
        } else {
            vlorpi_gemm(&ctx, b->out, p->N, p->accumulate, p->a, column == 0 ? p->b : p->b_bf16, p->M, p->N, p->K);
        }
        if (i >= 0) {
            seconds[i] = vlorpi_clock_seconds() - begin;
        }
    }
    return 2.0 * (double)p->M * (double)p->N * (double)p->K / vlorpi_bench_median(seconds, b->n_repeats);
}

static vlorp_status report_product(bench *b, const product *p, vlorp_err *err)
{
    double rates[N_COLUMNS];
    for (int column = 0; column < N_COLUMNS; column++) {
        rates[column] = time_product(b, p, column);
    }
    if (b->rows == NULL) {
        (void)printf("%-8s %7" PRId64 " %7" PRId64 " %7" PRId64, p->name, p->M, p->N, p->K);
        for (int column = 0; column < N_COLUMNS; column++) {
            (void)printf(" %10.1f %5.1f%%", rates[column] * 1e-9, 100 * rates[column] / b->machine.fma_all);
        }
        (void)printf("\n");
        return fflush(stdout) == 0 ? VLORP_OK : vlorpi_output_flush(err);
    }
    json_t *row = json_pack("{s:s, s:I, s:I, s:I, s:f, s:f, s:f}", "op", p->name, "M", (json_int_t)p->M, "N",
                            (json_int_t)p->N, "K", (json_int_t)p->K, column_names[0], rates[0], column_names[1],
                            rates[1], column_names[2], rates[2]);
    return json_array_append_new(b->rows, row) == 0
               ? VLORP_OK
               : vlorpi_err_set(err, VLORP_E_NOMEM, "out of memory for the result");
}

/* Forward, input gradient and projected gradient of a weight [n, m]. */
static vlorp_status time_weight(bench *b, int64_t n, int64_t m, vlorp_err *err)
{
    int64_t T = b->work.T;
    int64_t M = b->work.M;
    product forward = {.name = "forward", .M = T, .N = n, .K = m, .a = vlorpi_gemm_rows(b->x, VLORP_F32, m)};
    forward.b = vlorpi_gemm_transposed(b->w, VLORP_F32, m);
    forward.b_bf16 = vlorpi_gemm_transposed(b->w_bf16, VLORP_BF16, m);
    VLORP_TRY(report_product(b, &forward, err));
    product dx = {.name = "dX", .M = T, .N = m, .K = n, .a = vlorpi_gemm_rows(b->y, VLORP_F32, n)};
    dx.b = vlorpi_gemm_rows(b->w, VLORP_F32, m);
    dx.b_bf16 = vlorpi_gemm_rows(b->w_bf16, VLORP_BF16, m);
    VLORP_TRY(report_product(b, &dx, err));
    bool right = n >= m;
    product s = {.name = "S", .M = right ? n : M, .N = right ? M : m, .K = T, .accumulate = true};
    s.a = vlorpi_gemm_transposed(b->y, VLORP_F32, s.M);
    s.b = s.b_bf16 = vlorpi_gemm_rows(b->x, VLORP_F32, s.N);
    return report_product(b, &s, err);
}

/* The seconds of one pass over one example of T tokens, all heads. */
static double time_attention(const vlorpi_ops *ops, const vlorpi_attention *a, float *const arrays[9], bool backward,
                             int n_repeats)
{
    static double seconds[VLORPI_BENCH_MAX_REPEATS];
    for (int i = -1; i < n_repeats; i++) {
        double begin = vlorpi_clock_seconds();
        if (backward) {
            vlorpi_ops_attention_bwd(ops, arrays[5], arrays[6], arrays[7], arrays[0], arrays[1], arrays[2], arrays[3],
                                     arrays[8], arrays[4], a);
        } else {
            vlorpi_ops_attention(ops, arrays[3], arrays[4], arrays[0], arrays[1], arrays[2], a);
        }
        if (i >= 0) {
            seconds[i] = vlorpi_clock_seconds() - begin;
        }
    }
    return vlorpi_bench_median(seconds, n_repeats);
}

static vlorp_status report_attention(bench *b, const vlorpi_ops *ops, float *const arrays[9], vlorp_err *err)
{
    const workload *w = &b->work;
    const int32_t segment_begin[2] = {0, (int32_t)w->T};
    vlorpi_attention attention = {
        .H = w->H, .G = w->G, .E = w->E, .segment_begin = segment_begin, .n_segments = 1, .ld_lse = w->T};
    double pass = (double)w->T * (double)(w->T + 1) * (double)(w->H * w->E); /* operations of one of them, causal */
    for (int backward = 0; backward < 2; backward++) {
        double rate = (backward ? 5 : 2) * pass / time_attention(ops, &attention, arrays, backward, b->n_repeats);
        const char *name = backward ? "attention backward" : "attention forward";
        if (b->rows == NULL) {
            (void)printf("%-18s %2" PRId64 " heads of %" PRId64 ", %" PRId64 " tokens %10.1f %5.1f%%\n", name, w->H,
                         w->E, w->T, rate * 1e-9, 100 * rate / b->machine.fma_all);
        } else if (json_array_append_new(b->rows, json_pack("{s:s, s:I, s:f}", "op", name, "T", (json_int_t)w->T,
                                                            column_names[0], rate)) != 0) {
            return vlorpi_err_set(err, VLORP_E_NOMEM, "out of memory for the result");
        }
    }
    return VLORP_OK;
}

static vlorp_status time_all_attention(bench *b, vlorp_err *err)
{
    const workload *w = &b->work;
    int64_t wide = w->T * w->H * w->E;
    int64_t narrow = w->T * w->G * w->E;
    /* q, k, v, o, lse, dq, dk, dv, d_o; dk and dv of each query head */
    const int64_t sizes[9] = {wide, narrow, narrow, wide, w->H * w->T, wide, wide, wide, wide};
    vlorpi_ops ops = {.kernels = b->cli->kernels->model, .exec = b->cli->exec};
    ops.attention_scratch_stride = (ops.kernels->attention_scratch_floats(w->E) + 15) / 16 * 16;
    ops.attention_scratch = make_array(b->cli, ops.attention_scratch_stride * b->cli->n_threads, err);
    float *arrays[9] = {NULL};
    bool made = ops.attention_scratch != NULL;
    for (int i = 0; i < 9 && made; i++) {
        arrays[i] = make_array(b->cli, sizes[i], err);
        made = arrays[i] != NULL;
    }
    vlorp_status status = made ? report_attention(b, &ops, arrays, err) : VLORP_E_NOMEM;
    for (int i = 0; i < 9; i++) {
        vlorpi_mem_free(b->cli->mem, arrays[i]);
    }
    vlorpi_mem_free(b->cli->mem, ops.attention_scratch);
    return status;
}

static vlorp_status run(bench *b, vlorp_err *err)
{
    if (b->rows == NULL) {
        vlorpi_bench_machine_print(&b->machine, b->cli);
        (void)printf("GFLOP/s and share of the limit; BLAS: %s\n", vlorpi_blas_name());
        (void)printf("%-8s %7s %7s %7s", "", "M", "N", "K");
        for (int column = 0; column < N_COLUMNS; column++) {
            (void)printf(" %17s", column_names[column]);
        }
        (void)printf("\n");
    }
    VLORP_TRY(allocate(b, err));
    for (int i = 0; i < b->work.n_shapes; i++) {
        VLORP_TRY(time_weight(b, b->work.shapes[i][0], b->work.shapes[i][1], err));
    }
    return time_all_attention(b, err);
}

vlorp_status vlorpi_bench_kernels(vlorpi_cli *cli, vlorp_err *err)
{
    bench b = {.cli = cli, .n_repeats = (int)vlorpi_options_int(cli->options, "repeats")};
    VLORP_TRY(choose(&b.work, cli, err));
    VLORP_TRY(vlorpi_bench_machine_measure(&b.machine, cli, err));
    bool json = vlorpi_options_bool(cli->options, "json");
    b.rows = json ? json_array() : NULL;
    vlorp_status status = run(&b, err);
    release(&b);
    if (status == VLORP_OK && json) {
        return vlorpi_output_json(
            json_pack("{s:o, s:o}", "machine", vlorpi_bench_machine_json(&b.machine, cli), "rows", b.rows), err);
    }
    json_decref(b.rows);
    return status;
}
