/* Gradients that stay in the caller's memory: the same bits as accumulated ones, and no memory of ours. */
#include "optim_support.h"

#include "kernel/half.h"

enum { N = 7, WIDE = 1300, STEPS = 3, N_PARAMETERS = 3 };

/* A matrix wider than what is read at once, its transpose, and a vector. */
typedef struct trio {
    vlorp_optimizer *optimizer;
    size_t gradient_bytes;
    uint16_t narrow[N_PARAMETERS][N * WIDE];
    float wide[N_PARAMETERS][N * WIDE];
} trio;

static int64_t n_elements(int i)
{
    return i < 2 ? N * WIDE : WIDE;
}

static trio *trio_create(vlorp_dtype dtype, bool lent)
{
    vlorp_err err = {0};
    trio *t = calloc(1, sizeof *t);
    assert_non_null(t);
    vlorp_optimizer_config config = vlorp_optimizer_config_default();
    ASSERT_OK(vlorp_optimizer_create(&t->optimizer, &config, &err));
    for (int i = 0; i < N_PARAMETERS; i++) {
        vlorp_rng rng = vlorp_rng_make(5, (uint64_t)i, VLORP_STREAM_INIT, 0);
        vlorp_rng_normals(t->wide[i], &rng, 0, n_elements(i));
        for (int64_t e = 0; e < n_elements(i); e++) {
            t->narrow[i][e] = vlorpi_f32_to_bf16(t->wide[i][e]);
        }
        void *weight = dtype == VLORP_F32 ? (void *)t->wide[i] : (void *)t->narrow[i];
        int id = -1;
        if (i < 2) {
            vlorp_matrix matrix = vlorp_matrix_default();
            matrix.name = i == 0 ? "plain" : "transposed";
            matrix.n = N;
            matrix.m = WIDE;
            matrix.transposed = i == 1;
            matrix.dtype = dtype;
            matrix.weight = weight;
            matrix.rule = VLORP_RULE_ADAMW;
            matrix.weight_decay = 0.1;
            matrix.lent_gradient = lent;
            ASSERT_OK(vlorp_optimizer_add_matrix(t->optimizer, &matrix, &id, &err));
        } else {
            vlorp_vector vector = vlorp_vector_default();
            vector.name = "vector";
            vector.n = WIDE;
            vector.dtype = dtype;
            vector.weight = weight;
            vector.lent_gradient = lent;
            ASSERT_OK(vlorp_optimizer_add_vector(t->optimizer, &vector, &id, &err));
        }
        assert_int_equal(id, i);
    }
    vlorp_optimizer_memory use;
    ASSERT_OK(vlorp_optimizer_memory_use(t->optimizer, &use, &err));
    t->gradient_bytes = use.bytes[VLORP_MEMORY_GRADIENTS];
    ASSERT_OK(vlorp_optimizer_commit(t->optimizer, &err));
    return t;
}

static void trio_free(trio *t)
{
    vlorp_optimizer_free(t->optimizer);
    free(t);
}

static void make_gradient(float *g, uint16_t *narrow, int i, int step)
{
    vlorp_rng rng = vlorp_rng_make(6, (uint64_t)i, VLORP_STREAM_INIT, (uint64_t)step);
    vlorp_rng_normals(g, &rng, 0, n_elements(i));
    for (int64_t e = 0; e < n_elements(i); e++) {
        narrow[e] = vlorpi_f32_to_bf16(g[e]);
    }
}

static double take_step(trio *t)
{
    vlorp_err err = {0};
    vlorp_step_result result;
    vlorp_step step = {.lr = 1e-2, .grad_scale = 0.5, .max_grad_norm = 1};
    ASSERT_OK(vlorp_optimizer_step(t->optimizer, &step, &result, &err));
    return result.grad_norm;
}

static void same_bits_as_accumulated(vlorp_dtype weights, vlorp_dtype gradients)
{
    static float g[N * WIDE];
    static uint16_t narrow[N_PARAMETERS][N * WIDE];
    static float lent[N_PARAMETERS][N * WIDE];
    vlorp_err err = {0};
    trio *a = trio_create(weights, true);
    trio *b = trio_create(weights, false);
    assert_true(a->gradient_bytes == 0);
    assert_true(b->gradient_bytes >= (2 * N * WIDE + WIDE) * sizeof(float));
    for (int step = 0; step < STEPS; step++) {
        for (int i = 0; i < N_PARAMETERS; i++) {
            make_gradient(lent[i], narrow[i], i, step);
            for (int64_t e = 0; e < n_elements(i); e++) {
                g[e] = gradients == VLORP_F32 ? lent[i][e] : vlorpi_bf16_to_f32(narrow[i][e]);
            }
            if (i < 2) {
                ASSERT_OK(vlorp_optimizer_accumulate(b->optimizer, i, g, 0, &err));
            } else {
                ASSERT_OK(vlorp_optimizer_accumulate_vector(b->optimizer, i, g, &err));
            }
            const void *lend = gradients == VLORP_F32 ? (void *)lent[i] : (void *)narrow[i];
            ASSERT_OK(vlorp_optimizer_lend_gradient(a->optimizer, i, lend, gradients, &err));
        }
        double norm = take_step(b);
        assert_true(norm > 1); /* clipping acts */
        assert_true(fabs(take_step(a) / norm - 1) < 1e-6);
        assert_memory_equal(a->wide, b->wide, sizeof a->wide);
        assert_memory_equal(a->narrow, b->narrow, sizeof a->narrow);
        make_gradient(g, narrow[0], 0, step);
        assert_memory_equal(g, lent[0], sizeof g); /* it was only read */
    }
    trio_free(a);
    trio_free(b);
}

static void lent_gradients_give_the_same_bits(void **state)
{
    (void)state;
    same_bits_as_accumulated(VLORP_F32, VLORP_F32);
    same_bits_as_accumulated(VLORP_F32, VLORP_BF16);
    same_bits_as_accumulated(VLORP_BF16, VLORP_F32);
    same_bits_as_accumulated(VLORP_BF16, VLORP_BF16);
}

static void a_step_without_a_loan_leaves_the_parameter_alone(void **state)
{
    (void)state;
    static float g[N * WIDE];
    vlorp_err err = {0};
    trio *a = trio_create(VLORP_F32, true);
    trio *b = trio_create(VLORP_F32, true);
    make_gradient(g, b->narrow[0], 0, 0);
    ASSERT_OK(vlorp_optimizer_lend_gradient(a->optimizer, 0, g, VLORP_F32, &err));
    ASSERT_OK(vlorp_optimizer_discard(a->optimizer, &err));
    assert_true(take_step(a) == 0);
    assert_memory_equal(a->wide, b->wide, sizeof a->wide); /* no decay either */
    ASSERT_OK(vlorp_optimizer_lend_gradient(a->optimizer, 0, g, VLORP_F32, &err));
    assert_true(take_step(a) > 0);
    assert_memory_not_equal(a->wide[0], b->wide[0], sizeof a->wide[0]);
    assert_memory_equal(a->wide[1], b->wide[1], sizeof a->wide[1]);
    memcpy(b->wide, a->wide, sizeof a->wide);
    assert_true(take_step(a) == 0); /* nor does its momentum move it */
    assert_memory_equal(a->wide, b->wide, sizeof a->wide);
    g[N * WIDE - 1] = NAN;
    ASSERT_OK(vlorp_optimizer_lend_gradient(a->optimizer, 0, g, VLORP_F32, &err));
    double norm;
    assert_int_equal(vlorp_optimizer_norm(a->optimizer, 1, &norm, &err), VLORP_E_NUMERIC);
    assert_non_null(strstr(err.text, "plain"));
    trio_free(a);
    trio_free(b);
}

static void loans_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static float g[N * WIDE];
    vlorp_err err = {0};
    trio *a = trio_create(VLORP_F32, true);
    trio *b = trio_create(VLORP_F32, false);
    vlorp_state_tensor tensor;
    assert_int_equal(vlorp_optimizer_accumulate(a->optimizer, 0, g, 0, &err), VLORP_E_ARG);
    assert_int_equal(vlorp_optimizer_gradient(a->optimizer, 0, &tensor, &err), VLORP_E_ARG);
    assert_int_equal(vlorp_optimizer_lend_gradient(a->optimizer, 3, g, VLORP_F32, &err), VLORP_E_ARG);
    assert_int_equal(vlorp_optimizer_lend_gradient(a->optimizer, 0, NULL, VLORP_F32, &err), VLORP_E_ARG);
    assert_int_equal(vlorp_optimizer_lend_gradient(a->optimizer, 0, g, VLORP_F16, &err), VLORP_E_ARG);
    assert_int_equal(vlorp_optimizer_lend_gradient(b->optimizer, 0, g, VLORP_F32, &err), VLORP_E_ARG);
    double norm;
    ASSERT_OK(vlorp_optimizer_norm(a->optimizer, 1, &norm, &err));
    assert_int_equal(vlorp_optimizer_lend_gradient(a->optimizer, 0, g, VLORP_F32, &err), VLORP_E_STATE);
    trio_free(a);
    trio_free(b);

    vlorp_optimizer *o;
    vlorp_optimizer_config config = vlorp_optimizer_config_default();
    ASSERT_OK(vlorp_optimizer_create(&o, &config, &err));
    vlorp_matrix matrix = vlorp_matrix_default();
    matrix.name = "w";
    matrix.n = matrix.m = 8;
    matrix.projection.budget = 2;
    matrix.lent_gradient = true;
    int id;
    assert_int_equal(vlorp_optimizer_add_matrix(o, &matrix, &id, &err), VLORP_E_UNSUPPORTED);
    matrix.rule = VLORP_RULE_ADAMW;
    ASSERT_OK(vlorp_optimizer_add_matrix(o, &matrix, &id, &err));
    assert_int_equal(vlorp_optimizer_lend_gradient(o, id, g, VLORP_F32, &err), VLORP_E_STATE);
    vlorp_optimizer_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lent_gradients_give_the_same_bits),
        cmocka_unit_test(a_step_without_a_loan_leaves_the_parameter_alone),
        cmocka_unit_test(loans_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
