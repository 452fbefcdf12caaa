/* Calls that must be refused, numbers that must stop a step, and steps that must change nothing. */
#include "optim_support.h"

#include <float.h>

static vlorp_optimizer_config config(void)
{
    vlorp_optimizer_config c = vlorp_optimizer_config_default();
    c.max_tokens = SET_TOKENS;
    return c;
}

static void numbers_that_are_not_finite_stop_before_the_update(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY, FLT_MAX};
    for (int i = 0; i < SET_N; i++) {
        for (int kind = 0; kind < 4; kind++) {
            vlorp_err err = {0};
            vlorp_optimizer_config c = config();
            set *a = set_create(&c, VLORP_F32);
            set *b = set_create(&c, VLORP_F32);
            set_accumulate(a, 0, 0, SET_TOKENS);
            set_accumulate(b, 0, 0, SET_TOKENS);
            (void)set_step(a, 1);
            (void)set_step(b, 1);
            vlorp_state_tensor gradient;
            ASSERT_OK(vlorp_optimizer_gradient(a->optimizer, i, &gradient, &err));
            ((float *)gradient.data)[5] = bad[kind];
            vlorp_step step = {.lr = 1, .grad_scale = 1, .max_grad_norm = 1};
            vlorp_status status = vlorp_optimizer_step(a->optimizer, &step, NULL, &err);
            if (kind == 3 && status == VLORP_OK) { /* large but squared in double: an ordinary step */
                set_free(a);
                set_free(b);
                continue;
            }
            assert_int_equal(status, VLORP_E_NUMERIC);
            assert_non_null(strstr(err.text, set_rows[i].name));
            set_assert_same_bits(a, b);
            assert_int_equal(vlorp_optimizer_steps_taken(a->optimizer), 1);
            /* still refused until the gradients are forgotten; then all goes on */
            assert_int_equal(vlorp_optimizer_step(a->optimizer, &step, NULL, &err), VLORP_E_NUMERIC);
            ASSERT_OK(vlorp_optimizer_discard(a->optimizer, &err));
            set_accumulate(a, 1, 0, SET_TOKENS);
            set_accumulate(b, 1, 0, SET_TOKENS);
            (void)set_step(a, 1);
            (void)set_step(b, 1);
            set_assert_same_bits(a, b);
            set_free(a);
            set_free(b);
        }
    }
}

static void a_step_without_targets_changes_nothing(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorp_optimizer_config c = config();
    set *a = set_create(&c, VLORP_F32);
    set *b = set_create(&c, VLORP_F32);
    set_accumulate(a, 0, 0, SET_TOKENS);
    vlorp_step step = {.lr = 1, .grad_scale = 0};
    vlorp_step_result result = {.counted = true};
    ASSERT_OK(vlorp_optimizer_step(a->optimizer, &step, &result, &err));
    assert_false(result.counted);
    assert_int_equal(vlorp_optimizer_steps_taken(a->optimizer), 0);
    set_assert_same_bits(a, b);
    set_accumulate(a, 1, 0, SET_TOKENS);
    set_accumulate(b, 1, 0, SET_TOKENS);
    (void)set_step(a, 1);
    (void)set_step(b, 1);
    set_assert_same_bits(a, b);
    set_free(a);
    set_free(b);
}

/* Zero gradients with tokens are an ordinary step: no NaN, and only decay moves the weights. */
static void zero_gradients_are_an_ordinary_step(void **state)
{
    (void)state;
    vlorp_optimizer_config c = config();
    set *s = set_create(&c, VLORP_F32);
    static float before[SET_N][SET_LARGEST];
    memcpy(before, s->w32, sizeof before);
    for (int step = 0; step < 3; step++) {
        vlorp_step_result r = set_step(s, 1);
        assert_true(r.counted && r.grad_norm == 0 && r.clip == 1);
    }
    for (int i = 0; i < SET_N; i++) {
        double keep = set_rows[i].m > 0 ? pow(1 - 1e-2 * 0.1, 3) : 1;
        for (int64_t e = 0; e < set_elements(i); e++) {
            ASSERT_BELOW(fabs((double)s->w32[i][e] - keep * (double)before[i][e]), 1e-8);
        }
    }
    set_free(s);
}

/* Gradients of huge and tiny scale: every number stays finite. */
static void scales_stay_finite(void **state)
{
    (void)state;
    static const double scales[] = {1e15, 1e-15, 1e-30};
    for (int i = 0; i < 3; i++) {
        vlorp_err err = {0};
        vlorp_optimizer_config c = config();
        set *s = set_create(&c, VLORP_F32);
        for (int step = 0; step < 3; step++) {
            set_accumulate(s, step, 0, SET_TOKENS);
            vlorp_step args = {.lr = 1e-3, .grad_scale = scales[i]};
            ASSERT_OK(vlorp_optimizer_step(s->optimizer, &args, NULL, &err));
        }
        for (int k = 0; k < SET_N; k++) {
            for (int64_t e = 0; e < set_elements(k); e++) {
                assert_true(isfinite(s->w32[k][e]));
            }
        }
        set_free(s);
    }
}

static void calls_out_of_order_are_refused(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorp_optimizer_config c = config();
    static set s;
    float g[1] = {0};
    double norm;
    vlorp_step step = {.lr = 1, .grad_scale = 1};
    ASSERT_OK(vlorp_optimizer_create(&s.optimizer, &c, &err));
    ASSERT_OK(set_register(&s, s.optimizer, &err));
    assert_int_equal(vlorp_optimizer_accumulate(s.optimizer, 0, g, 0, &err), VLORP_E_STATE);
    assert_int_equal(vlorp_optimizer_norm(s.optimizer, 1, &norm, &err), VLORP_E_STATE);
    assert_int_equal(vlorp_optimizer_step(s.optimizer, &step, NULL, &err), VLORP_E_STATE);
    assert_int_equal(vlorp_optimizer_discard(s.optimizer, &err), VLORP_E_STATE);
    vlorp_state_tensor tensor;
    assert_int_equal(vlorp_optimizer_tensor(s.optimizer, 0, &tensor, &err), VLORP_E_STATE);
    ASSERT_OK(vlorp_optimizer_commit(s.optimizer, &err));
    assert_int_equal(vlorp_optimizer_commit(s.optimizer, &err), VLORP_E_STATE);
    vlorp_vector v = vlorp_vector_default();
    v.name = "late";
    v.n = 1;
    int id;
    assert_int_equal(vlorp_optimizer_add_vector(s.optimizer, &v, &id, &err), VLORP_E_STATE);
    ASSERT_OK(vlorp_optimizer_norm(s.optimizer, 1, &norm, &err));
    assert_int_equal(vlorp_optimizer_accumulate(s.optimizer, 0, g, 0, &err), VLORP_E_STATE);
    ASSERT_OK(vlorp_optimizer_set_weight(s.optimizer, 2, NULL, &err));
    assert_int_equal(vlorp_optimizer_step(s.optimizer, &step, NULL, &err), VLORP_E_STATE);
    assert_non_null(strstr(err.text, set_rows[2].name));
    vlorp_optimizer_free(s.optimizer);
}

static void arguments_out_of_range_are_refused(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorp_optimizer_config c = config();
    set *s = set_create(&c, VLORP_F32);
    static float g[SET_LARGEST];
    vlorp_optimizer *o = s->optimizer;
    assert_int_equal(vlorp_optimizer_accumulate(o, -1, g, 0, &err), VLORP_E_ARG);
    assert_int_equal(vlorp_optimizer_accumulate(o, SET_N, g, 0, &err), VLORP_E_ARG);
    assert_int_equal(vlorp_optimizer_accumulate(o, SET_N - 1, g, 0, &err), VLORP_E_ARG);
    assert_int_equal(vlorp_optimizer_accumulate_vector(o, 0, g, &err), VLORP_E_ARG);
    assert_int_equal(vlorp_optimizer_accumulate(o, 0, g, 1, &err), VLORP_E_ARG);
    assert_int_equal(vlorp_optimizer_accumulate_factors(o, 0, g, 1, g, 0, 1, &err), VLORP_E_ARG);
    assert_int_equal(vlorp_optimizer_accumulate_factors(o, 0, g, 0, g, 0, SET_TOKENS + 1, &err), VLORP_E_ARG);
    assert_int_equal(vlorp_optimizer_accumulate_factors(o, 0, g, 0, g, 0, -1, &err), VLORP_E_ARG);
    ASSERT_OK(vlorp_optimizer_accumulate_factors(o, 0, g, 0, g, 0, 0, &err));
    static const vlorp_step steps[] = {{.lr = NAN, .grad_scale = 1},       {.lr = -1, .grad_scale = 1},
                                       {.lr = 1, .grad_scale = NAN},       {.lr = 1, .grad_scale = -1},
                                       {.lr = 1, .grad_scale = INFINITY},
                                       {.lr = 1, .grad_scale = 1, .max_grad_norm = NAN}};
    for (int i = 0; i < 6; i++) {
        assert_int_equal(vlorp_optimizer_step(o, &steps[i], NULL, &err), VLORP_E_ARG);
    }
    float p[1];
    assert_int_equal(vlorp_optimizer_projection(o, SET_N - 1, p, &err), VLORP_E_ARG);
    vlorp_state_tensor tensor;
    assert_int_equal(vlorp_optimizer_tensor(o, vlorp_optimizer_n_tensors(o), &tensor, &err), VLORP_E_ARG);
    assert_int_equal(vlorp_optimizer_tensor(o, -1, &tensor, &err), VLORP_E_ARG);
    set_free(s);
}

static void registrations_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    vlorp_err err = {0};
    vlorp_optimizer *o;
    vlorp_optimizer_config c = config();
    c.beta2 = 1;
    assert_int_equal(vlorp_optimizer_create(&o, &c, &err), VLORP_E_ARG);
    assert_null(o);
    c = config();
    c.cpu_level = "altivec";
    assert_int_equal(vlorp_optimizer_create(&o, &c, &err), VLORP_E_ARG);
    c = config();
    c.update_gap = 0;
    assert_int_equal(vlorp_optimizer_create(&o, &c, &err), VLORP_E_ARG);
    c = config();
    ASSERT_OK(vlorp_optimizer_create(&o, &c, &err));
    vlorp_matrix good = vlorp_matrix_default();
    good.name = "w";
    good.n = 8;
    good.m = 8;
    good.projection.budget = 4;
    int id;
    vlorp_matrix m = good;
    m.n = 0;
    assert_int_equal(vlorp_optimizer_add_matrix(o, &m, &id, &err), VLORP_E_ARG);
    m = good;
    m.m = INT64_MAX;
    assert_int_equal(vlorp_optimizer_add_matrix(o, &m, &id, &err), VLORP_E_ARG);
    m = good;
    m.ld = 7;
    assert_int_equal(vlorp_optimizer_add_matrix(o, &m, &id, &err), VLORP_E_ARG);
    m = good;
    m.name = "";
    assert_int_equal(vlorp_optimizer_add_matrix(o, &m, &id, &err), VLORP_E_ARG);
    m = good;
    m.dtype = VLORP_F16;
    assert_int_equal(vlorp_optimizer_add_matrix(o, &m, &id, &err), VLORP_E_UNSUPPORTED);
    m = good;
    m.transposed = true;
    m.projection.budget = 0;
    m.projection.rank = 4;
    m.projection.divisor = 2;
    assert_int_equal(vlorp_optimizer_add_matrix(o, &m, &id, &err), VLORP_E_UNSUPPORTED);
    m = good;
    m.weight_decay = NAN;
    assert_int_equal(vlorp_optimizer_add_matrix(o, &m, &id, &err), VLORP_E_ARG);
    assert_int_equal(vlorp_optimizer_n_parameters(o), 0);
    ASSERT_OK(vlorp_optimizer_add_matrix(o, &good, &id, &err));
    assert_int_equal(vlorp_optimizer_add_matrix(o, &good, &id, &err), VLORP_E_ARG);
    m = good;
    m.name = "huge";
    m.n = INT32_MAX;
    m.m = INT32_MAX;
    m.rule = VLORP_RULE_ADAMW;
    ASSERT_OK(vlorp_optimizer_add_matrix(o, &m, &id, &err));
    m.name = "huge, projected";
    m.rule = VLORP_RULE_PROJFACTOR;
    m.projection.budget = 0;
    m.projection.factor = 1;
    m.projection.rank = 1 << 30;
    ASSERT_OK(vlorp_optimizer_add_matrix(o, &m, &id, &err));
    assert_int_equal(vlorp_optimizer_commit(o, &err), VLORP_E_LIMIT);
    vlorp_optimizer_free(o);
    vlorp_optimizer_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_that_are_not_finite_stop_before_the_update),
        cmocka_unit_test(a_step_without_targets_changes_nothing),
        cmocka_unit_test(zero_gradients_are_an_ordinary_step),
        cmocka_unit_test(scales_stay_finite),
        cmocka_unit_test(calls_out_of_order_are_refused),
        cmocka_unit_test(arguments_out_of_range_are_refused),
        cmocka_unit_test(registrations_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
