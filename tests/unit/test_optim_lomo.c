/* Steps that begin before their gradients: order of calls, the shared room, gradients that are not finite. */
#include "support.h"

#include <vlorp/vlorp.h>

#include "base/mem.h"

enum { N = 12, M = 20, N_MATRICES = 3 };
static const vlorp_step STEP = {.lr = 0.5, .grad_scale = 0.25};

typedef struct trio {
    vlorp_optimizer *o;
    float w[N_MATRICES][N * M];
} trio;

/* Two matrices under lomo, the first with room of its own, and one under sgd. */
static void trio_create(trio *t, vlorpi_mem *mem)
{
    vlorp_err err = {0};
    vlorp_optimizer_config config = vlorp_optimizer_config_default();
    if (mem != NULL) {
        config.allocator = vlorpi_mem_allocator(mem);
    }
    memset(t, 0, sizeof *t);
    ASSERT_OK(vlorp_optimizer_create(&t->o, &config, &err));
    for (int i = 0; i < N_MATRICES; i++) {
        static const char *const names[] = {"tied", "lomo", "sgd"};
        vlorp_matrix m = vlorp_matrix_default();
        m.name = names[i];
        m.n = N;
        m.m = M;
        m.weight = t->w[i];
        m.rule = i < 2 ? VLORP_RULE_LOMO : VLORP_RULE_SGD;
        m.keeps_gradient = i == 0;
        int id;
        ASSERT_OK(vlorp_optimizer_add_matrix(t->o, &m, &id, &err));
    }
    int id;
    vlorp_matrix m = vlorp_matrix_default();
    m.name = "wrong";
    m.n = N;
    m.m = M;
    m.keeps_gradient = true;
    assert_int_equal(vlorp_optimizer_add_matrix(t->o, &m, &id, &err), VLORP_E_ARG);
    m.name = "larger";
    m.n = N + 4;
    m.keeps_gradient = false;
    m.rule = VLORP_RULE_LOMO;
    m.weight = NULL;
    ASSERT_OK(vlorp_optimizer_add_matrix(t->o, &m, &id, &err));
    static float larger[(N + 4) * M];
    ASSERT_OK(vlorp_optimizer_set_weight(t->o, id, larger, &err));
    ASSERT_OK(vlorp_optimizer_commit(t->o, &err));
}

static void fill(float *g, float value)
{
    for (int e = 0; e < N * M; e++) {
        g[e] = value;
    }
}

static void weights_are_updated_when_told(void **state)
{
    (void)state;
    vlorp_err err = {0};
    trio t;
    float g[N * M];
    trio_create(&t, NULL);
    fill(g, 2);
    assert_int_equal(vlorp_optimizer_accumulate(t.o, 1, g, 0, &err), VLORP_E_STATE);
    assert_int_equal(vlorp_optimizer_step_one(t.o, 1, &err), VLORP_E_STATE);
    ASSERT_OK(vlorp_optimizer_begin_step(t.o, &STEP, &err));
    assert_int_equal(vlorp_optimizer_begin_step(t.o, &STEP, &err), VLORP_E_STATE);
    ASSERT_OK(vlorp_optimizer_accumulate(t.o, 0, g, 0, &err));
    ASSERT_OK(vlorp_optimizer_accumulate(t.o, 1, g, 0, &err));
    ASSERT_OK(vlorp_optimizer_accumulate(t.o, 2, g, 0, &err));
    assert_int_equal(vlorp_optimizer_accumulate(t.o, 3, g, 0, &err), VLORP_E_STATE);
    assert_non_null(strstr(err.text, "lomo still holds"));
    assert_int_equal(vlorp_optimizer_step_one(t.o, 2, &err), VLORP_E_ARG);
    ASSERT_OK(vlorp_optimizer_step_one(t.o, 1, &err));
    assert_true(t.w[1][5] == -0.25f && t.w[0][5] == 0 && t.w[2][5] == 0);
    ASSERT_OK(vlorp_optimizer_step_one(t.o, 3, &err)); /* without a gradient: nothing */
    uint64_t n_bytes;
    ASSERT_OK(vlorp_optimizer_state_size(t.o, &n_bytes, &err));
    unsigned char bytes[4096];
    assert_int_equal(vlorp_optimizer_save_buffer(t.o, bytes, sizeof bytes, &err), VLORP_E_STATE);
    vlorp_step other = STEP;
    other.lr = 0.25;
    assert_int_equal(vlorp_optimizer_step(t.o, &other, NULL, &err), VLORP_E_ARG);
    vlorp_step_result result;
    ASSERT_OK(vlorp_optimizer_step(t.o, &STEP, &result, &err));
    assert_true(t.w[0][5] == -0.25f && t.w[1][5] == -0.25f && t.w[2][5] == -0.25f);
    ASSERT_BELOW(fabs(result.grad_norm - 0.5 * sqrt(3 * N * M)), 1e-5); /* the one already taken included */
    assert_int_equal(vlorp_optimizer_steps_taken(t.o), 1);
    ASSERT_OK(vlorp_optimizer_save_buffer(t.o, bytes, sizeof bytes, &err));
    assert_int_equal(vlorp_optimizer_step(t.o, &STEP, NULL, &err), VLORP_E_STATE);
    vlorp_optimizer_free(t.o);
}

static void clipping_is_refused(void **state)
{
    (void)state;
    vlorp_err err = {0};
    trio t;
    trio_create(&t, NULL);
    vlorp_step step = STEP;
    step.max_grad_norm = 1;
    assert_int_equal(vlorp_optimizer_begin_step(t.o, &step, &err), VLORP_E_ARG);
    assert_non_null(strstr(err.text, "does not clip"));
    vlorp_optimizer_free(t.o);
}

static void what_is_not_finite_is_not_taken(void **state)
{
    (void)state;
    vlorp_err err = {0};
    trio t;
    float g[N * M];
    trio_create(&t, NULL);
    ASSERT_OK(vlorp_optimizer_begin_step(t.o, &STEP, &err));
    fill(g, 2);
    ASSERT_OK(vlorp_optimizer_accumulate(t.o, 1, g, 0, &err));
    ASSERT_OK(vlorp_optimizer_step_one(t.o, 1, &err));
    g[7] = INFINITY;
    ASSERT_OK(vlorp_optimizer_accumulate(t.o, 0, g, 0, &err));
    assert_int_equal(vlorp_optimizer_step_one(t.o, 0, &err), VLORP_E_NUMERIC);
    assert_non_null(strstr(err.text, "stays updated"));
    assert_true(t.w[0][5] == 0 && t.w[1][5] == -0.25f);
    ASSERT_OK(vlorp_optimizer_discard(t.o, &err));
    assert_int_equal(vlorp_optimizer_steps_taken(t.o), 0);
    ASSERT_OK(vlorp_optimizer_begin_step(t.o, &STEP, &err)); /* clean again */
    fill(g, 4);
    ASSERT_OK(vlorp_optimizer_accumulate(t.o, 0, g, 0, &err));
    ASSERT_OK(vlorp_optimizer_step(t.o, &STEP, NULL, &err));
    assert_true(t.w[0][5] == -0.5f && t.w[1][5] == -0.25f);
    vlorp_optimizer_free(t.o);
}

/* Room for the largest, for the one that keeps its own, and for sgd's; no state. */
static void gradients_share_one_room(void **state)
{
    (void)state;
    vlorp_err err = {0};
    static vlorpi_mem mem;
    vlorpi_mem_init(&mem);
    trio t;
    trio_create(&t, &mem);
    vlorp_optimizer_memory use;
    ASSERT_OK(vlorp_optimizer_memory_use(t.o, &use, &err));
    assert_int_equal(use.bytes[VLORP_MEMORY_GRADIENTS], sizeof(float) * (2 * N * M + (N + 4) * M));
    assert_int_equal(use.bytes[VLORP_MEMORY_OPTIMIZER_STATE], 0);
    vlorp_optimizer_free(t.o);
    assert_int_equal(vlorpi_mem_now(&mem).total_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_updated_when_told),
        cmocka_unit_test(clipping_is_refused),
        cmocka_unit_test(what_is_not_finite_is_not_taken),
        cmocka_unit_test(gradients_share_one_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
