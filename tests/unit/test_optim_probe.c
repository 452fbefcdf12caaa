/* The probes that svd's bases come from: what is refused, gradients in parts, the room they share. */
#include "unit/optim_model.h"

/* Probes that must be refused, and gradients of zero and of extreme size. */
static void probes_are_checked(void **state)
{
    (void)state;
    enum { SVD = 1 };
    static const float sizes[] = {0.0f, 1e-30f, 1e30f};
    vlorp_err err = {0};
    vlorp_optimizer_config c = config(VLORP_MOMENTUM_TRANSPORT, VLORP_F32);
    model *s = model_create(&c);
    float g[N * COLS] = {0};
    float p[N * COLS];
    assert_false(vlorp_optimizer_wants_probe(s->o, 0));
    assert_false(vlorp_optimizer_wants_probe(s->o, -1));
    assert_true(vlorp_optimizer_wants_probe(s->o, SVD));
    assert_int_equal(vlorp_optimizer_probe(s->o, 0, g, 0, &err), VLORP_E_ARG);
    g[7] = NAN;
    assert_int_equal(vlorp_optimizer_probe(s->o, SVD, g, 0, &err), VLORP_E_NUMERIC);
    for (int i = 0; i < 3; i++) {
        for (int e = 0; e < N * COLS; e++) {
            g[e] = sizes[i] * (float)(e % 7 - 3);
        }
        ASSERT_OK(vlorp_optimizer_probe(s->o, SVD, g, 0, &err));
        ASSERT_OK(vlorp_optimizer_projection(s->o, SVD, p, &err));
        for (int q = 0; q < 2; q++) {
            double square = 0;
            for (int j = 0; j < N / 4; j++) {
                square += (double)p[j * 2 + q] * (double)p[j * 2 + q];
            }
            ASSERT_BELOW(fabs(square - 1), 1e-6);
        }
    }
    assert_false(vlorp_optimizer_wants_probe(s->o, SVD));
    memset(g, 0, sizeof g);
    ASSERT_OK(vlorp_optimizer_accumulate(s->o, SVD, g, 0, &err));
    assert_int_equal(vlorp_optimizer_probe(s->o, SVD, g, 0, &err), VLORP_E_STATE);
    int32_t ids[2] = {3, 3};
    ASSERT_OK(vlorp_optimizer_discard(s->o, &err));
    g[0] = 1;
    g[COLS + 1] = 2;
    ASSERT_OK(vlorp_optimizer_probe_rows(s->o, SVD, ids, g, 0, 2, &err));
    float from_rows[N * COLS];
    ASSERT_OK(vlorp_optimizer_projection(s->o, SVD, from_rows, &err));
    memset(g, 0, sizeof g);
    g[3 * COLS] = 1;
    g[3 * COLS + 1] = 2;
    ASSERT_OK(vlorp_optimizer_probe(s->o, SVD, g, 0, &err));
    ASSERT_OK(vlorp_optimizer_projection(s->o, SVD, p, &err));
    assert_memory_equal(p, from_rows, sizeof(float) * 2 * N / 4);
    model_free(s);
}

/* A probe in parts: the basis of the sum; what may not happen meanwhile; room for one matrix and no more. */
static void probes_come_in_parts(void **state)
{
    (void)state;
    enum { SVD = 1 };
    vlorp_err err = {0};
    vlorp_optimizer_config c = config(VLORP_MOMENTUM_TRANSPORT, VLORP_F32);
    model *s = model_create(&c);
    float dy[TOKENS * N];
    float x[TOKENS * COLS];
    for (int e = 0; e < TOKENS * N; e++) {
        dy[e] = (float)sin(e * 0.7 + 1);
    }
    for (int e = 0; e < TOKENS * COLS; e++) {
        x[e] = (float)sin(e * 0.3 + 2);
    }
    float whole[N * COLS];
    float parts[N * COLS];
    ASSERT_OK(vlorp_optimizer_probe_factors(s->o, SVD, dy, 0, x, 0, TOKENS, &err));
    ASSERT_OK(vlorp_optimizer_projection(s->o, SVD, whole, &err));
    assert_int_equal(vlorp_optimizer_probe_end(s->o, SVD, &err), VLORP_E_STATE);
    assert_int_equal(vlorp_optimizer_probe_add(s->o, SVD, dy, 0, &err), VLORP_E_STATE);
    bool begun = false;
    ASSERT_OK(vlorp_optimizer_probe_begin(s->o, SVD, &begun, &err));
    assert_true(begun && vlorp_optimizer_probe_is_begun(s->o, SVD));
    assert_false(vlorp_optimizer_probe_is_begun(s->o, 0) || vlorp_optimizer_probe_is_begun(s->o, -1));
    assert_int_equal(vlorp_optimizer_probe_begin(s->o, SVD, &begun, &err), VLORP_E_STATE);
    assert_int_equal(vlorp_optimizer_probe_factors(s->o, SVD, dy, 0, x, 0, TOKENS, &err), VLORP_E_STATE);
    assert_int_equal(vlorp_optimizer_accumulate_factors(s->o, 0, dy, 0, x, 0, 1, &err), VLORP_E_STATE);
    double norm;
    assert_int_equal(vlorp_optimizer_norm(s->o, 1, &norm, &err), VLORP_E_STATE);
    float one[N * COLS];
    for (int t = 0; t < TOKENS; t++) { /* token by token, every third as a formed gradient */
        if (t % 3 == 0) {
            for (int e = 0; e < N * COLS; e++) {
                one[e] = dy[t * N + e / COLS] * x[t * COLS + e % COLS];
            }
            ASSERT_OK(vlorp_optimizer_probe_add(s->o, SVD, one, 0, &err));
        } else {
            ASSERT_OK(vlorp_optimizer_probe_add_factors(s->o, SVD, dy + t * N, 0, x + t * COLS, 0, 1, &err));
        }
    }
    int32_t id = 2;
    memset(one, 0, sizeof one);
    ASSERT_OK(vlorp_optimizer_probe_add_rows(s->o, SVD, &id, one, 0, 1, &err));
    ASSERT_OK(vlorp_optimizer_probe_end(s->o, SVD, &err));
    ASSERT_OK(vlorp_optimizer_projection(s->o, SVD, parts, &err));
    ASSERT_BELOW(relative_error(parts, whole, 2 * N / 4), 1e-4);

    one[5] = NAN; /* the room is given back all the same */
    ASSERT_OK(vlorp_optimizer_probe_begin(s->o, SVD, &begun, &err));
    ASSERT_OK(vlorp_optimizer_probe_add(s->o, SVD, one, 0, &err));
    assert_int_equal(vlorp_optimizer_probe_end(s->o, SVD, &err), VLORP_E_NUMERIC);
    ASSERT_OK(vlorp_optimizer_probe_begin(s->o, SVD, &begun, &err));
    assert_true(begun);
    ASSERT_OK(vlorp_optimizer_discard(s->o, &err));
    assert_false(vlorp_optimizer_probe_is_begun(s->o, SVD));
    ASSERT_OK(vlorp_optimizer_accumulate_factors(s->o, SVD, dy, 0, x, 0, TOKENS, &err));
    model_free(s);
}

/* The room is that of the largest matrix: two small ones share it, a third waits, and a hole is used again. */
static void probes_share_the_room(void **state)
{
    (void)state;
    vlorp_err err = {0};
    static const int64_t n_rows[] = {8, 4, 4, 4};
    static const char *const names[] = {"large", "small", "smaller", "smallest"};
    vlorp_optimizer_config c = vlorp_optimizer_config_default();
    c.max_tokens = 1;
    vlorp_optimizer *o;
    ASSERT_OK(vlorp_optimizer_create(&o, &c, &err));
    for (int i = 0; i < 4; i++) {
        vlorp_matrix matrix = vlorp_matrix_default();
        int id;
        matrix.name = names[i];
        matrix.n = n_rows[i];
        matrix.m = 4;
        matrix.projection.distribution = VLORP_SVD;
        matrix.projection.factor = 2;
        matrix.projection.rank = 1;
        ASSERT_OK(vlorp_optimizer_add_matrix(o, &matrix, &id, &err));
    }
    ASSERT_OK(vlorp_optimizer_commit(o, &err));
    bool begun;
    for (int i = 1; i < 4; i++) {
        ASSERT_OK(vlorp_optimizer_probe_begin(o, i, &begun, &err));
        assert_true(begun == (i < 3));
    }
    float g[4 * 4] = {1, 2, 3, 4};
    assert_int_equal(vlorp_optimizer_probe(o, 3, g, 0, &err), VLORP_E_STATE);
    ASSERT_OK(vlorp_optimizer_probe_add(o, 1, g, 0, &err));
    g[0] = -1;
    ASSERT_OK(vlorp_optimizer_probe_add(o, 2, g, 0, &err));
    ASSERT_OK(vlorp_optimizer_probe_end(o, 1, &err)); /* a hole below the other */
    ASSERT_OK(vlorp_optimizer_probe_begin(o, 3, &begun, &err));
    assert_false(begun);
    ASSERT_OK(vlorp_optimizer_probe_end(o, 2, &err));
    ASSERT_OK(vlorp_optimizer_probe_begin(o, 0, &begun, &err));
    assert_true(begun);
    float p[2][2];
    ASSERT_OK(vlorp_optimizer_projection(o, 1, p[0], &err));
    ASSERT_OK(vlorp_optimizer_projection(o, 2, p[1], &err));
    /* [1 2; 3 4] and [-1 2; 3 4]: their own leading right singular vectors */
    ASSERT_BELOW(fabs((double)p[0][0] / (double)p[0][1] - 0.704719), 1e-5);
    ASSERT_BELOW(fabs((double)p[1][0] / (double)p[1][1] - 0.618034), 1e-5);
    vlorp_optimizer_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(probes_are_checked), cmocka_unit_test(probes_come_in_parts),
                                       cmocka_unit_test(probes_share_the_room)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
