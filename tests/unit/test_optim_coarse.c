/* Factors below one whose P is too large to be kept whole: made in tiles, it must be the same P. */
#include "support.h"

#include <vlorp/vlorp.h>

enum { LONG = 3000, SHORT = 8, F = 2, R = 400, D = LONG * F, U = SHORT / F, TOKENS = 6 };

static float *buffer(int64_t n)
{
    float *x = calloc((size_t)n, sizeof *x);
    assert_non_null(x);
    return x;
}

/* Element (i, j) of the re-read matrix [U, D] (right) or [D, U] (left) is element i width + j of g: with
 * s(u, q) = sum over d of it times P[d, q], as double. */
static void project(double *s, const float *g, const float *p, bool right)
{
    for (int64_t u = 0; u < U; u++) {
        for (int64_t q = 0; q < R; q++) {
            double sum = 0;
            for (int64_t d = 0; d < D; d++) {
                sum += (double)g[right ? u * D + d : d * U + u] * (double)p[d * R + q];
            }
            s[right ? u * R + q : q * U + u] = sum;
        }
    }
}

static vlorp_optimizer *create(bool right, vlorp_rule rule, vlorp_momentum momentum, float *w)
{
    vlorp_err err = {0};
    vlorp_optimizer *o;
    vlorp_optimizer_config c = vlorp_optimizer_config_default();
    c.update_gap = 1;
    c.momentum = momentum;
    c.max_tokens = TOKENS;
    ASSERT_OK(vlorp_optimizer_create(&o, &c, &err));
    vlorp_matrix m = vlorp_matrix_default();
    m.name = "coarse";
    m.n = right ? SHORT : LONG;
    m.m = right ? LONG : SHORT;
    m.weight = w;
    m.rule = rule;
    m.projection = (vlorp_projection){
        .side = right ? VLORP_SIDE_RIGHT : VLORP_SIDE_LEFT, .factor = 1, .divisor = F, .rank = R,
        .distribution = VLORP_RADEMACHER};
    int id;
    ASSERT_OK(vlorp_optimizer_add_matrix(o, &m, &id, &err));
    ASSERT_OK(vlorp_optimizer_commit(o, &err));
    vlorp_parameter_info info;
    ASSERT_OK(vlorp_optimizer_parameter(o, 0, &info, &err));
    assert_int_equal(info.projection.d, D);
    assert_int_equal(info.projection.f, F);
    return o;
}

static double distance(const float *x, const double *y, int64_t n, double factor)
{
    double error = 0;
    double size = 0;
    for (int64_t i = 0; i < n; i++) {
        error += pow((double)x[i] - factor * y[i], 2);
        size += pow(factor * y[i], 2);
    }
    return sqrt(error / size);
}

/* S from a formed gradient, from factors and from rows; then the step back to the weights. */
static void tiles_are_the_whole(void **state)
{
    (void)state;
    for (int right = 0; right < 2; right++) {
        vlorp_err err = {0};
        int64_t n = right ? SHORT : LONG;
        int64_t m = right ? LONG : SHORT;
        float *w = buffer(n * m);
        float *g = buffer(n * m);
        float *dy = buffer(TOKENS * n);
        float *x = buffer(TOKENS * m);
        float *p = buffer((int64_t)D * R);
        double *s = calloc((size_t)U * R, sizeof *s);
        double *ghat = calloc((size_t)(n * m), sizeof *ghat);
        assert_true(s != NULL && ghat != NULL);
        int32_t ids[TOKENS];
        uint64_t seed = 4;
        for (int64_t t = 0; t < TOKENS; t++) {
            ids[t] = (int32_t)(test_random(&seed) % (uint64_t)n);
            for (int64_t i = 0; i < n; i++) {
                dy[t * n + i] = test_uniform(&seed);
            }
            for (int64_t j = 0; j < m; j++) {
                x[t * m + j] = test_uniform(&seed);
                g[ids[t] * m + j] += x[t * m + j];
            }
            for (int64_t i = 0; i < n * m; i++) {
                g[i] += dy[t * n + i / m] * x[t * m + i % m];
            }
        }
        vlorp_optimizer *o = create(right == 1, VLORP_RULE_VLORP_SGD, VLORP_MOMENTUM_RESET, w);
        ASSERT_OK(vlorp_optimizer_projection(o, 0, p, &err));
        project(s, g, p, right == 1);
        vlorp_state_tensor sums;
        ASSERT_OK(vlorp_optimizer_gradient(o, 0, &sums, &err));
        ASSERT_OK(vlorp_optimizer_accumulate_factors(o, 0, dy, 0, x, 0, TOKENS, &err));
        ASSERT_OK(vlorp_optimizer_accumulate_rows(o, 0, ids, x, 0, TOKENS, &err));
        ASSERT_BELOW(distance(sums.data, s, U * R, 1), 1e-6);
        ASSERT_OK(vlorp_optimizer_accumulate(o, 0, g, 0, &err));
        ASSERT_BELOW(distance(sums.data, s, U * R, 2), 1e-6);
        for (int64_t i = 0; i < n * m; i++) {
            int64_t u = right ? i / D : i % U;
            int64_t d = right ? i % D : i / U;
            for (int64_t q = 0; q < R; q++) {
                ghat[i] += s[right ? u * R + q : q * U + u] * (double)p[d * R + q] / R;
            }
        }
        vlorp_step step = {.lr = 1, .grad_scale = 0.5};
        vlorp_step_result result;
        ASSERT_OK(vlorp_optimizer_step(o, &step, &result, &err));
        ASSERT_BELOW(distance(w, ghat, n * m, -1), 1e-6);
        vlorp_optimizer_free(o);

        /* projfactor: sums of squares of rows and columns, then m carried over to the next P */
        o = create(right == 1, VLORP_RULE_PROJFACTOR, VLORP_MOMENTUM_TRANSPORT, w);
        ASSERT_OK(vlorp_optimizer_accumulate(o, 0, g, 0, &err));
        step.grad_scale = 1;
        ASSERT_OK(vlorp_optimizer_step(o, &step, NULL, &err));
        double *rows = calloc((size_t)n, sizeof *rows);
        double *columns = calloc((size_t)m, sizeof *columns);
        assert_true(rows != NULL && columns != NULL);
        for (int64_t i = 0; i < n * m; i++) {
            rows[i / m] += ghat[i] * ghat[i];
            columns[i % m] += ghat[i] * ghat[i];
        }
        vlorp_state_tensor t;
        ASSERT_OK(vlorp_optimizer_tensor(o, 1, &t, &err));
        ASSERT_BELOW(distance(t.data, rows, n, 1 - 0.999), 1e-5);
        ASSERT_OK(vlorp_optimizer_tensor(o, 2, &t, &err));
        ASSERT_BELOW(distance(t.data, columns, m, 1 - 0.999), 1e-5);
        ASSERT_OK(vlorp_optimizer_projection(o, 0, p, &err)); /* the next one: m is carried as 0.1 Ghat P_new */
        float *ghat32 = buffer(n * m);
        for (int64_t i = 0; i < n * m; i++) {
            ghat32[i] = (float)ghat[i];
        }
        project(s, ghat32, p, right == 1);
        ASSERT_OK(vlorp_optimizer_step(o, &step, NULL, &err));
        ASSERT_OK(vlorp_optimizer_tensor(o, 0, &t, &err));
        ASSERT_BELOW(distance(t.data, s, U * R, 0.9 * 0.1), 1e-5);
        vlorp_optimizer_free(o);
        free(ghat32);
        free(rows);
        free(columns);
        free(w);
        free(g);
        free(dy);
        free(x);
        free(p);
        free(s);
        free(ghat);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles_are_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
