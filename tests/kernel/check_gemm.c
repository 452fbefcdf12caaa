/* The matrix product, every level against sums in double: exact integers bit for bit, rounding
 * within limits, all orientations, types, strides, tile edges and thread counts. */
#include "check_support.h"

#include "base/threads.h"
#include "kernel/blas/blas.h"
#include "kernel/gemm_kernels.h"

enum { ROW_MAJOR, TRANSPOSED };

/* One operand in memory, as values and as what the product is given. */
typedef struct matrix {
    check_array f32;   /* the stored matrix: [n_rows, n_cols], or its transpose */
    uint16_t *bf16;    /* the same numbers, with the same layout; NULL for an fp32 operand */
    vlorpi_gemm_operand operand;
} matrix;

typedef struct shape {
    int64_t M, N, K;
} shape;

typedef struct variant {
    vlorp_dtype a_type, b_type;
    int a_order, b_order;
    bool accumulate;
    int64_t pad;    /* added to each row stride */
    int64_t offset; /* elements past a 64-byte boundary */
    int n_threads;
} variant;

/* fp32 and bf16 test inputs hold the same numbers: what bf16 cannot hold is rounded first. */
static matrix matrix_new(int64_t n_rows, int64_t n_cols, vlorp_dtype dtype, int order, int64_t pad, int64_t offset,
                         bool integers, uint64_t *state)
{
    matrix m = {.bf16 = NULL};
    int64_t stored_rows = order == ROW_MAJOR ? n_rows : n_cols;
    int64_t stored_cols = order == ROW_MAJOR ? n_cols : n_rows;
    int64_t ld = stored_cols + pad;
    m.f32 = check_array_new(stored_rows, stored_cols, ld, offset);
    if (integers) {
        check_fill_integers(&m.f32, state);
    } else {
        check_fill_uniform(&m.f32, state);
    }
    const void *data = m.f32.data;
    if (dtype == VLORP_BF16) {
        m.bf16 = malloc((size_t)(m.f32.n_block) * sizeof *m.bf16);
        assert_non_null(m.bf16);
        for (int64_t i = 0; i < m.f32.n_block; i++) {
            m.bf16[i] = check_bf16(m.f32.block[i]); /* the guards stay NaN */
        }
        for (int64_t i = 0; i < stored_rows; i++) {
            for (int64_t j = 0; j < stored_cols; j++) {
                m.f32.data[i * ld + j] = check_from_bf16(check_bf16(m.f32.data[i * ld + j]));
            }
        }
        data = m.bf16 + (m.f32.data - m.f32.block);
    }
    m.operand = order == ROW_MAJOR ? vlorpi_gemm_rows(data, dtype, ld) : vlorpi_gemm_transposed(data, dtype, ld);
    return m;
}

static void matrix_free(matrix *m)
{
    check_array_free(&m->f32);
    free(m->bf16);
}

static float at(const matrix *m, int64_t i, int64_t j)
{
    return m->f32.data[i * m->operand.row_stride + j * m->operand.col_stride];
}

/* Runs items from the last to the first, each on a thread number that says nothing about it: what
 * depends on order or on the thread shows. */
static void backwards(void *ctx, int64_t n_items, vlorp_task *task, void *arg)
{
    const int *n_threads = ctx;
    for (int64_t i = n_items - 1; i >= 0; i--) {
        task(arg, i, (int)((i * 5 + 3) % *n_threads));
    }
}

typedef struct runner {
    vlorpi_gemm_ctx ctx;
    check_array scratch;
    int n_threads;
} runner;

static void runner_init(runner *r, const vlorpi_kernels *kernels, int n_threads, bool real_threads)
{
    r->n_threads = n_threads;
    r->scratch = check_array_new(1, (int64_t)(vlorpi_gemm_scratch_bytes(n_threads) / sizeof(float)),
                                 (int64_t)(vlorpi_gemm_scratch_bytes(n_threads) / sizeof(float)), 0);
    r->ctx = (vlorpi_gemm_ctx){.kernels = kernels->gemm, .scratch = r->scratch.data};
    if (real_threads) {
        r->ctx.exec = vlorpi_threads_exec(n_threads);
    } else if (n_threads > 1) {
        r->ctx.exec = (vlorp_exec){.for_each = backwards, .ctx = &r->n_threads, .n_threads = n_threads};
    } else {
        r->ctx.exec = (vlorp_exec){.n_threads = 1};
    }
}

static void runner_deinit(runner *r)
{
    check_guards(&r->scratch, "scratch");
    check_array_free(&r->scratch);
}

static void describe(char *text, size_t n_bytes, const char *level, shape s, const variant *v)
{
    static const char *const types[] = {"f32", "bf16"};
    (void)snprintf(text, n_bytes, "%s: M %lld N %lld K %lld, A %s%s, B %s%s, %s, pad %lld, offset %lld, threads %d",
                   level, (long long)s.M, (long long)s.N, (long long)s.K, types[v->a_type],
                   v->a_order == TRANSPOSED ? " transposed" : "", types[v->b_type],
                   v->b_order == TRANSPOSED ? " transposed" : "", v->accumulate ? "accumulated" : "overwritten",
                   (long long)v->pad, (long long)v->offset, v->n_threads);
}

/* want = A B, plus what `before` holds unless it is NULL. */
static void exact_product(check_array *want, const check_array *before, const matrix *a, const matrix *b, int64_t K)
{
    for (int64_t i = 0; i < want->n_rows; i++) {
        for (int64_t j = 0; j < want->n_cols; j++) {
            double sum = before != NULL ? (double)before->data[i * before->ld + j] : 0;
            for (int64_t k = 0; k < K; k++) {
                sum += (double)at(a, i, k) * (double)at(b, k, j);
            }
            want->data[i * want->ld + j] = (float)sum;
        }
    }
}

/* Integer inputs: every level must give the exact sum. */
static void check_exact(runner *r, const char *level, shape s, const variant *v, uint64_t seed)
{
    uint64_t state = seed;
    matrix a = matrix_new(s.M, s.K, v->a_type, v->a_order, v->pad, v->offset, true, &state);
    matrix b = matrix_new(s.K, s.N, v->b_type, v->b_order, v->pad, v->offset, true, &state);
    check_array got = check_array_new(s.M, s.N, s.N + v->pad, v->offset);
    check_array want = check_array_new(s.M, s.N, s.N, 0);
    check_fill_nan(&got);
    if (v->accumulate) {
        check_fill_integers(&got, &state);
    }
    exact_product(&want, v->accumulate ? &got : NULL, &a, &b, s.K);
    char what[256];
    describe(what, sizeof what, level, s, v);
    vlorpi_gemm(&r->ctx, got.data, got.ld, v->accumulate, a.operand, b.operand, s.M, s.N, s.K);
    check_guards(&got, what);
    check_same_bits(&got, &want, what);
    matrix_free(&a);
    matrix_free(&b);
    check_array_free(&got);
    check_array_free(&want);
}

/* Every size around the register tiles of every level, in all orientations. */
static void test_tile_edges(void **unused)
{
    (void)unused;
    static const int64_t edges[] = {0, 1, 3, 4, 5, 7, 8, 9, 12, 13, 23, 24, 25, 33, 47, 48, 49};
    static const int64_t depths[] = {1, 5, 64};
    enum { N_EDGES = sizeof edges / sizeof edges[0] };
    const vlorpi_kernels *k;
    for (FOR_EACH_LEVEL(k)) {
        runner r;
        runner_init(&r, k, 1, false);
        for (int i = 0; i < N_EDGES * N_EDGES * 3; i++) {
            shape s = {edges[i % N_EDGES], edges[i / N_EDGES % N_EDGES], depths[i / (N_EDGES * N_EDGES)]};
            for (int order = 0; order < 4; order++) {
                variant v = {.a_order = order & 1, .b_order = order >> 1, .pad = i % 3, .n_threads = 1};
                v.accumulate = (i + order) % 2 == 1;
                check_exact(&r, k->name, s, &v, (uint64_t)i);
            }
        }
        runner_deinit(&r);
    }
}

/* Primes and sizes around the cache blocks, with everything else drawn at random. */
static void test_random_shapes(void **unused)
{
    (void)unused;
    static const int64_t sizes[] = {1, 2, 6, 16, 17, 31, 61, 96, 101, 127, 128, 129, 193};
    static const int64_t depths[] = {1, 2, 13, 31, 32, 127, 287, 288, 289, 400, 577, 1153};
    static const int threads[] = {1, 2, 3, 7};
    const vlorpi_kernels *k;
    for (FOR_EACH_LEVEL(k)) {
        for (int t = 0; t < 4; t++) {
            runner r;
            runner_init(&r, k, threads[t], false);
            uint64_t state = 100 + (uint64_t)t;
            for (int trial = 0; trial < 60; trial++) {
                shape s = {sizes[test_random(&state) % 13], sizes[test_random(&state) % 13],
                           depths[test_random(&state) % 12]};
                uint64_t bits = test_random(&state);
                variant v = {.a_type = bits & 1 ? VLORP_BF16 : VLORP_F32,
                             .b_type = bits & 2 ? VLORP_BF16 : VLORP_F32,
                             .a_order = bits >> 2 & 1,
                             .b_order = bits >> 3 & 1,
                             .accumulate = bits >> 4 & 1,
                             .pad = (int64_t)(bits >> 5 & 7),
                             .offset = (int64_t)(bits >> 8 & 1),
                             .n_threads = threads[t]};
                check_exact(&r, k->name, s, &v, bits);
            }
            runner_deinit(&r);
        }
    }
}

/* Blocks of columns and of K beyond one set of shared panels, and long thin products. */
static void test_many_blocks(void **unused)
{
    (void)unused;
    static const shape shapes[] = {{5, 7919, 300}, {7919, 5, 300}, {9, 40, 65537}, {1, 3, 262144}, {6, 6, 262144}};
    const vlorpi_kernels *k;
    for (FOR_EACH_LEVEL(k)) {
        runner r;
        runner_init(&r, k, 3, false);
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
            for (int order = 0; order < 4; order++) {
                variant v = {.a_order = order & 1, .b_order = order >> 1, .accumulate = order == 2, .n_threads = 3};
                check_exact(&r, k->name, shapes[i], &v, i);
            }
        }
        runner_deinit(&r);
    }
}

/* max over elements of |error| / (sqrt(K) eps sum|a||b|), and norm(error)^2 / norm(C)^2. */
typedef struct error {
    double worst;
    double mean_square;
} error;

static error measure(const check_array *c, const matrix *a, const matrix *b, int64_t K)
{
    double worst = 0;
    double squares = 0;
    double norm = 0;
    for (int64_t i = 0; i < c->n_rows; i++) {
        for (int64_t j = 0; j < c->n_cols; j++) {
            double sum = 0;
            double magnitude = 0;
            for (int64_t k = 0; k < K; k++) {
                double x = (double)at(a, i, k) * (double)at(b, k, j);
                sum += x;
                magnitude += fabs(x);
            }
            double e = fabs((double)c->data[i * c->ld + j] - sum);
            worst = fmax(worst, e / (sqrt((double)K) * 0x1p-24 * magnitude));
            squares += e * e;
            norm += sum * sum;
        }
    }
    return (error){worst, squares / norm};
}

/* Both limits hold about twice what the slowest-growing order of summation (the reference, one sum
 * in ascending order) was seen to give; an element lost out of K would give 1 / K. */
static void test_rounding(void **unused)
{
    (void)unused;
    static const struct {
        shape s;
        double worst, mean_square;
    } cases[] = {
        {{37, 53, 16}, 1.0, 1.5e-14},
        {{65, 49, 289}, 0.35, 2e-13},
        {{19, 31, 4099}, 0.08, 3e-12},
        {{2, 97, 4099}, 0.06, 3e-12},
    };
    const vlorpi_kernels *k;
    for (FOR_EACH_LEVEL(k)) {
        runner r;
        runner_init(&r, k, 2, false);
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            for (int order = 0; order < 4; order++) {
                shape s = cases[i].s;
                uint64_t state = 7 + i;
                matrix a = matrix_new(s.M, s.K, VLORP_F32, order & 1, 0, 0, false, &state);
                matrix b = matrix_new(s.K, s.N, order == 3 ? VLORP_BF16 : VLORP_F32, order >> 1, 0, 0, false, &state);
                check_array c = check_array_new(s.M, s.N, s.N, 0);
                check_fill_nan(&c);
                vlorpi_gemm(&r.ctx, c.data, c.ld, false, a.operand, b.operand, s.M, s.N, s.K);
                check_finite(&c, k->name);
                error e = measure(&c, &a, &b, s.K);
                ASSERT_BELOW(e.worst, cases[i].worst);
                ASSERT_BELOW(e.mean_square, cases[i].mean_square);
                matrix_free(&a);
                matrix_free(&b);
                check_array_free(&c);
            }
        }
        runner_deinit(&r);
    }
}

/* Huge, tiny and non-finite rows stay in their rows: no product mixes two outputs. */
static void test_extreme_rows(void **unused)
{
    (void)unused;
    const shape s = {29, 61, 40};
    const vlorpi_kernels *k;
    for (FOR_EACH_LEVEL(k)) {
        runner r;
        runner_init(&r, k, 1, false);
        for (int order = 0; order < 4; order++) {
            uint64_t state = 5;
            matrix a = matrix_new(s.M, s.K, VLORP_F32, order & 1, 0, 0, true, &state);
            matrix b = matrix_new(s.K, s.N, VLORP_F32, order >> 1, 0, 0, true, &state);
            check_array plain = check_array_new(s.M, s.N, s.N, 0);
            check_array c = check_array_new(s.M, s.N, s.N, 0);
            vlorpi_gemm(&r.ctx, plain.data, plain.ld, false, a.operand, b.operand, s.M, s.N, s.K);
            static const float scales[] = {0x1p100f, 0x1p-100f, INFINITY, NAN, 1};
            for (int64_t i = 0; i < s.M; i++) {
                for (int64_t p = 0; p < s.K; p++) {
                    a.f32.data[i * a.operand.row_stride + p * a.operand.col_stride] *= scales[i % 5];
                }
            }
            vlorpi_gemm(&r.ctx, c.data, c.ld, false, a.operand, b.operand, s.M, s.N, s.K);
            for (int64_t i = 0; i < s.M; i++) {
                for (int64_t j = 0; j < s.N; j++) {
                    float got = c.data[i * c.ld + j];
                    float want = plain.data[i * plain.ld + j] * scales[i % 5];
                    bool good = isfinite(scales[i % 5]) ? got == want : !isfinite(got);
                    if (!good) {
                        fail_msg("%s: element (%lld, %lld) is %g, want %g", k->name, (long long)i, (long long)j,
                                 (double)got, (double)want);
                    }
                }
            }
            matrix_free(&a);
            matrix_free(&b);
            check_array_free(&c);
            check_array_free(&plain);
        }
        runner_deinit(&r);
    }
}

/* The same bits for any number of threads, on every path: packed, flipped, few rows. */
static void test_thread_counts(void **unused)
{
    (void)unused;
    static const shape shapes[] = {{67, 211, 611}, {300, 90, 1000}, {1, 1000, 333}, {4, 500, 577}, {128, 49, 64}};
    static const int threads[] = {1, 2, 3, 7};
    const vlorpi_kernels *k;
    for (FOR_EACH_LEVEL(k)) {
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0] * 4; i++) {
            shape s = shapes[i / 4];
            uint64_t state = i;
            matrix a = matrix_new(s.M, s.K, VLORP_F32, (int)(i & 1), 0, 0, false, &state);
            matrix b = matrix_new(s.K, s.N, VLORP_F32, (int)(i >> 1 & 1), 0, 0, false, &state);
            check_array first = check_array_new(s.M, s.N, s.N, 0);
            check_array c = check_array_new(s.M, s.N, s.N, 0);
            for (int t = 0; t < 8; t++) {
                runner r;
                runner_init(&r, k, threads[t % 4], t >= 4);
                check_array *to = t == 0 ? &first : &c;
                vlorpi_gemm(&r.ctx, to->data, to->ld, false, a.operand, b.operand, s.M, s.N, s.K);
                if (t > 0) {
                    check_same_bits(&c, &first, "another number of threads");
                }
                runner_deinit(&r);
            }
            matrix_free(&a);
            matrix_free(&b);
            check_array_free(&first);
            check_array_free(&c);
        }
    }
}

/* C v = A (B v) for one random v: a large product in n^2 time. */
static void test_large_by_vector(void **unused)
{
    (void)unused;
    const shape s = {1031, 1543, 1201};
    const vlorpi_kernels *k = vlorpi_kernels_select(NULL);
    runner r;
    runner_init(&r, k, 2, true);
    for (int order = 0; order < 4; order++) {
        uint64_t state = 11;
        matrix a = matrix_new(s.M, s.K, VLORP_F32, order & 1, 0, 0, false, &state);
        matrix b = matrix_new(s.K, s.N, VLORP_BF16, order >> 1, 0, 0, false, &state);
        check_array c = check_array_new(s.M, s.N, s.N, 0);
        vlorpi_gemm(&r.ctx, c.data, c.ld, false, a.operand, b.operand, s.M, s.N, s.K);
        double *v = malloc((size_t)(s.N + s.K) * sizeof *v);
        assert_non_null(v);
        double *bv = v + s.N;
        for (int64_t j = 0; j < s.N; j++) {
            v[j] = (double)test_uniform(&state);
        }
        for (int64_t p = 0; p < s.K; p++) {
            bv[p] = 0;
            for (int64_t j = 0; j < s.N; j++) {
                bv[p] += (double)at(&b, p, j) * v[j];
            }
        }
        double difference = 0;
        double norm = 0;
        for (int64_t i = 0; i < s.M; i++) {
            double want = 0;
            double got = 0;
            for (int64_t p = 0; p < s.K; p++) {
                want += (double)at(&a, i, p) * bv[p];
            }
            for (int64_t j = 0; j < s.N; j++) {
                got += (double)c.data[i * c.ld + j] * v[j];
            }
            difference += (got - want) * (got - want);
            norm += want * want;
        }
        ASSERT_BELOW(sqrt(difference / norm), 2e-6);
        free(v);
        matrix_free(&a);
        matrix_free(&b);
        check_array_free(&c);
    }
    runner_deinit(&r);
}

/* Products without outputs touch nothing, operands may then be NULL; a sum over nothing is zero. */
static void test_empty(void **unused)
{
    (void)unused;
    const vlorpi_kernels *k;
    for (FOR_EACH_LEVEL(k)) {
        runner r;
        runner_init(&r, k, 2, false);
        vlorpi_gemm_operand none = vlorpi_gemm_rows(NULL, VLORP_F32, 1);
        vlorpi_gemm(&r.ctx, NULL, 0, false, none, none, 0, 5, 3);
        vlorpi_gemm(&r.ctx, NULL, 0, false, none, none, 5, 0, 3);
        float c[2] = {NAN, NAN};
        vlorpi_gemm(&r.ctx, c, 1, false, none, none, 2, 1, 0);
        assert_true(c[0] == 0 && c[1] == 0);
        c[0] = 3;
        vlorpi_gemm(&r.ctx, c, 1, true, none, none, 2, 1, 0);
        assert_true(c[0] == 3 && c[1] == 0);
        runner_deinit(&r);
    }
}

static int n_offered;

/* Takes the product and leaves C alone, which shows. */
static bool counting_blas(float *c, int64_t ldc, bool accumulate, vlorpi_gemm_operand a, vlorpi_gemm_operand b,
                          int64_t M, int64_t N, int64_t K)
{
    (void)c, (void)ldc, (void)accumulate, (void)M, (void)N, (void)K;
    assert_true(a.dtype == VLORP_F32 && b.dtype == VLORP_F32);
    n_offered++;
    return true;
}

static bool declining_blas(float *c, int64_t ldc, bool accumulate, vlorpi_gemm_operand a, vlorpi_gemm_operand b,
                           int64_t M, int64_t N, int64_t K)
{
    return !counting_blas(c, ldc, accumulate, a, b, M, N, K);
}

/* The BLAS is offered the large fp32 products and nothing else; what it declines is computed here. */
static void test_offers_to_blas(void **unused)
{
    (void)unused;
    const vlorpi_kernels *k;
    for (FOR_EACH_LEVEL(k)) {
        int64_t side = k->gemm->blas_side > 0 ? k->gemm->blas_side : 64;
        uint64_t state = 3;
        matrix f32 = matrix_new(side, side, VLORP_F32, ROW_MAJOR, 0, 0, true, &state);
        matrix bf16 = matrix_new(side, side, VLORP_BF16, ROW_MAJOR, 0, 0, true, &state);
        float *c = calloc((size_t)(side * side), sizeof *c);
        assert_non_null(c);
        runner r;
        runner_init(&r, k, 2, false);
        r.ctx.blas = counting_blas;
        n_offered = 0;
        vlorpi_gemm(&r.ctx, c, side, false, f32.operand, bf16.operand, side, side, 9);
        vlorpi_gemm(&r.ctx, c, side, false, bf16.operand, f32.operand, side, side, 9);
        vlorpi_gemm(&r.ctx, c, side, false, f32.operand, f32.operand, 9, side, side);
        assert_int_equal(n_offered, 0);
        c[0] = 99;
        if (k->gemm->blas_side > 0) {
            vlorpi_gemm(&r.ctx, c, side, false, f32.operand, f32.operand, side, side, side);
            assert_int_equal(n_offered, 1);
            assert_true(c[0] == 99);
        }
        r.ctx.blas = declining_blas;
        vlorpi_gemm(&r.ctx, c, side, false, f32.operand, f32.operand, side, side, side);
        assert_true(c[0] != 99);
        runner_deinit(&r);
        matrix_free(&f32);
        matrix_free(&bf16);
        free(c);
    }
}

/* The linked BLAS gives the exact sums too, whatever the orientation and the strides. */
static void test_blas(void **unused)
{
    (void)unused;
    vlorpi_gemm_blas_fn *blas = vlorpi_blas_gemm();
    const shape s = {29, 31, 37};
    for (int i = 0; i < 16 && blas != NULL; i++) {
        uint64_t state = (uint64_t)i;
        bool accumulate = i >> 3 & 1;
        matrix a = matrix_new(s.M, s.K, VLORP_F32, i & 1, i >> 2 & 1, 1, true, &state);
        matrix b = matrix_new(s.K, s.N, VLORP_F32, i >> 1 & 1, i >> 2 & 1, 0, true, &state);
        check_array got = check_array_new(s.M, s.N, s.N + 2, 0);
        check_array want = check_array_new(s.M, s.N, s.N, 0);
        check_fill_nan(&got);
        if (accumulate) {
            check_fill_integers(&got, &state);
        }
        exact_product(&want, accumulate ? &got : NULL, &a, &b, s.K);
        assert_true(blas(got.data, got.ld, accumulate, a.operand, b.operand, s.M, s.N, s.K));
        check_guards(&got, "blas");
        check_same_bits(&got, &want, "blas");
        assert_false(blas(got.data, got.ld, accumulate, a.operand, b.operand, s.M, s.N, (int64_t)1 << 31));
        matrix_free(&a);
        matrix_free(&b);
        check_array_free(&got);
        check_array_free(&want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),         cmocka_unit_test(test_tile_edges),
        cmocka_unit_test(test_random_shapes), cmocka_unit_test(test_many_blocks),
        cmocka_unit_test(test_rounding),      cmocka_unit_test(test_extreme_rows),
        cmocka_unit_test(test_thread_counts), cmocka_unit_test(test_large_by_vector),
        cmocka_unit_test(test_offers_to_blas), cmocka_unit_test(test_blas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
