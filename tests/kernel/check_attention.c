/* Tiled attention against the reference, forward and backward, over every kind of edge: lengths
 * around strips and tiles, queries that start late, heads of any width, strides, one query alone. */
#include "check_support.h"

typedef struct worst_errors {
    double o, lse, dq, dk, dv;
} worst_errors;

typedef struct attention_case {
    int64_t n_q, n_kv, q_offset, E;
    int64_t gap;  /* between rows, and before the first element */
    float size;   /* of q and k: large ones make the running maximum move */
    int64_t window;
} attention_case;

typedef struct tensors {
    vlorpi_attention_shape shape;
    check_array q, k, v, d_o, o, lse, dq, dk, dv;
} tensors;

static tensors tensors_new(const attention_case *c, uint64_t *state)
{
    tensors t;
    int64_t ldq = c->E + c->gap;
    int64_t ldk = c->E + 2 * c->gap;
    t.shape = (vlorpi_attention_shape){.n_q = c->n_q, .n_kv = c->n_kv, .q_offset = c->q_offset, .E = c->E,
                                       .ldq = ldq, .ldk = ldk, .ldv = ldk + c->gap, .ldo = ldq + c->gap,
                                       .scale = 1.0f / sqrtf((float)c->E), .window = c->window};
    t.q = check_array_new(c->n_q, c->E, ldq, c->gap);
    t.k = check_array_new(c->n_kv, c->E, ldk, c->gap);
    t.v = check_array_new(c->n_kv, c->E, t.shape.ldv, c->gap);
    t.d_o = check_array_new(c->n_q, c->E, t.shape.ldo, c->gap);
    t.o = check_array_new(c->n_q, c->E, t.shape.ldo, c->gap);
    t.lse = check_array_new(1, c->n_q, c->n_q, c->gap);
    t.dq = check_array_new(c->n_q, c->E, ldq, c->gap);
    t.dk = check_array_new(c->n_kv, c->E, ldk, c->gap);
    t.dv = check_array_new(c->n_kv, c->E, t.shape.ldv, c->gap);
    check_array *const inputs[] = {&t.q, &t.k, &t.v, &t.d_o, &t.dk, &t.dv};
    for (int i = 0; i < 6; i++) {
        check_fill_uniform(inputs[i], state);
    }
    for (int64_t i = 0; i < c->n_q; i++) {
        for (int64_t e = 0; e < c->E; e++) {
            t.q.data[i * ldq + e] *= c->size;
        }
    }
    check_fill_nan(&t.o);
    check_fill_nan(&t.lse);
    check_fill_nan(&t.dq);
    return t;
}

static void tensors_free(tensors *t)
{
    check_array *const all[] = {&t->q, &t->k, &t->v, &t->d_o, &t->o, &t->lse, &t->dq, &t->dk, &t->dv};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        check_array_free(all[i]);
    }
}

/* dk and dv add to what is there: it starts at numbers, not at zero. */
static void check_case(const vlorpi_model_kernels *k, const attention_case *c, uint64_t *state, worst_errors *worst)
{
    const vlorpi_model_kernels *ref = vlorpi_kernels_at(0)->model;
    tensors t = tensors_new(c, state);
    check_array o = check_array_copy(&t.o);
    check_array lse = check_array_copy(&t.lse);
    check_array dq = check_array_copy(&t.dq);
    check_array dk = check_array_copy(&t.dk);
    check_array dv = check_array_copy(&t.dv);
    int64_t n_scratch = k->attention_scratch_floats(c->E);
    check_array scratch = check_array_new(1, n_scratch, n_scratch, 0);

    ref->attention_fwd(t.o.data, t.lse.data, t.q.data, t.k.data, t.v.data, &t.shape, NULL);
    ref->attention_bwd(t.dq.data, t.dk.data, t.dv.data, t.q.data, t.k.data, t.v.data, t.o.data, t.d_o.data,
                       t.lse.data, &t.shape, NULL);
    k->attention_fwd(o.data, lse.data, t.q.data, t.k.data, t.v.data, &t.shape, scratch.data);
    check_close(&o, &t.o, 1e-6, &worst->o, "o");
    check_close(&lse, &t.lse, 1e-6, &worst->lse, "lse");
    k->attention_bwd(dq.data, dk.data, dv.data, t.q.data, t.k.data, t.v.data, t.o.data, t.d_o.data, t.lse.data,
                     &t.shape, scratch.data);
    check_close(&dq, &t.dq, 4e-6, &worst->dq, "dq");
    check_close(&dk, &t.dk, 4e-6, &worst->dk, "dk");
    check_close(&dv, &t.dv, 4e-6, &worst->dv, "dv");
    check_array again = check_array_copy(&o);
    check_fill_nan(&again);
    k->attention_fwd(again.data, NULL, t.q.data, t.k.data, t.v.data, &t.shape, scratch.data);
    check_same_bits(&again, &o, "o without lse");
    check_guards(&scratch, "scratch");

    tensors_free(&t);
    check_array *const all[] = {&o, &lse, &dq, &dk, &dv, &scratch, &again};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        check_array_free(all[i]);
    }
}

static void print_worst(const char *level, const worst_errors *w)
{
    (void)fprintf(stderr, "  %-7s o %.1e, lse %.1e, dq %.1e, dk %.1e, dv %.1e\n", level, w->o, w->lse, w->dq, w->dk,
                  w->dv);
}

static void test_lengths(void **unused)
{
    (void)unused;
    const vlorpi_kernels *k = NULL;
    for (FOR_EACH_LEVEL(k)) {
        uint64_t state = 21;
        worst_errors worst = {0};
        for (int64_t n = 0; n <= 150; n += n < 75 ? 1 : 7) {
            check_case(k->model, &(attention_case){n, n, 0, 16, n % 3, 2.0f, 0}, &state, &worst);
        }
        check_case(k->model, &(attention_case){333, 333, 0, 64, 0, 2.0f, 0}, &state, &worst);
        print_worst(k->name, &worst);
    }
}

/* Queries that stand late among the keys, as in generation; keys that no query sees. */
static void test_offsets(void **unused)
{
    (void)unused;
    static const int64_t n_q[] = {1, 2, 3, 4, 5, 16, 17, 40, 65, 70};
    static const int64_t offsets[] = {0, 1, 7, 63, 64, 65, 71, 72, 73, 200};
    const vlorpi_kernels *k = NULL;
    for (FOR_EACH_LEVEL(k)) {
        uint64_t state = 22;
        worst_errors worst = {0};
        for (int i = 0; i < 10; i++) {
            for (int j = 0; j < 10; j++) {
                check_case(k->model, &(attention_case){n_q[i], offsets[j] + n_q[i], offsets[j], 24, 3, 2.0f, 0}, &state,
                           &worst);
                check_case(k->model, &(attention_case){n_q[i], offsets[j] + n_q[i] + 5, offsets[j], 8, 0, 2.0f, 0},
                           &state, &worst);
            }
        }
        check_case(k->model, &(attention_case){0, 0, 0, 8, 0, 2.0f, 0}, &state, &worst);
        check_case(k->model, &(attention_case){0, 9, 4, 8, 0, 2.0f, 0}, &state, &worst);
        print_worst(k->name, &worst);
    }
}

/* Windows around strips and tiles, over short and long texts, and behind a cache. */
static void test_windows(void **unused)
{
    (void)unused;
    static const int64_t windows[] = {1, 2, 3, 15, 16, 17, 31, 33, 63, 64, 65, 66, 72, 100, 149, 150, 200, 1 << 28};
    static const int64_t lengths[] = {3, 5, 64, 65, 150, 201};
    const vlorpi_kernels *k = NULL;
    for (FOR_EACH_LEVEL(k)) {
        uint64_t state = 26;
        worst_errors worst = {0};
        for (size_t w = 0; w < sizeof windows / sizeof windows[0]; w++) {
            for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
                int64_t n = lengths[i];
                check_case(k->model, &(attention_case){n, n, 0, 24, 3, 2.0f, windows[w]}, &state, &worst);
            }
            check_case(k->model, &(attention_case){2, 142, 140, 16, 0, 2.0f, windows[w]}, &state, &worst);
            check_case(k->model, &(attention_case){40, 117, 77, 8, 0, 30.0f, windows[w]}, &state, &worst);
        }
        print_worst(k->name, &worst);
    }
}

static void test_widths(void **unused)
{
    (void)unused;
    static const int64_t widths[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 24, 31, 32, 40, 48, 63, 64, 65, 80, 96, 128, 256};
    const vlorpi_kernels *k = NULL;
    for (FOR_EACH_LEVEL(k)) {
        uint64_t state = 23;
        worst_errors worst = {0};
        for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
            check_case(k->model, &(attention_case){75, 75, 0, widths[i], 1, 2.0f, 0}, &state, &worst);
            check_case(k->model, &(attention_case){2, 140, 138, widths[i], 1, 2.0f, 0}, &state, &worst);
        }
        print_worst(k->name, &worst);
    }
}

/* Scores of several hundred: nearly one-hot rows whose maximum moves from tile to tile. */
static void test_large_scores(void **unused)
{
    (void)unused;
    const vlorpi_kernels *k = NULL;
    for (FOR_EACH_LEVEL(k)) {
        uint64_t state = 24;
        worst_errors worst = {0};
        for (int64_t n = 150; n < 300; n += 50) {
            attention_case c = {n, n, 0, 32, 0, 30.0f, 0};
            check_case(k->model, &c, &state, &worst);
        }
        check_case(k->model, &(attention_case){1, 300, 299, 32, 0, 30.0f, 0}, &state, &worst);
        print_worst(k->name, &worst);
    }
}

/* Rows of x moved to places of a larger array that lie in runs of `run`, backwards run by run; rows says where. */
static check_array spread_rows(const check_array *x, int64_t n, int64_t width, int64_t ld, int64_t run, int32_t *rows)
{
    int64_t n_runs = (n + run - 1) / run;
    check_array y = check_array_new(n_runs * run + 1, width, ld, 1);
    check_fill_nan(&y);
    for (int64_t j = 0; j < n; j++) {
        int64_t row = (n_runs - 1 - j / run) * run + j % run + 1;
        memcpy(y.data + row * ld, x->data + j * ld, (size_t)width * sizeof(float));
        rows[j] = (int32_t)row;
    }
    return y;
}

/* Where keys lie changes no bit: whole tiles in runs, tiles broken by the end of a run, single keys. */
static void test_key_rows(void **unused)
{
    (void)unused;
    static const attention_case cases[] = {
        {1, 130, 129, 64, 0, 2.0f, 0}, {3, 90, 87, 24, 1, 2.0f, 0},   {70, 150, 80, 16, 0, 2.0f, 0},
        {9, 209, 200, 7, 2, 2.0f, 0},  {1, 150, 149, 32, 0, 2.0f, 77}, {40, 150, 110, 64, 0, 2.0f, 65}};
    static const int64_t runs[] = {1, 7, 64, 200};
    int32_t rows[256];
    const vlorpi_kernels *k = NULL;
    for (FOR_EACH_LEVEL(k)) {
        uint64_t state = 27;
        for (int i = 0; i < 6 * 4; i++) {
            const attention_case *c = &cases[i / 4];
            tensors t = tensors_new(c, &state);
            check_array o = check_array_copy(&t.o);
            check_array lse = check_array_copy(&t.lse);
            int64_t n_scratch = k->model->attention_scratch_floats(c->E);
            check_array scratch = check_array_new(1, n_scratch, n_scratch, 0);
            k->model->attention_fwd(t.o.data, t.lse.data, t.q.data, t.k.data, t.v.data, &t.shape, scratch.data);
            check_array keys = spread_rows(&t.k, c->n_kv, c->E, t.shape.ldk, runs[i % 4], rows);
            check_array values = spread_rows(&t.v, c->n_kv, c->E, t.shape.ldv, runs[i % 4], rows);
            t.shape.key_rows = rows;
            k->model->attention_fwd(o.data, lse.data, t.q.data, keys.data, values.data, &t.shape, scratch.data);
            check_same_bits(&o, &t.o, "o of keys that lie apart");
            check_same_bits(&lse, &t.lse, "lse of keys that lie apart");
            check_array *const all[] = {&o, &lse, &scratch, &keys, &values};
            for (size_t a = 0; a < sizeof all / sizeof all[0]; a++) {
                check_array_free(all[a]);
            }
            tensors_free(&t);
        }
    }
}

/* A NaN in a key or a value reaches every query that sees it; one in a query stays there. */
static void test_nan(void **unused)
{
    (void)unused;
    const vlorpi_kernels *k = NULL;
    for (FOR_EACH_LEVEL(k)) {
        for (int64_t n = 2; n <= 130; n += 64) {
            for (int which = 0; which < 3; which++) {
                uint64_t state = 25;
                attention_case c = {n, n, 0, 16, 0, 1.0f, 0};
                tensors t = tensors_new(&c, &state);
                check_array *const input[] = {&t.q, &t.k, &t.v};
                int64_t at = n / 2;
                input[which]->data[at * 16 + 5] = NAN;
                int64_t n_scratch = k->model->attention_scratch_floats(16);
                check_array scratch = check_array_new(1, n_scratch, n_scratch, 0);
                k->model->attention_fwd(t.o.data, t.lse.data, t.q.data, t.k.data, t.v.data, &t.shape, scratch.data);
                for (int64_t i = 0; i < n; i++) {
                    bool must = which == 0 ? i == at : i >= at;
                    bool may_not = which == 0 ? i != at : which == 1 && i < at;
                    assert_true(!must || isnan(t.o.data[i * 16 + 5]));
                    assert_true(!may_not || isfinite(t.o.data[i * 16 + 5]));
                    assert_true(which == 2 || !must || isnan(t.lse.data[i]));
                }
                check_array_free(&scratch);
                tensors_free(&t);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lengths), cmocka_unit_test(test_offsets),
                                       cmocka_unit_test(test_windows), cmocka_unit_test(test_widths),
                                       cmocka_unit_test(test_large_scores), cmocka_unit_test(test_key_rows),
                                       cmocka_unit_test(test_nan)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
