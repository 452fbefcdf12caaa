#include "check_support.h"

static const int64_t vocabularies[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 257, 1000, 4097, 49152};
enum { N_VOCABULARIES = sizeof vocabularies / sizeof vocabularies[0], MAX_N = 5 };

static void check_shape(const vlorpi_model_kernels *k, int64_t N, int64_t V, float size, int64_t offset,
                        uint64_t *state, double worst[2])
{
    const vlorpi_model_kernels *ref = vlorpi_kernels_at(0)->model;
    int32_t target[MAX_N];
    check_array logits = check_array_new(N, V, V, offset);
    check_fill_uniform(&logits, state);
    for (int64_t t = 0; t < N; t++) {
        target[t] = (int32_t)(test_random(state) % (uint64_t)V);
        for (int64_t v = 0; v < V; v++) {
            logits.data[t * V + v] *= size;
        }
    }
    check_array before = check_array_copy(&logits);
    check_array want = check_array_copy(&logits);
    check_array loss = check_array_new(1, N, N, offset);
    check_array loss_ref = check_array_copy(&loss);
    check_array loss_both = check_array_copy(&loss);
    k->xent_fwd(loss.data, logits.data, target, N, V);
    check_same_bits(&logits, &before, "logits after xent_fwd");
    k->xent_fwd_bwd(loss_both.data, logits.data, target, N, V);
    check_same_bits(&loss_both, &loss, "loss of xent_fwd_bwd");
    ref->xent_fwd_bwd(loss_ref.data, want.data, target, N, V);
    check_close(&logits, &want, 5e-7, &worst[1], "gradient");
    check_guards(&loss, "loss");
    for (int64_t t = 0; t < N; t++) { /* the loss is a difference of logits: measured against them */
        double error = fabs((double)loss.data[t] - (double)loss_ref.data[t]) / (1.0 + (double)size);
        worst[0] = error > worst[0] ? error : worst[0];
        ASSERT_BELOW(error, 3e-7);
    }
    check_array *const all[] = {&logits, &before, &want, &loss, &loss_ref, &loss_both};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        check_array_free(all[i]);
    }
}

static void test_shapes(void **unused)
{
    (void)unused;
    const vlorpi_kernels *k = NULL;
    for (FOR_EACH_LEVEL(k)) {
        uint64_t state = 14;
        double worst[2] = {0, 0};
        for (int i = 0; i < N_VOCABULARIES; i++) {
            check_shape(k->model, 0, vocabularies[i], 1.0f, 0, &state, worst);
            check_shape(k->model, 1, vocabularies[i], 10.0f, 1, &state, worst);
            check_shape(k->model, MAX_N, vocabularies[i], 30.0f, 0, &state, worst);
            check_shape(k->model, 2, vocabularies[i], 3e4f, 0, &state, worst);
        }
        (void)fprintf(stderr, "  %-7s loss %.1e, gradient %.1e\n", k->name, worst[0], worst[1]);
    }
}

/* A NaN or +inf logit makes its row's loss NaN wherever it stands; -inf is a probability of zero. */
static void test_not_finite(void **unused)
{
    (void)unused;
    enum { V = 83 };
    static float logits[3 * V];
    const int32_t target[3] = {0, 1, 2};
    const vlorpi_kernels *k = NULL;
    for (FOR_EACH_LEVEL(k)) {
        for (int at = 3; at < V; at++) {
            float loss[3];
            for (int i = 0; i < 3 * V; i++) {
                logits[i] = (float)(i % 7);
            }
            logits[at] = NAN;
            logits[V + at] = INFINITY;
            logits[2 * V + at] = -INFINITY;
            k->model->xent_fwd(loss, logits, target, 3, V);
            assert_true(isnan(loss[0]) && isnan(loss[1]) && isfinite(loss[2]));
            k->model->xent_fwd_bwd(loss, logits, target, 3, V);
            assert_true(isnan(loss[0]) && isnan(loss[1]) && isfinite(loss[2]));
            assert_true(isnan(logits[at]) && isnan(logits[0]) && isnan(logits[V + at]));
            assert_true(logits[2 * V + at] == 0.0f);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shapes), cmocka_unit_test(test_not_finite)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
