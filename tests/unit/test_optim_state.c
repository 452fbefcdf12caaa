/* Saving and loading: exact resumption under every rule, other versions, hostile bytes, bfloat16 state. */
#include "optim_support.h"

enum { N = 24, COLS = 40, N_MATRICES = 9, TOKENS = 6 };

static const struct matrix_row {
    vlorp_rule rule;
    vlorp_projection projection;
    bool transposed;
} rows[N_MATRICES] = {
    {VLORP_RULE_PROJFACTOR, {.factor = 4, .rank = 2}, false},
    {VLORP_RULE_PROJFACTOR, {.factor = 4, .rank = 2, .distribution = VLORP_SVD}, false},
    {VLORP_RULE_PROJFACTOR, {.factor = 1, .rank = 3, .divisor = 2, .side = VLORP_SIDE_RIGHT}, false},
    {VLORP_RULE_VLORP_OS, {.factor = 2, .rank = 1, .distribution = VLORP_RADEMACHER}, true},
    {VLORP_RULE_VLORP_SS, {.factor = 4, .rank = 2, .side = VLORP_SIDE_RIGHT, .distribution = VLORP_SVD}, true},
    {VLORP_RULE_VLORP_SGD, {.factor = 1, .rank = 3, .divisor = 4}, false},
    {VLORP_RULE_SGD, {.factor = 0}, false},
    {VLORP_RULE_ADAMW, {.factor = 0}, true},
    {VLORP_RULE_PROJFACTOR, {.factor = 64, .rank = 8}, true}, /* kept exact */
};

typedef struct model {
    vlorp_optimizer *o;
    float w[N_MATRICES][N * COLS];
} model;

static vlorp_optimizer_config config(int policy, vlorp_dtype state_dtype)
{
    vlorp_optimizer_config c = vlorp_optimizer_config_default();
    c.update_gap = 3;
    c.max_tokens = TOKENS;
    c.momentum = (vlorp_momentum)policy;
    c.state_dtype = state_dtype;
    return c;
}

static model *model_create(const vlorp_optimizer_config *c)
{
    vlorp_err err = {0};
    model *s = calloc(1, sizeof *s);
    assert_non_null(s);
    ASSERT_OK(vlorp_optimizer_create(&s->o, c, &err));
    for (int i = 0; i < N_MATRICES; i++) {
        static char name[16];
        (void)snprintf(name, sizeof name, "matrix.%d", i);
        vlorp_matrix m = vlorp_matrix_default();
        m.name = name;
        m.n = N;
        m.m = COLS;
        m.weight = s->w[i];
        m.rule = rows[i].rule;
        m.projection = rows[i].projection;
        m.transposed = rows[i].transposed;
        m.weight_decay = 0.1;
        int id;
        ASSERT_OK(vlorp_optimizer_add_matrix(s->o, &m, &id, &err));
    }
    ASSERT_OK(vlorp_optimizer_commit(s->o, &err));
    return s;
}

static void model_free(model *s)
{
    vlorp_optimizer_free(s->o);
    free(s);
}

/* Two micro-batches, with a probe where one is wanted. */
static void model_step(model *s, int step)
{
    static float dy[TOKENS * N];
    static float x[TOKENS * COLS];
    vlorp_err err = {0};
    uint64_t seed = 100 + (uint64_t)step;
    for (int i = 0; i < 2 * N_MATRICES; i++) {
        for (int e = 0; e < TOKENS * N; e++) {
            dy[e] = test_uniform(&seed);
        }
        for (int e = 0; e < TOKENS * COLS; e++) {
            x[e] = test_uniform(&seed);
        }
        if (vlorp_optimizer_wants_probe(s->o, i / 2)) {
            assert_int_equal(vlorp_optimizer_accumulate_factors(s->o, i / 2, dy, 0, x, 0, TOKENS, &err), VLORP_E_STATE);
            ASSERT_OK(vlorp_optimizer_probe_factors(s->o, i / 2, dy, 0, x, 0, TOKENS, &err));
        }
        ASSERT_OK(vlorp_optimizer_accumulate_factors(s->o, i / 2, dy, 0, x, 0, TOKENS, &err));
    }
    vlorp_step args = {.lr = 1e-2, .grad_scale = 0.1, .max_grad_norm = 1};
    ASSERT_OK(vlorp_optimizer_step(s->o, &args, NULL, &err));
}

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
        ASSERT_BELOW(fabs(mean[e] - (double)wide[e]), 5 * sqrt(PARTS / 12.0 / SEEDS) / 128 * fabs((double)wide[e]) + 1e-6);
        error += mean[e] - (double)wide[e];
        size += fabs((double)wide[e]);
    }
    ASSERT_BELOW(fabs(error) / size, 5e-4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resumes_exactly),
        cmocka_unit_test(other_versions_load),
        cmocka_unit_test(damaged_states_are_refused),
        cmocka_unit_test(narrow_state_follows_wide_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
