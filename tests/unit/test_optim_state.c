/* Saving and loading: exact resumption under every rule, other versions, hostile bytes, bfloat16 state. */
#include "optim_model.h"

#include <pthread.h>

static unsigned char *save(const model *s, size_t *n_bytes)
{
    vlorp_err err = {0};
    uint64_t n;
    ASSERT_OK(vlorp_optimizer_state_size(s->o, &n, &err));
    unsigned char *bytes = malloc((size_t)n);
    assert_non_null(bytes);
    assert_int_equal(vlorp_optimizer_save_buffer(s->o, bytes, (size_t)n - 1, &err), VLORP_E_ARG);
    ASSERT_OK(vlorp_optimizer_save_buffer(s->o, bytes, (size_t)n, &err));
    *n_bytes = (size_t)n;
    return bytes;
}

static void resumes_exactly(void **state)
{
    (void)state;
    for (int policy = VLORP_MOMENTUM_RESET; policy <= VLORP_MOMENTUM_KEEP; policy++) {
        for (int cut = 0; cut <= 7; cut++) {
            vlorp_err err = {0};
            vlorp_optimizer_config c = config(policy, cut % 2 == 0 ? VLORP_BF16 : VLORP_F32);
            model *whole = model_create(&c);
            model *resumed = model_create(&c);
            for (int step = 0; step < cut; step++) {
                model_step(whole, step);
            }
            size_t n;
            unsigned char *bytes = save(whole, &n);
            memcpy(resumed->w, whole->w, sizeof whole->w);
            ASSERT_OK(vlorp_optimizer_load_buffer(resumed->o, bytes, n, &err));
            assert_int_equal(vlorp_optimizer_steps_taken(resumed->o), cut);
            for (int step = cut; step < 8; step++) {
                model_step(whole, step);
                model_step(resumed, step);
            }
            assert_memory_equal(whole->w, resumed->w, sizeof whole->w);
            free(bytes);
            model_free(whole);
            model_free(resumed);
        }
    }
}

/* FNV-1a over words, as docs/library.md states it. */
static void seal(unsigned char *bytes, size_t n_bytes)
{
    uint64_t hash = 0xCBF29CE484222325u;
    for (size_t i = 0; i + 8 < n_bytes; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, 8);
        hash = (hash ^ word) * 0x100000001B3u;
        hash ^= hash >> 32;
    }
    memcpy(bytes + n_bytes - 8, &hash, 8);
}

static void put32(unsigned char *at, uint32_t x)
{
    memcpy(at, &x, sizeof x);
}

/* 1.0, which had no checksum; a later 1.x with a longer header and longer records; and 2.0. */
static void other_versions_load(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorp_optimizer_config c = config(VLORP_MOMENTUM_RESET, VLORP_F32);
    model *s = model_create(&c);
    model_step(s, 0);
    size_t n;
    unsigned char *bytes = save(s, &n);
    size_t n_records = (size_t)vlorp_optimizer_n_tensors(s->o);

    unsigned char *old = malloc(n);
    memcpy(old, bytes, n);
    uint64_t old_bytes = n - 8;
    old[10] = 0;
    memcpy(old + 24, &old_bytes, 8);
    model *loaded = model_create(&c);
    ASSERT_OK(vlorp_optimizer_load_buffer(loaded->o, old, n - 8, &err));

    uint64_t new_bytes = n + 16 + 8 * n_records;
    unsigned char *later = calloc(1, (size_t)new_bytes);
    memcpy(later, bytes, 64);
    later[10] = 7;
    put32(later + 12, 64 + 16);
    put32(later + 16, 64 + 8);
    memcpy(later + 24, &new_bytes, 8);
    memset(later + 64, 0xAB, 16);
    for (size_t i = 0; i < n_records; i++) {
        memcpy(later + 80 + 72 * i, bytes + 64 + 64 * i, 64);
        memset(later + 80 + 72 * i + 64, 0xCD, 8);
    }
    memcpy(later + 80 + 72 * n_records, bytes + 64 + 64 * n_records, n - 64 - 64 * n_records);
    seal(later, (size_t)new_bytes);
    model *loaded_later = model_create(&c);
    ASSERT_OK(vlorp_optimizer_load_buffer(loaded_later->o, later, (size_t)new_bytes, &err));

    memcpy(loaded->w, s->w, sizeof s->w);
    memcpy(loaded_later->w, s->w, sizeof s->w);
    for (int step = 1; step < 5; step++) {
        model_step(s, step);
        model_step(loaded, step);
        model_step(loaded_later, step);
    }
    assert_memory_equal(loaded->w, s->w, sizeof s->w);
    assert_memory_equal(loaded_later->w, s->w, sizeof s->w);

    bytes[8] = 2;
    seal(bytes, n);
    assert_int_equal(vlorp_optimizer_load_buffer(s->o, bytes, n, &err), VLORP_E_UNSUPPORTED);
    free(bytes);
    free(old);
    free(later);
    model_free(s);
    model_free(loaded);
    model_free(loaded_later);
}

typedef struct failing {
    const unsigned char *bytes;
    size_t at, n_bytes;
} failing;

static vlorp_status read_until(void *ctx, void *bytes, size_t n, vlorp_err *err)
{
    failing *f = ctx;
    if (n > f->n_bytes - f->at) {
        if (err != NULL) {
            *err = (vlorp_err){.code = VLORP_E_IO, .text = "end"};
        }
        return VLORP_E_IO;
    }
    memcpy(bytes, f->bytes + f->at, n);
    f->at += n;
    return VLORP_OK;
}

static vlorp_status write_until(void *ctx, const void *bytes, size_t n, vlorp_err *err)
{
    failing *f = ctx;
    (void)bytes;
    (void)err;
    f->at += n;
    return f->at > f->n_bytes ? VLORP_E_IO : VLORP_OK;
}

static void damaged_states_are_refused(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorp_optimizer_config c = config(VLORP_MOMENTUM_KEEP, VLORP_BF16);
    model *s = model_create(&c);
    model *twin = model_create(&c);
    model_step(s, 0);
    model_step(twin, 0);
    size_t n;
    unsigned char *bytes = save(s, &n);
    for (size_t i = 0; i < n; i += i < 900 ? 1 : 97) { /* any byte */
        bytes[i] ^= 0x20;
        assert_int_not_equal(vlorp_optimizer_load_buffer(s->o, bytes, n, &err), VLORP_OK);
        bytes[i] ^= 0x20;
    }
    for (size_t length = 0; length < n; length += length < 900 ? 1 : 97) {
        assert_int_not_equal(vlorp_optimizer_load_buffer(s->o, bytes, length, &err), VLORP_OK);
    }
    model_step(s, 1); /* nothing had changed */
    model_step(twin, 1);
    assert_memory_equal(s->w, twin->w, sizeof s->w);

    failing f = {.bytes = bytes, .n_bytes = n - 9};
    assert_int_equal(vlorp_optimizer_load(s->o, read_until, &f, &err), VLORP_E_IO);
    vlorp_step step = {.lr = 1, .grad_scale = 1};
    assert_int_equal(vlorp_optimizer_step(s->o, &step, NULL, &err), VLORP_E_STATE);
    assert_int_equal(vlorp_optimizer_save_buffer(s->o, bytes, 0, &err), VLORP_E_STATE);
    f = (failing){.bytes = bytes, .n_bytes = n};
    ASSERT_OK(vlorp_optimizer_load(s->o, read_until, &f, &err));
    assert_int_equal(vlorp_optimizer_steps_taken(s->o), 1);
    for (f.n_bytes = 0; f.n_bytes < n; f.n_bytes += 1001) {
        f.at = 0;
        assert_int_equal(vlorp_optimizer_save(s->o, write_until, &f, NULL), VLORP_E_IO);
    }

    vlorp_optimizer_config other = c;
    other.seed++;
    model *stranger = model_create(&other);
    assert_int_equal(vlorp_optimizer_load_buffer(stranger->o, bytes, n, &err), VLORP_E_SHAPE);
    float g[N * COLS] = {0};
    ASSERT_OK(vlorp_optimizer_accumulate(stranger->o, 0, g, 0, &err));
    assert_int_equal(vlorp_optimizer_save(stranger->o, write_until, &f, &err), VLORP_E_STATE);
    model_free(stranger);
    free(bytes);
    model_free(s);
    model_free(twin);
}

/* bfloat16 sums and moments follow the fp32 ones within their rounding, and on average exactly. */
static void narrow_state_follows_wide_state(void **state)
{
    (void)state;
    enum { SEEDS = 200, PARTS = 8 };
    vlorp_err err = {0};
    static float g[N * COLS];
    static double mean[N * 8];
    static float wide[N * 8];
    uint64_t seed = 3;
    for (int e = 0; e < N * COLS; e++) {
        g[e] = test_uniform(&seed);
    }
    for (int run = -1; run < SEEDS; run++) {
        vlorp_optimizer_config c = config(VLORP_MOMENTUM_RESET, run < 0 ? VLORP_F32 : VLORP_BF16);
        c.seed = (uint64_t)run; /* of the draws; svd's P does not depend on it */
        vlorp_optimizer *o;
        ASSERT_OK(vlorp_optimizer_create(&o, &c, &err));
        vlorp_matrix m = vlorp_matrix_default();
        m.name = "w";
        m.n = N;
        m.m = COLS;
        m.projection = (vlorp_projection){.factor = 4, .rank = 2, .side = VLORP_SIDE_RIGHT, .distribution = VLORP_SVD};
        static float w[N * COLS];
        m.weight = w;
        int id;
        ASSERT_OK(vlorp_optimizer_add_matrix(o, &m, &id, &err));
        vlorp_optimizer_memory use;
        ASSERT_OK(vlorp_optimizer_memory_use(o, &use, &err));
        assert_int_equal(use.bytes[VLORP_MEMORY_GRADIENTS], N * 8 * (run < 0 ? 4 : 2));
        assert_int_equal(use.bytes[VLORP_MEMORY_PROJECTION], (10 * 2 * 4 + 63) / 64 * 64);
        ASSERT_OK(vlorp_optimizer_commit(o, &err));
        ASSERT_OK(vlorp_optimizer_probe(o, id, g, 0, &err));
        for (int part = 0; part < PARTS; part++) {
            ASSERT_OK(vlorp_optimizer_accumulate(o, id, g, 0, &err));
        }
        vlorp_state_tensor t;
        ASSERT_OK(vlorp_optimizer_gradient(o, id, &t, &err));
        assert_int_equal(t.dtype, run < 0 ? VLORP_F32 : VLORP_BF16);
        for (int e = 0; e < N * 8; e++) {
            uint32_t bits = run < 0 ? 0 : (uint32_t)((const uint16_t *)t.data)[e] << 16;
            float x;
            memcpy(&x, &bits, sizeof x);
            if (run < 0) {
                wide[e] = ((const float *)t.data)[e];
            } else {
                ASSERT_BELOW(fabs((double)x - (double)wide[e]), 0.06 * fabs((double)wide[e]) + 1e-5);
                mean[e] += (double)x / SEEDS;
            }
        }
        vlorp_optimizer_free(o);
    }
    /* each of 8 roundings is below 2^-7 of the sum so far; their mean over 200 draws within 5 deviations */
    double error = 0;
    double size = 0;
    for (int e = 0; e < N * 8; e++) {
        double deviation = sqrt(PARTS / 12.0 / SEEDS) / 128 * fabs((double)wide[e]);
        ASSERT_BELOW(fabs(mean[e] - (double)wide[e]), 5 * deviation + 1e-6);
        error += mean[e] - (double)wide[e];
        size += fabs((double)wide[e]);
    }
    ASSERT_BELOW(fabs(error) / size, 5e-4);
}

/* The plan is the ledger for every rule, and each failing allocation is reported with nothing held. */
static void memory_is_as_planned(void **state)
{
    (void)state;
    static const vlorpi_mem_class classes[VLORP_MEMORY_N_CLASSES] = {VLORPI_MEM_GRADS, VLORPI_MEM_OPT_STATE,
                                                                     VLORPI_MEM_PROJECTION, VLORPI_MEM_WORKSPACE,
                                                                     VLORPI_MEM_OTHER};
    bool done = false;
    for (uint64_t fail_at = 1; !done; fail_at++) {
        vlorp_err err = {0};
        vlorpi_mem mem;
        vlorpi_mem_init(&mem);
        mem.fail_at = fail_at;
        vlorp_optimizer_config c = config(VLORP_MOMENTUM_TRANSPORT, fail_at % 2 == 0 ? VLORP_BF16 : VLORP_F32);
        c.allocator = vlorpi_mem_allocator(&mem);
        model *s = calloc(1, sizeof *s);
        assert_non_null(s);
        vlorp_status status = model_init(s, &c, &err);
        done = status == VLORP_OK;
        if (done) {
            vlorp_optimizer_memory use;
            ASSERT_OK(vlorp_optimizer_memory_use(s->o, &use, &err));
            vlorpi_mem_usage now = vlorpi_mem_now(&mem);
            for (int i = 0; i < VLORP_MEMORY_N_CLASSES; i++) {
                size_t booked = use.bytes[i] + (size_t)use.n_blocks[i] * vlorpi_mem_footprint(0);
                assert_int_equal(booked, now.bytes[classes[i]]);
            }
            uint64_t n_allocations = mem.n_allocations;
            for (int step = 0; step < 7; step++) {
                model_step(s, step);
            }
            assert_int_equal(mem.n_allocations, n_allocations);
        } else {
            assert_int_equal(status, VLORP_E_NOMEM);
        }
        model_free(s);
        assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
        assert_true(fail_at < 100);
    }
}

typedef struct worker {
    pthread_t thread;
    model *model;
} worker;

static void *work(void *arg)
{
    worker *w = arg;
    for (int step = 0; step < 7; step++) {
        model_step(w->model, step);
    }
    return NULL;
}

/* Handles in different threads at once do what they do alone. */
static void handles_share_nothing(void **state)
{
    (void)state;
    enum { WORKERS = 6 };
    worker workers[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        vlorp_optimizer_config c = config(i % 3, i % 2 == 0 ? VLORP_F32 : VLORP_BF16);
        workers[i].model = model_create(&c);
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        vlorp_optimizer_config c = config(i % 3, i % 2 == 0 ? VLORP_F32 : VLORP_BF16);
        worker alone = {.model = model_create(&c)};
        (void)work(&alone);
        assert_memory_equal(alone.model->w, workers[i].model->w, sizeof alone.model->w);
        model_free(alone.model);
        model_free(workers[i].model);
    }
}

/* Sums over two ranks, called per parameter with S where S is kept. */
typedef struct ranks {
    int n_calls;
    int64_t n_floats;
} ranks;

static vlorp_status sum_doubled(void *ctx, float *data, int64_t n, vlorp_err *err)
{
    ranks *r = ctx;
    (void)err;
    r->n_calls++;
    r->n_floats += n;
    for (int64_t i = 0; i < n; i++) {
        data[i] += data[i]; /* the other rank holds the same */
    }
    return VLORP_OK;
}

static vlorp_status refuse_to_sum(void *ctx, float *data, int64_t n, vlorp_err *err)
{
    (void)ctx;
    (void)data;
    (void)n;
    if (err != NULL) {
        err->code = VLORP_E_COMM;
    }
    return VLORP_E_COMM;
}

static void ranks_reduce_the_small_sums(void **state)
{
    (void)state;
    vlorp_err err = {0};
    ranks r = {0};
    vlorp_optimizer_config c = config(VLORP_MOMENTUM_RESET, VLORP_F32);
    model *alone = model_create(&c);
    c.all_reduce = sum_doubled;
    c.all_reduce_ctx = &r;
    model *rank = model_create(&c);
    float g[N * COLS];
    uint64_t seed = 8;
    for (int e = 0; e < N * COLS; e++) {
        g[e] = test_uniform(&seed);
    }
    int64_t n_floats = 0;
    for (int i = 0; i < N_MATRICES; i++) {
        for (int part = 0; part < 2; part++) {
            if (vlorp_optimizer_wants_probe(alone->o, i)) {
                ASSERT_OK(vlorp_optimizer_probe(alone->o, i, g, 0, &err));
                ASSERT_OK(vlorp_optimizer_probe(rank->o, i, g, 0, &err));
            }
            ASSERT_OK(vlorp_optimizer_accumulate(alone->o, i, g, 0, &err));
        }
        ASSERT_OK(vlorp_optimizer_accumulate(rank->o, i, g, 0, &err));
        vlorp_state_tensor sums;
        ASSERT_OK(vlorp_optimizer_gradient(rank->o, i, &sums, &err));
        n_floats += sums.shape[0] * sums.shape[1] * (sums.n_dims == 3 ? sums.shape[2] : 1);
    }
    vlorp_step step = {.lr = 1e-2, .grad_scale = 0.1, .max_grad_norm = 1};
    ASSERT_OK(vlorp_optimizer_step(alone->o, &step, NULL, &err));
    ASSERT_OK(vlorp_optimizer_step(rank->o, &step, NULL, &err));
    for (int i = 0; i < N_MATRICES; i++) { /* doubling and adding twice round differently */
        double error = 0;
        double size = 0;
        for (int e = 0; e < N * COLS; e++) {
            error += pow((double)alone->w[i][e] - (double)rank->w[i][e], 2);
            size += pow((double)alone->w[i][e], 2);
        }
        ASSERT_BELOW(sqrt(error / size), 1e-4);
    }
    assert_int_equal(r.n_calls, N_MATRICES);
    assert_int_equal(r.n_floats, n_floats);
    model_free(rank);
    c.all_reduce = refuse_to_sum;
    rank = model_create(&c);
    for (int i = 0; i < N_MATRICES; i++) {
        if (vlorp_optimizer_wants_probe(rank->o, i)) {
            ASSERT_OK(vlorp_optimizer_probe(rank->o, i, g, 0, &err));
        }
    }
    assert_int_equal(vlorp_optimizer_step(rank->o, &step, NULL, &err), VLORP_E_COMM);
    model_free(rank);
    model_free(alone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resumes_exactly),
        cmocka_unit_test(other_versions_load),
        cmocka_unit_test(damaged_states_are_refused),
        cmocka_unit_test(narrow_state_follows_wide_state),
        cmocka_unit_test(memory_is_as_planned),
        cmocka_unit_test(handles_share_nothing),
        cmocka_unit_test(ranks_reduce_the_small_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
