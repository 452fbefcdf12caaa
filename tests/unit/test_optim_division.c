/* adaptive_budget: exact resumption, equal bytes, threads, and what is refused. */
#include "optim_support.h"

enum { GAP = 3, STEPS = 11 };

static vlorp_optimizer_config adaptive(vlorp_momentum momentum, vlorp_dtype state_dtype)
{
    vlorp_optimizer_config c = vlorp_optimizer_config_default();
    c.update_gap = GAP;
    c.max_tokens = SET_TOKENS;
    c.momentum = momentum;
    c.state_dtype = state_dtype;
    c.adaptive_budget = true;
    return c;
}

/* In two micro-batches, with clipping. */
static vlorp_step_result take_step(set *s, int step)
{
    set_accumulate(s, step, 0, SET_TOKENS / 2);
    set_accumulate(s, step, SET_TOKENS / 2, SET_TOKENS);
    return set_step(s, 0.5);
}

static size_t state_bytes(const vlorp_state_tensor *t)
{
    size_t n = t->dtype == VLORP_U8 ? 1 : t->dtype == VLORP_BF16 ? 2 : 4;
    for (int k = 0; k < t->n_dims; k++) {
        n *= (size_t)t->shape[k];
    }
    return n;
}

static void assert_same(set *a, set *b)
{
    vlorp_err err = {0};
    for (int i = 0; i < SET_N; i++) {
        assert_memory_equal(set_weight(a, i), set_weight(b, i), (size_t)set_elements(i) * (a->dtype == VLORP_BF16 ? 2 : 4));
    }
    for (int i = 0; i < vlorp_optimizer_n_tensors(a->optimizer); i++) {
        vlorp_state_tensor x, y;
        ASSERT_OK(vlorp_optimizer_tensor(a->optimizer, i, &x, &err));
        ASSERT_OK(vlorp_optimizer_tensor(b->optimizer, i, &y, &err));
        assert_memory_equal(x.shape, y.shape, sizeof x.shape);
        assert_memory_equal(x.data, y.data, state_bytes(&x));
    }
    for (int i = 0; i < SET_N; i++) {
        vlorp_division x, y;
        ASSERT_OK(vlorp_optimizer_division(a->optimizer, i, &x, &err));
        ASSERT_OK(vlorp_optimizer_division(b->optimizer, i, &y, &err));
        assert_memory_equal(&x, &y, sizeof x);
    }
}

static void copy_weights(set *to, const set *from)
{
    memcpy(to->w32, from->w32, sizeof to->w32);
    memcpy(to->w16, from->w16, sizeof to->w16);
}

static void resume_from_bytes(set *to, const set *from)
{
    vlorp_err err = {0};
    uint64_t n = 0;
    ASSERT_OK(vlorp_optimizer_state_size(from->optimizer, &n, &err));
    unsigned char *bytes = malloc((size_t)n);
    assert_non_null(bytes);
    ASSERT_OK(vlorp_optimizer_save_buffer(from->optimizer, bytes, (size_t)n, &err));
    ASSERT_OK(vlorp_optimizer_load_buffer(to->optimizer, bytes, (size_t)n, &err));
    free(bytes);
}

static void resume_from_tensors(set *to, const set *from)
{
    vlorp_err err = {0};
    vlorp_division divisions[SET_N];
    for (int i = 0; i < SET_N; i++) {
        ASSERT_OK(vlorp_optimizer_division(from->optimizer, i, &divisions[i], &err));
    }
    ASSERT_OK(vlorp_optimizer_set_divisions(to->optimizer, divisions, &err));
    for (int i = 0; i < vlorp_optimizer_n_tensors(to->optimizer); i++) {
        vlorp_state_tensor x, y;
        ASSERT_OK(vlorp_optimizer_tensor(from->optimizer, i, &x, &err));
        ASSERT_OK(vlorp_optimizer_tensor(to->optimizer, i, &y, &err));
        assert_int_equal(state_bytes(&x), state_bytes(&y));
        memcpy(y.data, x.data, state_bytes(&x));
    }
    ASSERT_OK(vlorp_optimizer_set_steps_taken(to->optimizer, vlorp_optimizer_steps_taken(from->optimizer), &err));
}

/* Saved before the first refresh, in a window, right after a division; over refreshes that move moments. */
static void resumes_exactly(void **state)
{
    (void)state;
    for (int policy = VLORP_MOMENTUM_RESET; policy <= VLORP_MOMENTUM_KEEP; policy++) {
        for (int cut = 0; cut < STEPS; cut++) {
            vlorp_optimizer_config c = adaptive((vlorp_momentum)policy, cut % 2 == 0 ? VLORP_F32 : VLORP_BF16);
            vlorp_dtype dtype = cut % 3 == 0 ? VLORP_BF16 : VLORP_F32;
            set *whole = set_create(&c, dtype);
            set *resumed = set_create(&c, dtype);
            int64_t n_redivided = 0;
            for (int step = 0; step < cut; step++) {
                n_redivided += take_step(whole, step).n_redivided;
            }
            assert_int_equal(n_redivided > 0, cut >= GAP);
            copy_weights(resumed, whole);
            if (cut % 2 == 0) {
                resume_from_bytes(resumed, whole);
            } else {
                resume_from_tensors(resumed, whole);
            }
            for (int step = cut; step < STEPS; step++) {
                (void)take_step(whole, step);
                (void)take_step(resumed, step);
            }
            assert_same(whole, resumed);
            set_free(whole);
            set_free(resumed);
        }
    }
}

static void threads_change_no_bit(void **state)
{
    (void)state;
    vlorp_optimizer_config c = adaptive(VLORP_MOMENTUM_TRANSPORT, VLORP_F32);
    set *one = set_create(&c, VLORP_F32);
    c.exec = vlorpi_threads_exec(3);
    set *three = set_create(&c, VLORP_F32);
    for (int step = 0; step < STEPS; step++) {
        assert_int_equal(take_step(one, step).n_redivided, take_step(three, step).n_redivided);
    }
    assert_same(one, three);
    set_free(one);
    set_free(three);
}

/* What the handle asks of its allocator is what it said before, and stays so whatever is divided. */
static void bytes_stay_equal(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorpi_mem mem;
    vlorpi_mem_init(&mem);
    vlorp_optimizer_config c = adaptive(VLORP_MOMENTUM_KEEP, VLORP_BF16);
    c.allocator = vlorpi_mem_allocator(&mem);
    set *s = set_create(&c, VLORP_F32);
    vlorp_optimizer_memory before, after;
    ASSERT_OK(vlorp_optimizer_memory_use(s->optimizer, &before, &err));
    size_t held = vlorpi_mem_now(&mem).total_bytes;
    uint64_t n_allocations = mem.n_allocations;
    c.adaptive_budget = false;
    set *uniform = set_create(&c, VLORP_F32);
    vlorp_optimizer_memory fixed;
    ASSERT_OK(vlorp_optimizer_memory_use(uniform->optimizer, &fixed, &err));
    assert_int_equal(before.bytes[VLORP_MEMORY_GRADIENTS], fixed.bytes[VLORP_MEMORY_GRADIENTS]);
    assert_int_equal(before.bytes[VLORP_MEMORY_OPTIMIZER_STATE], fixed.bytes[VLORP_MEMORY_OPTIMIZER_STATE]);
    set_free(uniform);
    n_allocations = mem.n_allocations;
    for (int step = 0; step < STEPS; step++) {
        (void)take_step(s, step);
    }
    ASSERT_OK(vlorp_optimizer_memory_use(s->optimizer, &after, &err));
    assert_memory_equal(&before, &after, sizeof before);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, held);
    assert_int_equal(mem.n_allocations, n_allocations);
    set_free(s);
}

/* A gradient of nothing says nothing of who needs what. */
static void zeros_divide_nothing(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorp_optimizer_config c = adaptive(VLORP_MOMENTUM_RESET, VLORP_F32);
    set *s = set_create(&c, VLORP_F32);
    for (int step = 0; step < 2 * GAP; step++) {
        assert_int_equal(set_step(s, 0).n_redivided, 0);
    }
    vlorp_parameter_info info;
    ASSERT_OK(vlorp_optimizer_parameter(s->optimizer, 0, &info, &err));
    assert_int_equal(info.projection.M, 16);
    set_free(s);
}

static vlorp_status add_one(vlorp_optimizer *o, const char *name, vlorp_rule rule, vlorp_projection projection,
                            vlorp_err *err)
{
    int id;
    vlorp_matrix m = vlorp_matrix_default();
    m.name = name;
    m.n = 32;
    m.m = 48;
    m.rule = rule;
    m.projection = projection;
    return vlorp_optimizer_add_matrix(o, &m, &id, err);
}

static void refusals(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorp_optimizer *o;
    vlorp_optimizer_config c = adaptive(VLORP_MOMENTUM_RESET, VLORP_F32);
    ASSERT_OK(vlorp_optimizer_create(&o, &c, &err));
    vlorp_projection fine = {.factor = 4, .rank = 1};
    vlorp_projection svd = {.factor = 4, .rank = 1, .distribution = VLORP_SVD};
    vlorp_projection coarse = {.factor = 1, .rank = 2, .divisor = 2};
    assert_int_equal(add_one(o, "a", VLORP_RULE_PROJFACTOR, svd, &err), VLORP_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "svd"));
    assert_int_equal(add_one(o, "a", VLORP_RULE_PROJFACTOR, coarse, &err), VLORP_E_UNSUPPORTED);
    assert_int_equal(add_one(o, "a", VLORP_RULE_APOLLO, fine, &err), VLORP_E_UNSUPPORTED);
    assert_int_equal(add_one(o, "a", VLORP_RULE_FLORA, fine, &err), VLORP_E_UNSUPPORTED);
    ASSERT_OK(add_one(o, "a", VLORP_RULE_ADAMW, fine, &err)); /* what is not projected has no part in it */
    ASSERT_OK(add_one(o, "b", VLORP_RULE_VLORP_SS, fine, &err));
    assert_int_equal(add_one(o, "c", VLORP_RULE_PROJFACTOR, fine, &err), VLORP_E_UNSUPPORTED);
    vlorp_division d[2] = {{0}, {.budget = 4}};
    assert_int_equal(vlorp_optimizer_set_divisions(o, d, &err), VLORP_E_STATE);
    ASSERT_OK(vlorp_optimizer_commit(o, &err));
    ASSERT_OK(vlorp_optimizer_set_divisions(o, d, &err));
    d[1].budget = 3;
    ASSERT_OK(vlorp_optimizer_set_divisions(o, d, &err));
    static const int64_t wrong[] = {0, -1, 5, 9, 32, 33, INT64_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        d[1].budget = wrong[i];
        assert_int_equal(vlorp_optimizer_set_divisions(o, d, &err), VLORP_E_ARG);
    }
    d[1] = (vlorp_division){.budget = 4, .norm_sum = -1};
    assert_int_equal(vlorp_optimizer_set_divisions(o, d, &err), VLORP_E_ARG);
    vlorp_parameter_info info;
    ASSERT_OK(vlorp_optimizer_parameter(o, 1, &info, &err));
    assert_int_equal(info.projection.M, 3);
    vlorp_optimizer_free(o);
}

/* Bytes of a damaged division, and of a run without one, change nothing. */
static void damaged_divisions(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorp_optimizer_config c = adaptive(VLORP_MOMENTUM_TRANSPORT, VLORP_F32);
    set *s = set_create(&c, VLORP_F32);
    set *twin = set_create(&c, VLORP_F32);
    for (int step = 0; step < GAP + 1; step++) {
        (void)take_step(s, step);
        (void)take_step(twin, step);
    }
    uint64_t n = 0;
    ASSERT_OK(vlorp_optimizer_state_size(s->optimizer, &n, &err));
    unsigned char *bytes = malloc((size_t)n);
    ASSERT_OK(vlorp_optimizer_save_buffer(s->optimizer, bytes, (size_t)n, &err));
    for (size_t at = 60; at < 64 + 24 * 5; at++) {
        bytes[at] ^= 0x41;
        assert_int_not_equal(vlorp_optimizer_load_buffer(s->optimizer, bytes, (size_t)n, &err), VLORP_OK);
        bytes[at] ^= 0x41;
    }
    for (uint64_t end = 0; end < n; end += 61) {
        assert_int_not_equal(vlorp_optimizer_load_buffer(s->optimizer, bytes, (size_t)end, &err), VLORP_OK);
    }
    assert_same(s, twin);
    c.adaptive_budget = false;
    set *uniform = set_create(&c, VLORP_F32);
    assert_int_equal(vlorp_optimizer_load_buffer(uniform->optimizer, bytes, (size_t)n, &err), VLORP_E_SHAPE);
    assert_non_null(strstr(err.text, "adaptive_budget"));
    for (int step = GAP + 1; step < STEPS; step++) {
        (void)take_step(s, step);
        (void)take_step(twin, step);
    }
    assert_same(s, twin);
    free(bytes);
    set_free(s);
    set_free(twin);
    set_free(uniform);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resumes_exactly), cmocka_unit_test(threads_change_no_bit), cmocka_unit_test(bytes_stay_equal),
        cmocka_unit_test(zeros_divide_nothing), cmocka_unit_test(refusals), cmocka_unit_test(damaged_divisions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
