#include "check_support.h"

static const int64_t lengths[] = {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100, 127, 1537};
enum { N_LENGTHS = sizeof lengths / sizeof lengths[0] };

/* gate covers both tails of the logistic function. */
static void check_length(const vlorpi_model_kernels *k, int64_t n, int64_t offset, uint64_t *state, double *worst)
{
    const vlorpi_model_kernels *ref = vlorpi_kernels_at(0)->model;
    check_array gate = check_array_new(1, n, n, offset);
    check_array up = check_array_new(1, n, n, offset);
    check_array dy = check_array_new(1, n, n, offset);
    check_fill_uniform(&gate, state);
    check_fill_uniform(&up, state);
    check_fill_uniform(&dy, state);
    for (int64_t i = 0; i < n; i++) {
        gate.data[i] *= i % 3 == 0 ? 30.0f : 3.0f;
    }
    check_array y = check_array_new(1, n, n, offset);
    check_array y_ref = check_array_copy(&y);
    check_array dgate_ref = check_array_copy(&y);
    check_array dup_ref = check_array_copy(&y);
    ref->swiglu_fwd(y_ref.data, gate.data, up.data, n);
    ref->swiglu_bwd(dgate_ref.data, dup_ref.data, dy.data, gate.data, up.data, n);

    k->swiglu_fwd(y.data, gate.data, up.data, n);
    check_close(&y, &y_ref, 3e-7, worst, "y");
    check_array in_place = check_array_copy(&gate);
    k->swiglu_fwd(in_place.data, in_place.data, up.data, n);
    check_same_bits(&in_place, &y, "y over gate");
    check_array_free(&in_place);
    in_place = check_array_copy(&up);
    int64_t middle = n / 3; /* an element's bits depend on its inputs alone */
    k->swiglu_fwd(in_place.data, gate.data, in_place.data, middle);
    k->swiglu_fwd(in_place.data + middle, gate.data + middle, in_place.data + middle, n - middle);
    check_same_bits(&in_place, &y, "y over up, in two parts");
    check_array_free(&in_place);

    k->swiglu_bwd(gate.data, up.data, dy.data, gate.data, up.data, n);
    check_close(&gate, &dgate_ref, 3e-7, worst, "dgate over gate");
    check_close(&up, &dup_ref, 3e-7, worst, "dup over up");
    check_array *const all[] = {&gate, &up, &dy, &y, &y_ref, &dgate_ref, &dup_ref};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        check_array_free(all[i]);
    }
}

static void test_lengths(void **unused)
{
    (void)unused;
    const vlorpi_kernels *k = NULL;
    for (FOR_EACH_LEVEL(k)) {
        uint64_t state = 13;
        double worst = 0;
        for (int i = 0; i < N_LENGTHS; i++) {
            check_length(k->model, lengths[i], 0, &state, &worst);
            check_length(k->model, lengths[i], 1, &state, &worst);
        }
        (void)fprintf(stderr, "  %-7s %.1e\n", k->name, worst);
    }
}

/* Far tails are exact, and what is not a number stays that way. */
static void test_extremes(void **unused)
{
    (void)unused;
    enum { N = 16 };
    const vlorpi_kernels *k = NULL;
    for (FOR_EACH_LEVEL(k)) {
        float gate[N] = {-200, 200, -1e30f, 1e30f, NAN, 1, INFINITY, 0};
        float up[N] = {1, 1, 1, 1, 1, NAN, 1, 1};
        float dy[N] = {1, 1, 1, 1, 1, 1, 1, 1};
        float y[N], dgate[N], dup[N];
        k->model->swiglu_fwd(y, gate, up, N);
        assert_true(y[0] == 0.0f && y[1] == 200.0f && y[2] == 0.0f && y[3] == 1e30f);
        assert_true(isnan(y[4]) && isnan(y[5]) && isinf(y[6]) && y[7] == 0.0f);
        k->model->swiglu_bwd(dgate, dup, dy, gate, up, N);
        assert_true(dgate[0] == 0.0f && dgate[1] == 1.0f && dgate[2] == 0.0f && dgate[3] == 1.0f);
        assert_true(isnan(dgate[4]) && isnan(dup[4]) && isnan(dgate[5]) && dgate[7] == 0.5f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lengths), cmocka_unit_test(test_extremes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
