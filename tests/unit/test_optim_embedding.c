/* Gradients that arrive in other forms: sparse rows, formed matrices, transposed storage, strides. */
#include "optim_support.h"

enum { TOKENS = 40 };

static vlorp_optimizer *one_matrix(const vlorp_matrix *matrix)
{
    vlorp_err err = {0};
    vlorp_optimizer *o;
    vlorp_optimizer_config c = vlorp_optimizer_config_default();
    c.max_tokens = TOKENS;
    int id;
    ASSERT_OK(vlorp_optimizer_create(&o, &c, &err));
    ASSERT_OK(vlorp_optimizer_add_matrix(o, matrix, &id, &err));
    ASSERT_OK(vlorp_optimizer_commit(o, &err));
    return o;
}

static void assert_same_gradient(const vlorp_optimizer *a, const vlorp_optimizer *b)
{
    vlorp_err err = {0};
    vlorp_state_tensor x;
    vlorp_state_tensor y;
    ASSERT_OK(vlorp_optimizer_gradient(a, 0, &x, &err));
    ASSERT_OK(vlorp_optimizer_gradient(b, 0, &y, &err));
    assert_int_equal(x.n_dims, y.n_dims);
    int64_t n = 1;
    for (int i = 0; i < x.n_dims; i++) {
        assert_int_equal(x.shape[i], y.shape[i]);
        n *= x.shape[i];
    }
    ASSERT_BELOW(relative_error(x.data, y.data, n), 1e-6);
}

/* Rows scattered by id equal the formed gradient; together with factors they sum (a tied head). */
static void rows_equal_a_formed_gradient(void **state)
{
    (void)state;
    enum { VOCABULARY = 60, WIDTH = 36 };
    static const vlorp_projection projections[] = {
        {.factor = 4, .rank = 2}, {.factor = 12, .rank = 1}, {.factor = 4, .rank = 2, .side = VLORP_SIDE_LEFT},
        {.factor = 1, .rank = 20}, {.budget = 64},           {.budget = 64, .side = VLORP_SIDE_LEFT},
        {.factor = 1, .rank = 5, .divisor = 4}, {.rank = 7, .divisor = 3, .side = VLORP_SIDE_LEFT}};
    enum { N_PROJECTIONS = sizeof projections / sizeof projections[0] };
    float dy[TOKENS * WIDTH];
    float head_dy[TOKENS * VOCABULARY];
    int32_t ids[TOKENS];
    uint64_t seed = 1;
    for (int i = 0; i < TOKENS * WIDTH; i++) {
        dy[i] = test_uniform(&seed);
    }
    for (int i = 0; i < TOKENS * VOCABULARY; i++) {
        head_dy[i] = test_uniform(&seed);
    }
    for (int i = 0; i < TOKENS; i++) {
        ids[i] = (int32_t)(test_random(&seed) % (VOCABULARY / 4)); /* many repeat */
    }
    static float formed[VOCABULARY * WIDTH];
    memset(formed, 0, sizeof formed);
    for (int t = 0; t < TOKENS; t++) {
        for (int j = 0; j < WIDTH; j++) {
            formed[ids[t] * WIDTH + j] += dy[t * WIDTH + j];
            for (int i = 0; i < VOCABULARY; i++) {
                formed[i * WIDTH + j] += head_dy[t * VOCABULARY + i] * dy[t * WIDTH + j];
            }
        }
    }
    for (int i = 0; i <= N_PROJECTIONS; i++) {
        vlorp_err err = {0};
        vlorp_matrix m = vlorp_matrix_default();
        m.name = "embed.weight";
        m.n = VOCABULARY;
        m.m = WIDTH;
        m.rule = i < N_PROJECTIONS ? VLORP_RULE_PROJFACTOR : VLORP_RULE_ADAMW;
        m.projection = i < N_PROJECTIONS ? projections[i] : vlorp_projection_default();
        vlorp_optimizer *sparse = one_matrix(&m);
        vlorp_optimizer *whole = one_matrix(&m);
        ASSERT_OK(vlorp_optimizer_accumulate_rows(sparse, 0, ids, dy, 0, TOKENS, &err));
        ASSERT_OK(vlorp_optimizer_accumulate_factors(sparse, 0, head_dy, 0, dy, 0, TOKENS, &err));
        ASSERT_OK(vlorp_optimizer_accumulate(whole, 0, formed, 0, &err));
        assert_same_gradient(sparse, whole);
        ids[3] = VOCABULARY;
        assert_int_equal(vlorp_optimizer_accumulate_rows(sparse, 0, ids, dy, 0, TOKENS, &err), VLORP_E_ARG);
        assert_same_gradient(sparse, whole);
        ids[3] = 0;
        vlorp_optimizer_free(sparse);
        vlorp_optimizer_free(whole);
    }
}

/* Strided inputs and a strided weight give what contiguous ones do, and touch nothing between rows. */
static void strides_are_honoured(void **state)
{
    (void)state;
    enum { N = 20, M = 36, LD = 50 };
    static const vlorp_rule rules[] = {
        VLORP_RULE_PROJFACTOR, VLORP_RULE_ADAMW,  VLORP_RULE_VLORP_OS, VLORP_RULE_VLORP_SS,
        VLORP_RULE_VLORP_SGD,  VLORP_RULE_SGD,    VLORP_RULE_GALORE,   VLORP_RULE_FIRA,
        VLORP_RULE_APOLLO,     VLORP_RULE_APOLLO_MINI, VLORP_RULE_FLORA,    VLORP_RULE_ADAFACTOR,
        VLORP_RULE_ADAMW8BIT,
    };
    for (size_t i_rule = 0; i_rule < sizeof rules / sizeof rules[0]; i_rule++) {
        vlorp_err err = {0};
        static float w[2][N * LD];
        static float dy[2][TOKENS * LD];
        static float x[2][TOKENS * LD];
        uint64_t seed = 3;
        for (int i = 0; i < N * LD; i++) {
            w[1][i] = test_uniform(&seed);
            w[0][i / LD * M + i % LD % M] = i % LD < M ? w[1][i] : w[0][i / LD * M + i % LD % M];
        }
        for (int i = 0; i < TOKENS * LD; i++) {
            dy[1][i] = i % LD < N ? test_uniform(&seed) : NAN;
            x[1][i] = i % LD < M ? test_uniform(&seed) : NAN;
            if (i % LD < N) {
                dy[0][i / LD * N + i % LD] = dy[1][i];
            }
            if (i % LD < M) {
                x[0][i / LD * M + i % LD] = x[1][i];
            }
        }
        vlorp_matrix m = vlorp_matrix_default();
        m.name = "w";
        m.n = N;
        m.m = M;
        m.rule = rules[i_rule];
        m.projection = (vlorp_projection){.factor = 4, .rank = 2, .side = VLORP_SIDE_RIGHT};
        static float kept[N * LD];
        memcpy(kept, w[1], sizeof kept);
        for (int strided = 0; strided < 2; strided++) {
            m.ld = strided ? LD : 0;
            m.weight = w[strided];
            vlorp_optimizer *o = one_matrix(&m);
            ASSERT_OK(vlorp_optimizer_accumulate_factors(o, 0, dy[strided], strided ? LD : 0, x[strided],
                                                         strided ? LD : 0, TOKENS, &err));
            vlorp_step step = {.lr = 0.1, .grad_scale = 1};
            ASSERT_OK(vlorp_optimizer_step(o, &step, NULL, &err));
            vlorp_optimizer_free(o);
        }
        for (int i = 0; i < N * LD; i++) {
            float expected = i % LD < M ? w[0][i / LD * M + i % LD] : kept[i];
            assert_true(w[1][i] == expected);
        }
    }
}

/* AdamW on a matrix stored [m, n] is AdamW on its transpose. */
static void transposed_storage_is_the_transpose(void **state)
{
    (void)state;
    enum { N = 20, M = 36 };
    vlorp_err err = {0};
    static float plain[N * M];
    static float turned[M * N];
    static float dy[TOKENS * N];
    static float x[TOKENS * M];
    uint64_t seed = 3;
    for (int i = 0; i < N * M; i++) {
        plain[i] = test_uniform(&seed);
        turned[i % M * N + i / M] = plain[i];
    }
    for (int i = 0; i < TOKENS * N; i++) {
        dy[i] = test_uniform(&seed);
    }
    for (int i = 0; i < TOKENS * M; i++) {
        x[i] = test_uniform(&seed);
    }
    vlorp_matrix m = vlorp_matrix_default();
    m.name = "c_attn.weight";
    m.n = N;
    m.m = M;
    m.rule = VLORP_RULE_ADAMW;
    for (int transposed = 0; transposed < 2; transposed++) {
        m.transposed = transposed == 1;
        m.weight = transposed ? turned : plain;
        vlorp_optimizer *o = one_matrix(&m);
        ASSERT_OK(vlorp_optimizer_accumulate_factors(o, 0, dy, 0, x, 0, TOKENS, &err));
        vlorp_step step = {.lr = 0.1, .grad_scale = 1};
        ASSERT_OK(vlorp_optimizer_step(o, &step, NULL, &err));
        vlorp_optimizer_free(o);
    }
    for (int i = 0; i < N * M; i++) {
        ASSERT_BELOW(fabsf(turned[i % M * N + i / M] - plain[i]), 1e-5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_equal_a_formed_gradient),
        cmocka_unit_test(strides_are_honoured),
        cmocka_unit_test(transposed_storage_is_the_transpose),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
