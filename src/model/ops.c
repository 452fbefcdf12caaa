#include "model/ops.h"

#include <string.h>

#include "base/threads.h"

enum {
    CHUNK_FLOATS = 1 << 15,   /* of one item of an elementwise loop: well inside a core's L2 */
    COLUMN_CHUNK = 64         /* columns of one item of a reduction over tokens */
};

typedef void range_fn(const vlorpi_ops *ops, const void *arg, int64_t begin, int64_t end);

typedef struct range_loop {
    const vlorpi_ops *ops;
    range_fn *run;
    const void *arg;
    int64_t n, chunk;
} range_loop;

static void range_task(void *arg, int64_t item, int thread)
{
    const range_loop *loop = arg;
    (void)thread;
    int64_t begin = item * loop->chunk;
    int64_t end = begin + loop->chunk < loop->n ? begin + loop->chunk : loop->n;
    loop->run(loop->ops, loop->arg, begin, end);
}

static void for_ranges(const vlorpi_ops *ops, int64_t n, int64_t chunk, range_fn *run, const void *arg)
{
    range_loop loop = {.ops = ops, .run = run, .arg = arg, .n = n, .chunk = chunk};
    vlorpi_for_each(&ops->exec, (n + chunk - 1) / chunk, range_task, &loop);
}

/* n rows of width floats, in chunks of about CHUNK_FLOATS. */
static void for_rows(const vlorpi_ops *ops, int64_t n, int64_t width, range_fn *run, const void *arg)
{
    int64_t rows = CHUNK_FLOATS / width;
    for_ranges(ops, n, rows > 0 ? rows : 1, run, arg);
}

/* ---- linear layers ---- */

typedef struct bias_arg {
    float *y;
    const float *bias;
    int64_t n;
    bool accumulate;
} bias_arg;

static void bias_rows(const vlorpi_ops *ops, const void *arg, int64_t begin, int64_t end)
{
    const bias_arg *a = arg;
    for (int64_t t = begin; t < end; t++) {
        if (a->accumulate) {
            ops->kernels->add(a->y + t * a->n, a->bias, a->n);
        } else {
            memcpy(a->y + t * a->n, a->bias, (size_t)a->n * sizeof(float));
        }
    }
}

void vlorpi_ops_linear(const vlorpi_ops *ops, float *y, bool accumulate, const float *x, const vlorpi_linear *linear,
                       int64_t N)
{
    if (linear->bias != NULL) {
        bias_arg arg = {.y = y, .bias = linear->bias, .n = linear->n, .accumulate = accumulate};
        for_rows(ops, N, linear->n, bias_rows, &arg);
        accumulate = true;
    }
    vlorpi_gemm(&ops->gemm, y, linear->n, accumulate, vlorpi_gemm_rows(x, VLORP_F32, linear->m),
                vlorpi_gemm_transposed(linear->w, linear->dtype, linear->m), N, linear->n, linear->m);
}

void vlorpi_ops_linear_bwd(const vlorpi_ops *ops, float *dx, bool accumulate, const float *dy,
                           const vlorpi_linear *linear, int64_t N)
{
    vlorpi_gemm(&ops->gemm, dx, linear->m, accumulate, vlorpi_gemm_rows(dy, VLORP_F32, linear->n),
                vlorpi_gemm_rows(linear->w, linear->dtype, linear->m), N, linear->m, linear->n);
}

/* ---- rows ---- */

typedef struct rows_arg {
    float *y;
    const void *x;
    vlorp_dtype dtype;
    const int32_t *rows;
    int64_t D;
} rows_arg;

static void embed_rows(const vlorpi_ops *ops, const void *arg, int64_t begin, int64_t end)
{
    const rows_arg *a = arg;
    float *y = a->y + begin * a->D;
    if (a->dtype == VLORP_BF16) {
        ops->kernels->embed_fwd_bf16(y, a->x, a->rows + begin, end - begin, a->D);
    } else {
        ops->kernels->embed_fwd_f32(y, a->x, a->rows + begin, end - begin, a->D);
    }
}

void vlorpi_ops_embed(const vlorpi_ops *ops, float *y, const void *table, vlorp_dtype dtype, const int32_t *ids,
                      int64_t N, int64_t D)
{
    rows_arg arg = {.y = y, .x = table, .dtype = dtype, .rows = ids, .D = D};
    for_rows(ops, N, D, embed_rows, &arg);
}

static void gather_range(const vlorpi_ops *ops, const void *arg, int64_t begin, int64_t end)
{
    const rows_arg *a = arg;
    ops->kernels->gather_rows(a->y + begin * a->D, a->x, a->D, a->rows + begin, end - begin, a->D);
}

void vlorpi_ops_gather(const vlorpi_ops *ops, float *y, const float *x, const int32_t *rows, int64_t N, int64_t D)
{
    rows_arg arg = {.y = y, .x = x, .rows = rows, .D = D};
    for_rows(ops, N, D, gather_range, &arg);
}

static void put_range(const vlorpi_ops *ops, const void *arg, int64_t begin, int64_t end)
{
    (void)ops;
    const rows_arg *a = arg;
    for (int64_t t = begin; t < end; t++) {
        memcpy(a->y + a->rows[t] * a->D, (const float *)a->x + t * a->D, (size_t)a->D * sizeof(float));
    }
}

void vlorpi_ops_put_rows(const vlorpi_ops *ops, float *x, const float *y, const int32_t *rows, int64_t N, int64_t D)
{
    rows_arg arg = {.y = x, .x = y, .rows = rows, .D = D};
    for_rows(ops, N, D, put_range, &arg);
}

static void scatter_range(const vlorpi_ops *ops, const void *arg, int64_t begin, int64_t end)
{
    const rows_arg *a = arg;
    ops->kernels->scatter_add_rows(a->y, a->D, (const float *)a->x + begin * a->D, a->rows + begin, end - begin,
                                   a->D);
}

void vlorpi_ops_scatter_add(const vlorpi_ops *ops, float *x, const float *y, const int32_t *rows, int64_t N,
                            int64_t D)
{
    rows_arg arg = {.y = x, .x = y, .rows = rows, .D = D};
    for_rows(ops, N, D, scatter_range, &arg);
}

/* ---- norm ---- */

typedef struct norm_arg {
    float *y, *rstd_out, *copy;
    float *dx, *dw;
    const float *dy, *x, *w, *rstd;
    int64_t N, D;
    float eps;
} norm_arg;

static void norm_rows(const vlorpi_ops *ops, const void *arg, int64_t begin, int64_t end)
{
    const norm_arg *a = arg;
    const float *x = a->x + begin * a->D;
    if (a->copy != NULL) {
        memcpy(a->copy + begin * a->D, x, (size_t)((end - begin) * a->D) * sizeof(float));
    }
    float *rstd = a->rstd_out != NULL ? a->rstd_out + begin : NULL;
    ops->kernels->rmsnorm_fwd(a->y + begin * a->D, rstd, x, a->w, end - begin, a->D, a->eps);
}

void vlorpi_ops_norm(const vlorpi_ops *ops, float *y, float *rstd, float *copy, const float *x, const float *w,
                     int64_t N, int64_t D, float eps)
{
    norm_arg arg = {.y = y, .rstd_out = rstd, .copy = copy, .x = x, .w = w, .N = N, .D = D, .eps = eps};
    for_rows(ops, N, D, norm_rows, &arg);
}

static void norm_bwd_rows(const vlorpi_ops *ops, const void *arg, int64_t begin, int64_t end)
{
    const norm_arg *a = arg;
    int64_t at = begin * a->D;
    ops->kernels->rmsnorm_bwd_x(a->dx + at, a->dy + at, a->x + at, a->w, a->rstd + begin, end - begin, a->D);
}

static void norm_bwd_columns(const vlorpi_ops *ops, const void *arg, int64_t begin, int64_t end)
{
    const norm_arg *a = arg;
    ops->kernels->rmsnorm_bwd_w(a->dw, a->dy, a->x, a->rstd, a->N, a->D, begin, end);
}

void vlorpi_ops_norm_bwd(const vlorpi_ops *ops, float *dx, float *dw, const float *dy, const float *x, const float *w,
                         const float *rstd, int64_t N, int64_t D)
{
    norm_arg arg = {.dx = dx, .dw = dw, .dy = dy, .x = x, .w = w, .rstd = rstd, .N = N, .D = D};
    if (dw != NULL) {
        for_ranges(ops, D, COLUMN_CHUNK, norm_bwd_columns, &arg);
    }
    for_rows(ops, N, D, norm_bwd_rows, &arg);
}

/* ---- rotary positions ---- */

typedef struct rope_arg {
    float *x;
    const vlorpi_rope *rope;
    int64_t H, E;
    bool back;
} rope_arg;

static void rope_rows(const vlorpi_ops *ops, const void *arg, int64_t begin, int64_t end)
{
    const rope_arg *a = arg;
    const vlorpi_rope *r = a->rope;
    int64_t ld = a->H * a->E;
    if (a->back) {
        ops->kernels->rope_bwd(a->x + begin * ld, ld, r->positions + begin, r->cos, r->sin, end - begin, a->H, a->E);
    } else {
        ops->kernels->rope_fwd(a->x + begin * ld, ld, r->positions + begin, r->cos, r->sin, end - begin, a->H, a->E);
    }
}

void vlorpi_ops_rope(const vlorpi_ops *ops, float *x, const vlorpi_rope *rope, int64_t N, int64_t H, int64_t E)
{
    rope_arg arg = {.x = x, .rope = rope, .H = H, .E = E};
    for_rows(ops, N, H * E, rope_rows, &arg);
}

void vlorpi_ops_rope_bwd(const vlorpi_ops *ops, float *dx, const vlorpi_rope *rope, int64_t N, int64_t H, int64_t E)
{
    rope_arg arg = {.x = dx, .rope = rope, .H = H, .E = E, .back = true};
    for_rows(ops, N, H * E, rope_rows, &arg);
}

/* ---- elementwise ---- */

typedef struct elements_arg {
    float *a, *b;
    const float *x, *y;
    void *kept;
    const void *kept_in;
    vlorp_dtype dtype;
} elements_arg;

static void swiglu_range(const vlorpi_ops *ops, const void *arg, int64_t begin, int64_t end)
{
    const elements_arg *e = arg;
    ops->kernels->swiglu_fwd(e->a + begin, e->x + begin, e->y + begin, end - begin);
}

void vlorpi_ops_swiglu(const vlorpi_ops *ops, float *y, const float *gate, const float *up, int64_t n)
{
    elements_arg arg = {.a = y, .x = gate, .y = up};
    for_ranges(ops, n, CHUNK_FLOATS, swiglu_range, &arg);
}

static void swiglu_bwd_range(const vlorpi_ops *ops, const void *arg, int64_t begin, int64_t end)
{
    const elements_arg *e = arg;
    ops->kernels->swiglu_bwd(e->a + begin, e->b + begin, e->x + begin, e->a + begin, e->b + begin, end - begin);
}

void vlorpi_ops_swiglu_bwd(const vlorpi_ops *ops, float *gate, float *up, const float *dy, int64_t n)
{
    elements_arg arg = {.a = gate, .b = up, .x = dy};
    for_ranges(ops, n, CHUNK_FLOATS, swiglu_bwd_range, &arg);
}

static void keep_range(const vlorpi_ops *ops, const void *arg, int64_t begin, int64_t end)
{
    const elements_arg *e = arg;
    if (e->dtype == VLORP_BF16) {
        ops->kernels->round_bf16(e->a + begin, end - begin);
        ops->kernels->f32_to_bf16((uint16_t *)e->kept + begin, e->a + begin, end - begin);
    } else {
        memcpy((float *)e->kept + begin, e->a + begin, (size_t)(end - begin) * sizeof(float));
    }
}

void vlorpi_ops_keep(const vlorpi_ops *ops, void *kept, vlorp_dtype dtype, float *x, int64_t n)
{
    elements_arg arg = {.a = x, .kept = kept, .dtype = dtype};
    for_ranges(ops, n, CHUNK_FLOATS, keep_range, &arg);
}

static void recall_range(const vlorpi_ops *ops, const void *arg, int64_t begin, int64_t end)
{
    const elements_arg *e = arg;
    if (e->dtype == VLORP_BF16) {
        ops->kernels->bf16_to_f32(e->a + begin, (const uint16_t *)e->kept_in + begin, end - begin);
    } else {
        memcpy(e->a + begin, (const float *)e->kept_in + begin, (size_t)(end - begin) * sizeof(float));
    }
}

void vlorpi_ops_recall(const vlorpi_ops *ops, float *x, const void *kept, vlorp_dtype dtype, int64_t n)
{
    elements_arg arg = {.a = x, .kept_in = kept, .dtype = dtype};
    for_ranges(ops, n, CHUNK_FLOATS, recall_range, &arg);
}

/* ---- dropout ---- */

typedef struct dropout_arg {
    float *y;
    const float *x;
    const vlorpi_dropout *dropout;
    int64_t m;
    uint32_t limit; /* draws below it drop */
    bool accumulate;
} dropout_arg;

enum { DRAWS = 128 }; /* whose 16 blocks follow each other */

/* The draws of columns [column, column + DRAWS) of a row; column is a multiple of DRAWS. */
static void draw_columns(uint32_t draws[DRAWS], const vlorp_rng *rng, int64_t row, int64_t column)
{
    enum { BLOCKS = 16 };
    uint64_t first = ((uint64_t)row << 32) + (uint64_t)(column / DRAWS * BLOCKS);
    for (int b = 0; b < BLOCKS; b++) {
        uint32_t words[4];
        vlorp_rng_block(words, rng, first + (uint64_t)b);
        for (int half = 0; half < DRAWS / BLOCKS; half++) {
            draws[half * BLOCKS + b] = words[half / 2] >> (16 * (half % 2)) & 0xFFFFu;
        }
    }
}

static void dropout_rows(const vlorpi_ops *ops, const void *arg, int64_t begin, int64_t end)
{
    const dropout_arg *a = arg;
    float stay = (float)(65536.0 / (65536.0 - (double)a->limit));
    (void)ops;
    for (int64_t t = begin; t < end; t++) {
        for (int64_t j0 = 0; j0 < a->m; j0 += DRAWS) {
            uint32_t draws[DRAWS];
            const float *x = a->x + t * a->m + j0;
            float *y = a->y + t * a->m + j0;
            int64_t n = a->m - j0 < DRAWS ? a->m - j0 : DRAWS;
            draw_columns(draws, &a->dropout->rng, a->dropout->first_row + t, j0);
            for (int64_t j = 0; j < n; j++) {
                float value = draws[j] < a->limit ? 0.0f : x[j] * stay;
                y[j] = a->accumulate ? y[j] + value : value;
            }
        }
    }
}

void vlorpi_ops_dropout(const vlorpi_ops *ops, float *y, bool accumulate, const float *x, const vlorpi_dropout *dropout,
                        int64_t N, int64_t m)
{
    double limit = 65536 * dropout->probability;
    dropout_arg arg = {.y = y, .x = x, .dropout = dropout, .m = m, .accumulate = accumulate};
    arg.limit = limit < 65535 ? (uint32_t)(limit + 0.5) : 65535;
    for_rows(ops, N, m, dropout_rows, &arg);
}

typedef struct scale_arg {
    float *x;
    float factor;
} scale_arg;

static void scale_range(const vlorpi_ops *ops, const void *arg, int64_t begin, int64_t end)
{
    const scale_arg *a = arg;
    (void)ops;
    for (int64_t i = begin; i < end; i++) {
        a->x[i] *= a->factor;
    }
}

void vlorpi_ops_scale(const vlorpi_ops *ops, float *x, float factor, int64_t n)
{
    scale_arg arg = {.x = x, .factor = factor};
    for_ranges(ops, n, CHUNK_FLOATS, scale_range, &arg);
}

/* ---- loss ---- */

typedef struct xent_arg {
    float *loss, *logits;
    const int32_t *targets;
    int64_t V;
    bool with_grad;
} xent_arg;

static void xent_rows(const vlorpi_ops *ops, const void *arg, int64_t begin, int64_t end)
{
    const xent_arg *a = arg;
    float *logits = a->logits + begin * a->V;
    if (a->with_grad) {
        ops->kernels->xent_fwd_bwd(a->loss + begin, logits, a->targets + begin, end - begin, a->V);
    } else {
        ops->kernels->xent_fwd(a->loss + begin, logits, a->targets + begin, end - begin, a->V);
    }
}

void vlorpi_ops_xent(const vlorpi_ops *ops, float *loss, float *logits, const int32_t *targets, bool with_grad,
                     int64_t N, int64_t V)
{
    xent_arg arg = {.loss = loss, .logits = logits, .targets = targets, .V = V, .with_grad = with_grad};
    for_rows(ops, N, V, xent_rows, &arg);
}

typedef struct argmax_arg {
    int32_t *best;
    const float *logits;
    int64_t V;
} argmax_arg;

static void argmax_rows(const vlorpi_ops *ops, const void *arg, int64_t begin, int64_t end)
{
    const argmax_arg *a = arg;
    for (int64_t t = begin; t < end; t++) {
        a->best[t] = (int32_t)ops->kernels->argmax(a->logits + t * a->V, a->V);
    }
}

void vlorpi_ops_argmax(const vlorpi_ops *ops, int32_t *best, const float *logits, int64_t N, int64_t V)
{
    argmax_arg arg = {.best = best, .logits = logits, .V = V};
    for_rows(ops, N, V, argmax_rows, &arg);
}
