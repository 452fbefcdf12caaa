/* C = A B (+ C), cut for the caches as Goto and van de Geijn do:
 *
 *   for each block of columns of C and each block of K that fills the shared panels:
 *       pack B                       in parallel, all threads into one block
 *       for each block of C          in parallel: a thread packs its block of A and multiplies
 *
 * The cuts along K depend on K alone, and threads split C only, so the bits do not depend on the
 * number of threads. */
#include "kernel/gemm.h"

#include <assert.h>
#include <string.h>

#include "base/threads.h"
#include "kernel/gemm_kernels.h"

enum {
    SERIAL_FLOPS = 200 * 1000,  /* below this starting the threads costs more than they bring */
    ITEMS_PER_THREAD = 4,       /* so that a thread that was held up delays little */
    MIN_ROWS_PER_ITEM = 32,     /* fewer would load a panel of B too often */
    MIN_COLUMNS_PER_ITEM = 192, /* fewer would pack a block of A too often */
    PACK_PANELS = 8,            /* of B to an item: fewer would read too short a run of each row */
    DOTS_PER_ITEM = 256,
    PLAIN_ROWS_PER_ITEM = 16,
    FLIP_RATIO = 12 /* see better_flipped */
};

/* One product and the block that is being worked on. */
typedef struct product {
    const vlorpi_gemm_kernels *kernels;
    vlorpi_gemm_operand a, b;
    vlorpi_gemm_target c;
    int64_t M, N, K;
    int64_t kc;                   /* the cut along K */
    int64_t j0, n;                /* columns of this block */
    int64_t p0, k;                /* its part of K, a multiple of kc unless it is the last */
    int64_t item_rows, item_cols; /* the cut of C into items; item_cols a multiple of nr */
    int64_t n_row_items;
    float *b_panels; /* K part p0 + p, panel j: at p * n_padded + j * min(kc, k - p) * nr */
    float *a_room;   /* VLORPI_GEMM_A_FLOATS for each thread */
} product;

static int64_t min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static int64_t round_up(int64_t a, int64_t step)
{
    return divide_up(a, step) * step;
}

/* Equal parts of at most `most`, each a multiple of step. */
static int64_t even_part(int64_t total, int64_t most, int64_t step)
{
    return min(round_up(divide_up(total, divide_up(total, most)), step), most);
}

size_t vlorpi_gemm_scratch_bytes(int n_threads)
{
    return ((size_t)VLORPI_GEMM_B_FLOATS + (size_t)n_threads * VLORPI_GEMM_A_FLOATS) * sizeof(float);
}

vlorpi_gemm_operand vlorpi_gemm_rows(const void *data, vlorp_dtype dtype, int64_t ld)
{
    return (vlorpi_gemm_operand){.data = data, .dtype = dtype, .row_stride = ld, .col_stride = 1};
}

vlorpi_gemm_operand vlorpi_gemm_transposed(const void *data, vlorp_dtype dtype, int64_t ld)
{
    return (vlorpi_gemm_operand){.data = data, .dtype = dtype, .row_stride = 1, .col_stride = ld};
}

/* The same matrix read the other way. */
static vlorpi_gemm_operand flip(vlorpi_gemm_operand x)
{
    return (vlorpi_gemm_operand){
        .data = x.data, .dtype = x.dtype, .row_stride = x.col_stride, .col_stride = x.row_stride};
}

/* Item: PACK_PANELS panels of one part of K, numbered part by part. */
static void pack_b_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const product *g = arg;
    const int64_t nr = g->kernels->nr;
    int64_t n_groups = divide_up(g->n, PACK_PANELS * nr);
    int64_t p = item / n_groups * g->kc;
    int64_t j = item % n_groups * PACK_PANELS * nr;
    int64_t k = min(g->kc, g->k - p);
    float *panels = g->b_panels + p * round_up(g->n, nr) + j * k;
    g->kernels->pack_b(panels, vlorpi_gemm_at(g->b, g->p0 + p, g->j0 + j), k, min(PACK_PANELS * nr, g->n - j));
}

/* Item: one block of C over this block's part of K. */
static void multiply_item(void *arg, int64_t item, int thread)
{
    const product *g = arg;
    const vlorpi_gemm_kernels *kernels = g->kernels;
    int64_t i = item % g->n_row_items * g->item_rows;
    int64_t j = item / g->n_row_items * g->item_cols;
    int64_t m = min(g->item_rows, g->M - i);
    int64_t n = min(g->item_cols, g->n - j);
    float *a_room = g->a_room + (int64_t)thread * VLORPI_GEMM_A_FLOATS;
    vlorpi_gemm_target c = g->c;
    int64_t column = g->j0 + j;
    c.data += c.transposed ? column * c.ld + i : i * c.ld + column;
    for (int64_t p = 0; p < g->k; p += g->kc) {
        int64_t k = min(g->kc, g->k - p);
        vlorpi_gemm_panels a = kernels->pack_a(a_room, vlorpi_gemm_at(g->a, i, g->p0 + p), m, k);
        const float *b_panels = g->b_panels + p * round_up(g->n, kernels->nr) + j * k;
        c.accumulate = g->c.accumulate || g->p0 + p > 0;
        kernels->multiply(c, a, b_panels, m, n, k);
    }
}

/* Cuts the block of C into enough items for the threads: first along the rows, then, where the rows
 * are few, along the columns. */
static void cut_items(product *g, int n_threads)
{
    const vlorpi_gemm_kernels *kernels = g->kernels;
    int64_t wanted = n_threads > 1 ? (int64_t)n_threads * ITEMS_PER_THREAD : 1;
    int64_t most_rows = divide_up(g->M, wanted);
    most_rows = min(most_rows < MIN_ROWS_PER_ITEM ? MIN_ROWS_PER_ITEM : round_up(most_rows, kernels->mr), kernels->mc);
    g->item_rows = even_part(g->M, most_rows, kernels->mr);
    g->n_row_items = divide_up(g->M, g->item_rows);
    int64_t n_cuts = divide_up(wanted, g->n_row_items);
    int64_t most_cols = divide_up(g->n, n_cuts);
    g->item_cols = round_up(most_cols < MIN_COLUMNS_PER_ITEM ? MIN_COLUMNS_PER_ITEM : most_cols, kernels->nr);
}

static void run_packed(product *g, const vlorp_exec *exec)
{
    const vlorpi_gemm_kernels *kernels = g->kernels;
    g->kc = even_part(g->K, kernels->kc, 8);
    int64_t most_n = VLORPI_GEMM_B_FLOATS / g->kc / kernels->nr * kernels->nr;
    int64_t block_n = even_part(g->N, most_n, kernels->nr);
    int64_t block_k = VLORPI_GEMM_B_FLOATS / round_up(block_n, kernels->nr) / g->kc * g->kc;
    for (g->j0 = 0; g->j0 < g->N; g->j0 += block_n) {
        g->n = min(block_n, g->N - g->j0);
        cut_items(g, exec->for_each != NULL ? exec->n_threads : 1);
        for (g->p0 = 0; g->p0 < g->K; g->p0 += block_k) {
            g->k = min(block_k, g->K - g->p0);
            vlorpi_for_each(exec, divide_up(g->k, g->kc) * divide_up(g->n, PACK_PANELS * kernels->nr), pack_b_item, g);
            vlorpi_for_each(exec, g->n_row_items * divide_up(g->n, g->item_cols), multiply_item, g);
        }
    }
}

/* B that is contiguous along k must be transposed into its panels.  The same product the other way
 * round, C' = B' A', need not when A is transposed already, and has little to transpose when A is
 * much the smaller. */
static bool better_flipped(const product *g)
{
    bool b_along_k = g->b.row_stride == 1 && g->b.col_stride != 1;
    bool a_along_k = g->a.col_stride == 1;
    return b_along_k && (!a_along_k || FLIP_RATIO * g->M <= g->N);
}

/* A product whose work is a range of outputs: item by item of item_cols columns. */
static void dots_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const product *g = arg;
    int64_t j = item * g->item_cols;
    g->kernels->dots(g->c.data + j, g->c.ld, g->c.accumulate, g->a.data, g->a.row_stride, vlorpi_gemm_at(g->b, 0, j),
                     g->M, min(g->item_cols, g->N - j), g->K);
}

static void block_item(void *arg, int64_t item, int thread)
{
    (void)thread;
    const product *g = arg;
    int64_t i = item * g->item_rows;
    g->kernels->block(g->c.data + i * g->c.ld, g->c.ld, g->c.accumulate, vlorpi_gemm_at(g->a, i, 0), g->b,
                      min(g->item_rows, g->M - i), g->N, g->K);
}

static bool is_few_rows(const product *g)
{
    return g->M <= VLORPI_GEMM_FEW_ROWS && g->a.dtype == VLORP_F32 && g->a.col_stride == 1 && g->b.row_stride == 1;
}

static bool worth_the_blas(const product *g)
{
    int64_t side = g->kernels->blas_side;
    return side > 0 && g->M >= side && g->N >= side && g->K >= side && g->a.dtype == VLORP_F32 &&
           g->b.dtype == VLORP_F32;
}

/* A sum over nothing. */
static void clear(float *c, int64_t ldc, int64_t M, int64_t N)
{
    for (int64_t i = 0; i < M; i++) {
        memset(c + i * ldc, 0, (size_t)N * sizeof *c);
    }
}

void vlorpi_gemm(const vlorpi_gemm_ctx *ctx, float *c, int64_t ldc, bool accumulate, vlorpi_gemm_operand a,
                 vlorpi_gemm_operand b, int64_t M, int64_t N, int64_t K)
{
    assert(M >= 0 && N >= 0 && K >= 0 && (M <= 1 || ldc >= N));
    assert(a.row_stride == 1 || a.col_stride == 1);
    assert(b.row_stride == 1 || b.col_stride == 1);
    if (M == 0 || N == 0) {
        return;
    }
    if (K == 0) {
        if (!accumulate) {
            clear(c, ldc, M, N);
        }
        return;
    }
    product g = {.kernels = ctx->kernels, .a = a, .b = b, .M = M, .N = N, .K = K, .b_panels = ctx->scratch};
    g.c = (vlorpi_gemm_target){.data = c, .ld = ldc, .accumulate = accumulate};
    vlorp_exec exec = ctx->exec;
    if (2.0 * (double)M * (double)N * (double)K < SERIAL_FLOPS) {
        exec.for_each = NULL;
    }
    if (ctx->kernels->block != NULL) {
        g.item_rows = PLAIN_ROWS_PER_ITEM;
        vlorpi_for_each(&exec, divide_up(M, g.item_rows), block_item, &g);
        return;
    }
    if (is_few_rows(&g)) {
        g.item_cols = even_part(N, DOTS_PER_ITEM, 1);
        vlorpi_for_each(&exec, divide_up(N, g.item_cols), dots_item, &g);
        return;
    }
    if (ctx->blas != NULL && worth_the_blas(&g) && ctx->blas(c, ldc, accumulate, a, b, M, N, K)) {
        return;
    }
    if (better_flipped(&g)) {
        g.a = flip(b);
        g.b = flip(a);
        g.M = N;
        g.N = M;
        g.c.transposed = true;
    }
    g.a_room = g.b_panels + VLORPI_GEMM_B_FLOATS;
    run_packed(&g, &exec);
}
